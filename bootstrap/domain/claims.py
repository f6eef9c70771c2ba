"""Which lab answers for a file, where several labs live in one home.

The state of a lab holds a claim for each file that it wrote: a number, higher than that of every
other lab's claim at the time it was made. The highest counts, so that a lab which takes a file
over with --force need not touch the other lab's state, and either can take it back.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# By the lab's folder, the state of each other lab in this home.
States = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, order=True)
class Claim:
    """That a lab answers for a file.

    Attributes:
        number: The higher one counts.
        lab: The lab's folder.
    """

    number: int
    lab: str


def highest_claims(states: States) -> dict[str, Claim]:
    """Return the claim that counts among `states`, by the file's path."""
    found: dict[str, Claim] = {}
    for lab, state in states.items():
        for row in state.get("targets", {}).values():
            path, number = row.get("path"), row.get("claim")
            if isinstance(path, str) and isinstance(number, int):
                claim = Claim(number, lab)
                found[path] = max(claim, found.get(path, claim))
    return found


def own_claim(row: Mapping[str, Any], path: str) -> int:
    """Return the number of our own claim to `path`; 0 for none.

    Args:
        row: What the state remembers of the target.
        path: Where the target stands now.
    """
    number = row.get("claim") if row.get("path") == path else None
    return number if isinstance(number, int) else 0


def of_others(states: States, own: Mapping[str, Any]) -> dict[str, str]:
    """Return the files that another lab answers for, each with that lab's folder.

    Args:
        states: See `States`.
        own: The state of this lab; empty for none.
    """
    ours: dict[str, int] = {}
    for row in own.get("targets", {}).values():
        path = str(row.get("path"))
        ours[path] = max(own_claim(row, path), ours.get(path, 0))
    claims = highest_claims(states)
    return {path: claim.lab for path, claim in claims.items() if claim.number >= ours.get(path, 0)}


def way_on(theirs: str, ours: str) -> str:
    """Return what to type where another lab answers for a file.

    Args:
        theirs: That lab's folder.
        ours: This lab's folder; named, since `keyturn` alone may mean another one.
    """
    return (
        f"go on with that one: --lab {shlex.quote(theirs)}; or make them this lab's, "
        f"keeping backups: keyturn --lab {shlex.quote(ours)} apply --force"
    )
