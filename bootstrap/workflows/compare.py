"""Compare what should stand at each target with what does."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bootstrap.domain import targets as target_names
from bootstrap.domain.claims import Claim, highest_claims, own_claim
from bootstrap.domain.content import Content, FileState
from bootstrap.domain.plan import Action, Change, Plan, decide
from bootstrap.domain.redact import safe_diff
from bootstrap.domain.targets import Target
from bootstrap.workflows.tools import NamedSecrets, Tools

# (whether it is an env file, the bytes found, the bytes wanted) -> lines that are safe to show.
Differ = Callable[[bool, bytes | None, bytes], list[str]]


def compare(
    tools: Tools,
    wanted: tuple[Target, ...],
    contents: Mapping[str, Content],
    found: Mapping[str, FileState | None],
    last: Mapping[str, Mapping[str, Any]],
    force: bool,
    diff: Differ,
) -> Plan:
    """Return what would change, and what to remember of each target afterwards.

    Args:
        tools: The lab and everything around it.
        wanted: The targets.
        contents: Their rendered bytes, by name.
        found: What stands there, by name.
        last: What the state remembers, by name.
        force: Overwrite what was edited by hand, keeping backups.
        diff: Shows a difference.
    """
    changes: list[Change] = []
    remember: dict[str, Mapping[str, Any]] = {}
    claims = highest_claims(tools.other_labs())
    for target in wanted:
        row, theirs = last.get(target.name, {}), claims.get(str(target.path))
        own = own_claim(row, str(target.path))
        if theirs is not None and theirs.number >= own and not force:
            changes.append(_of_another_lab(target, theirs))
            if row:
                remember[target.name] = row
            continue
        env_file = target.name == target_names.ENV_FILE
        decision = decide(
            target,
            contents.get(target.name),
            found[target.name],
            row,
            gateway_url=tools.lab.gateway.url,
            aliases=[model.alias for model in tools.lab.models],
            force=force,
            diff=partial(diff, env_file),
        )
        change = decision.change
        if change is not None and change.backup and theirs is not None and theirs.number >= own:
            # Nobody edited it.
            change = replace(change, why=f"the lab in {theirs.lab} wrote it; replaced by --force")
        if change is not None:
            changes.append(change)
        if decision.remember:
            claim = own if theirs is None or own > theirs.number else theirs.number + 1
            remember[target.name] = {**decision.remember, "claim": max(claim, 1)}
    return Plan(tuple(changes), remember)


def _of_another_lab(target: Target, claim: Claim) -> Change:
    why = f"the lab in {claim.lab} answers for it"
    return Change(target, Action.CONFLICT, why, lab=claim.lab)


def differ(tools: Tools, secrets: NamedSecrets) -> Differ:
    """Return what shows a difference safely."""
    mask = tools.known(secrets).mask
    return lambda env_file, old, new: list(safe_diff(old, new, known=mask, env_file=env_file))


def no_diff(env_file: bool, old: bytes | None, new: bytes) -> list[str]:
    """Show nothing: who plans for secrets of their own carries the plan out."""
    return []
