"""Finish or undo a rotation that a crash or a failure left open. Running it twice changes nothing.

The store is the truth: whichever key it calls current is put in force everywhere and proven, and
the other one is refused and forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bootstrap.domain.errors import LabError, RecoveryNeededError, cause_of
from bootstrap.domain.rotation import Record, Step, is_open
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import targets
from bootstrap.workflows.force import deploy, prove_key
from bootstrap.workflows.planning import needed_secrets, only_secrets
from bootstrap.workflows.rotate import finish, put_back
from bootstrap.workflows.tools import RotationTools, Tools


@dataclass(frozen=True)
class Recovered:
    """What `recover` found and did.

    Attributes:
        outcome: `nothing` to do, `finished`, `undone`, or `waiting` for the grace time to end.
        in_force: The fingerprint of the key in force; empty where there was nothing to do.
        refused: The fingerprint of the key that is refused now.
        retire_at: Epoch seconds until which both are accepted, for `waiting`.
    """

    outcome: str
    in_force: str = ""
    refused: str = ""
    retire_at: float | None = None


def open_rotation(using: RotationTools) -> Record | None:
    """Return the last line of the open rotation's journal, or None where there is none."""
    records = using.journal.records()
    return records[-1] if is_open(records) else None


def recover(
    tools: Tools, using: RotationTools, *, abort: bool = False, now: bool = False
) -> Recovered:
    """Bring an open rotation to its end.

    Args:
        tools: The lab and everything around it. The caller holds the lab's lock.
        using: Journal and vault.
        abort: Go back to the old key even where the new one is proven already.
        now: Retire the old key although its grace time has not ended.

    Raises:
        RecoveryNeededError: It cannot be brought to an end; says what is in force.
    """
    last = open_rotation(using)
    _sweep(tools)
    if last is None:
        return Recovered("nothing")
    waiting = last.step is Step.PROVEN and last.retire_at is not None and not abort and not now
    if waiting and last.retire_at is not None and tools.clock.now() < last.retire_at:
        return Recovered("waiting", last.new, last.old, last.retire_at)
    try:
        return _settle(tools, using, last, abort)
    except LabError as failure:
        raise RecoveryNeededError(
            f"the rotation {last.old} -> {last.new} is half done, after: {last.step.value}",
            why=cause_of(failure),
            fix=f"{failure.fix}; then: keyturn recover",
        ) from failure


def _settle(tools: Tools, using: RotationTools, last: Record, abort: bool) -> Recovered:
    current, other = using.vault.current(), using.vault.other()
    secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
    note = _noter(tools, using, last)
    forward = current.fingerprint() == last.new
    if forward and not abort:
        old = _only(other, last.old)
        try:
            with tools.progress.step("finish: the new key everywhere"):
                deploy(tools, {**secrets, MASTER_KEY: current}, keep_keyset=False)
                prove_key(tools, current)
            finish(tools, using, {**secrets, MASTER_KEY: current}, old, note)
        except LabError:
            if old is None or last.step in (Step.RETIRED, Step.PROVEN):
                raise
            with tools.progress.step("the new key cannot be proven: back to the old one"):
                put_back(tools, using, secrets, old, current, note)
            return Recovered("undone", last.old, last.new)
        return Recovered("finished", last.new, last.old)
    old, new = (other, current) if forward else (current, _only(other, last.new))
    if old is None or old.fingerprint() != last.old:
        raise RecoveryNeededError(
            "the old key is gone from the store",
            why="the slot beside the current key is empty",
            fix="keyturn rotate --resume goes forward",
        )
    with tools.progress.step("undo: the old key everywhere"):
        put_back(tools, using, secrets, old, new, note)
    return Recovered("undone", last.old, last.new)


def _only(secret: Secret | None, fingerprint: str) -> Secret | None:
    return secret if secret is not None and secret.fingerprint() == fingerprint else None


def _noter(tools: Tools, using: RotationTools, last: Record) -> Callable[[Step], None]:
    def note(step: Step) -> None:
        using.journal.add(Record(step, last.name, last.old, last.new, tools.clock.now()))

    return note


def _sweep(tools: Tools) -> None:
    """Remove the temporary files that a killed run left beside the targets."""
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    tools.files.sweep([target.path for target in wanted])
