"""Finish or undo a rotation that a crash or a failure left open. Running it twice changes nothing.

The store is the truth: whichever key it calls current is put in force everywhere and proven, and
the other one is refused and forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bootstrap.domain.errors import Interrupted, LabError, RecoveryNeededError, cause_of
from bootstrap.domain.rotation import Record, Step, is_open, reached
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import targets
from bootstrap.workflows.audit import audit
from bootstrap.workflows.force import admit, deploy, prove_key, prove_targets
from bootstrap.workflows.memory import recognise
from bootstrap.workflows.planning import needed_secrets, only_secrets
from bootstrap.workflows.rotate import finish, put_back
from bootstrap.workflows.tools import NamedSecrets, RotationTools, Tools
from bootstrap.workflows.uses import is_unused


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
    """Return the last line of the open rotation's journal, or None where there is none.

    Raises:
        RecoveryNeededError: The journal is damaged.
    """
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
        Interrupted: A signal came; the journal is still open.
    """
    last = open_rotation(using)
    _sweep(tools)
    if last is None:
        return Recovered("nothing")
    using.vault.pin(last.store, last.copies)
    try:
        return _Settling(tools, using, last).settle(abort=abort, now=now)
    except Interrupted as stop:
        stop.outcome = "the rotation is still open; next: keyturn recover"
        raise
    except LabError as failure:
        raise RecoveryNeededError(
            f"the rotation {last.old} -> {last.new} is half done, after: {last.step.value}",
            why=cause_of(failure),
            fix=f"{failure.fix}; then: keyturn recover",
        ) from failure


class _Settling:
    """One open rotation on its way to its end."""

    def __init__(self, tools: Tools, using: RotationTools, last: Record) -> None:
        self._tools = tools
        self._using = using
        self._last = last
        self._current = using.vault.current()
        other = using.vault.other()
        known = (last.old, last.new)
        self._other = other if other is not None and other.fingerprint() in known else None
        self._secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))

    def settle(self, *, abort: bool, now: bool) -> Recovered:
        """Go the way that the store shows, or back where `abort` says so."""
        last, current = self._last, self._current.fingerprint()
        if self._other is not None:
            recognise(self._tools, self._with(self._other))
        if current == last.old:
            return self._back(self._current, self._other)
        if abort:
            if self._other is None:
                raise RecoveryNeededError(
                    "the old key is gone from the store",
                    why="it forgets it once the new one is in force",
                    fix="keyturn rotate --resume",
                )
            return self._back(self._other, self._current)
        until = last.retire_at if last.step is Step.PROVEN and not now else None
        if until is None or self._other is None or self._tools.clock.now() >= until:
            return self._forward()
        return self._forward() if is_unused(self._tools, last) else self._wait(self._other, until)

    def _wait(self, old: Secret, until: float) -> Recovered:
        """See to it that the old key ends by itself, whatever a crash left out.

        Asks the gateway nothing: it may be down, and the command that comes next may start it.
        """
        admit(self._tools, self._current, old, not_after=until)
        return Recovered("waiting", self._last.new, self._last.old, until)

    def _forward(self) -> Recovered:
        """Finish with the store's current key; go back only where it cannot be proven."""
        secrets, old = self._with(self._current), self._other
        try:
            with self._tools.progress.step("finish: the store's key everywhere"):
                if self._tools.lab.guarded:
                    admit(self._tools, self._current, old)
                deploy(self._tools, secrets)
                prove_key(self._tools, self._current)
                prove_targets(self._tools, secrets)
            self._using.vault.spread(self._current)
            finish(self._tools, self._using, secrets, old, self._note)
        except LabError:
            if old is None or reached(self._last, Step.PROVEN):
                raise
            return self._back(old, self._current)
        return Recovered("finished", self._current.fingerprint(), self._last.old)

    def _back(self, old: Secret, new: Secret | None) -> Recovered:
        with self._tools.progress.step("undo: the old key everywhere"):
            put_back(self._tools, self._using, self._with(old), self._last, new, self._note)
        return Recovered("undone", self._last.old, self._last.new)

    def _with(self, key: Secret) -> NamedSecrets:
        return {**self._secrets, MASTER_KEY: key}

    @property
    def _note(self) -> Callable[[Step], None]:
        def note(step: Step) -> None:
            record = self._last.then(step, self._tools.clock.now())
            audit(self._tools, self._using, record)
            self._using.journal.add(replace(record, retire_at=None))

        return note


def _sweep(tools: Tools) -> None:
    """Remove the temporary files that a killed run left beside the targets."""
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    tools.files.sweep([target.path for target in wanted])
