"""The states of a rotation, and what an open journal says to do next.

    begun > created > staged > overlapping > switched > promoted   > proven > retired > closed
    |____________________________________________________________|  |________________|
                  any failure or signal: undone                        only forward

Up to `promoted` a failure puts the old key back everywhere; from `proven` on only finishing makes
sense, since the old key may be refused already.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Step(Enum):
    """What a rotation has done; written to the journal before the next thing is begun."""

    BEGUN = "begun"  # the journal exists, nothing else has changed
    CREATED = "created"  # the new key is in the store, pending beside the current one
    STAGED = "staged"  # every target stands rendered beside its live file, on disk
    OVERLAPPING = "overlapping"  # the gateway accepts both keys
    SWITCHED = "switched"  # every target holds the new key
    PROMOTED = "promoted"  # the store's current key is the new one, the old one beside it
    PROVEN = "proven"  # the new key was accepted and answered; the point of no return
    RETIRED = "retired"  # the old key is refused, proven
    CLOSED = "closed"  # the store has forgotten the old key: done
    UNDONE = "undone"  # the old key is in force everywhere, proven


_ORDER = tuple(Step)
_FINAL = frozenset({Step.CLOSED, Step.UNDONE})


class Direction(Enum):
    """Which way an open rotation goes."""

    FORWARD = "forward"
    BACK = "back"


@dataclass(frozen=True)
class Record:
    """One line of the journal. Fingerprints and times only, never a value.

    Attributes:
        step: What has been done.
        name: Which secret is rotated.
        old: The fingerprint of the key that was in force.
        new: The fingerprint of the key that takes over.
        at: Epoch seconds.
        retire_at: When the old key stops being accepted; None if that was not yet decided.
    """

    step: Step
    name: str
    old: str
    new: str
    at: float
    retire_at: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON data."""
        return {
            "step": self.step.value,
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "at": round(self.at, 3),
            "retire_at": self.retire_at,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Record":
        """Return the record that JSON data describe.

        Raises:
            KeyError, TypeError, ValueError: They describe none.
        """
        retire_at = data["retire_at"]
        return cls(
            Step(data["step"]),
            str(data["name"]),
            str(data["old"]),
            str(data["new"]),
            float(data["at"]),
            None if retire_at is None else float(retire_at),
        )


def is_open(records: Sequence[Record]) -> bool:
    """Tell whether the journal's last rotation is neither done nor undone."""
    return bool(records) and records[-1].step not in _FINAL


def direction(records: Sequence[Record]) -> Direction:
    """Return which way the open rotation goes: forward once the new key was proven."""
    proven = any(record.step is Step.PROVEN for record in records)
    return Direction.FORWARD if proven else Direction.BACK


def reached(records: Sequence[Record], step: Step) -> bool:
    """Tell whether the open rotation has got as far as `step`."""
    return any(_ORDER.index(record.step) >= _ORDER.index(step) for record in records)
