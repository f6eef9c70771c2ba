"""Finish or undo a rotation that a crash or a failure left open. Running it twice changes nothing.

The store is the truth: whichever value it calls current is put in force everywhere and proven, and
the other one is refused and forgotten. Of several secrets, as long as one is still at its old value
all go back: that is how far a killed run had got.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from bootstrap.domain.errors import Interrupted, LabError, RecoveryNeededError, cause_of
from bootstrap.domain.rotation import Part, Record, Step, is_open, reached
from bootstrap.domain.secret import Secret
from bootstrap.domain.targets import targets
from bootstrap.workflows.audit import audit
from bootstrap.workflows.doors import admit_until, prove_all, reopen
from bootstrap.workflows.force import deploy
from bootstrap.workflows.memory import recognise
from bootstrap.workflows.planning import needed_secrets, only_secrets
from bootstrap.workflows.preflight import replaced
from bootstrap.workflows.reencrypt import migrating, prove_reencrypted, was_begun
from bootstrap.workflows.rotation_ends import finish, put_back, spread
from bootstrap.workflows.tools import NamedSecrets, Pairs, RotationTools, Tools
from bootstrap.workflows.uses import is_unused


@dataclass(frozen=True)
class Recovered:
    """What `recover` found and did.

    Attributes:
        outcome: `nothing` to do, `finished`, `undone`, or `waiting` for the grace time to end.
        in_force: The fingerprint of the key in force; empty where there was nothing to do. Other
            secrets come with their names.
        refused: The fingerprint of the key that is refused now, likewise.
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
    for part in last.parts:
        using.vaults.of(part.name).pin(part.store, part.copies)
    try:
        return _Settling(tools, using, last).settle(abort=abort, now=now)
    except Interrupted as stop:
        stop.outcome = "the rotation is still open; next: keyturn recover"
        raise
    except LabError as failure:
        raise RecoveryNeededError(
            f"the rotation {last.old_words} -> {last.new_words} is half done, "
            f"after: {last.step.value}",
            why=cause_of(failure),
            fix=f"{failure.fix}; then: keyturn recover",
        ) from failure


class _Settling:
    """One open rotation on its way to its end."""

    def __init__(self, tools: Tools, using: RotationTools, last: Record) -> None:
        self._tools = tools
        self._using = using
        self._last = last
        self._held: Pairs = {part.name: self._read(part) for part in last.parts}
        self._secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))

    def _read(self, part: Part) -> tuple[Secret, Secret | None]:
        """Return what the store calls current, and the other value if it is of this rotation."""
        vault = self._using.vaults.of(part.name)
        current, other = vault.current(), vault.other()
        known = other is not None and other.fingerprint() in (part.old, part.new)
        return current, other if known else None

    def settle(self, *, abort: bool, now: bool) -> Recovered:
        """Go the way that the store shows, or back where `abort` says so."""
        last, held = self._last, self._held
        abort = abort or (last.aborts and not now)
        others = {name: other for name, (_, other) in held.items() if other is not None}
        if others:
            recognise(self._tools, replaced(self._secrets, others))
        if any(held[part.name][0].fingerprint() == part.old for part in last.parts):
            return self._back()
        if abort:
            if len(others) < len(held):
                raise RecoveryNeededError(
                    "the old key is gone from the store",
                    why="it forgets it once the new one is in force",
                    fix="keyturn rotate --resume",
                )
            if last.in_grace:  # a crash from here on must not be taken for the grace time
                self._using.journal.add(replace(last, aborts=True))
            return self._back()
        until = last.retire_at if last.step is Step.PROVEN and not now else None
        waits = until is not None and self._tools.clock.now() < until and len(others) == len(held)
        if until is not None and waits and not is_unused(self._tools, last):
            return self._wait(until)
        return self._forward(may_go_back=bool(others))

    def _wait(self, until: float) -> Recovered:
        """See to it that the old key ends by itself, whatever a crash left out.

        Asks the gateway nothing: it may be down, and the command that comes next may start it.
        """
        admit_until(self._tools, self._held, until)
        return Recovered("waiting", self._last.new_words, self._last.old_words, until)

    def _forward(self, *, may_go_back: bool) -> Recovered:
        """Finish with the store's current values; go back only where they cannot be proven."""
        pairs, proven = self._held, reached(self._last, Step.PROVEN)
        secrets = self._with(pairs)
        try:
            with self._tools.progress.step("finish: the store's key everywhere"):
                reopen(self._tools, self._using, secrets, pairs)
                if not proven:
                    self._reencrypt(secrets)
                deploy(self._tools, secrets)
                # Once proven, a provider that happens to be down is no reason to stop.
                prove_all(self._tools, self._using, secrets, () if proven else pairs)
            spread(self._using, pairs)
            finish(self._tools, self._using, secrets, pairs, self._note)
        except LabError:
            if not may_go_back or proven:
                raise
            return self._back()
        last = self._last
        in_force = {part.name: pairs[part.name][0].fingerprint() for part in last.parts}
        return Recovered("finished", last.words(in_force), last.old_words)

    def _reencrypt(self, secrets: NamedSecrets) -> None:
        if was_begun(self._last):
            deploy(self._tools, migrating(self._tools, self._last, secrets, self._held))
            prove_reencrypted(self._tools, self._last)

    def _back(self) -> Recovered:
        """Go back to the old value of each; one that somebody stored meanwhile stays."""
        pairs: dict[str, tuple[Secret, Secret | None]] = {}
        for part in self._last.parts:
            current, other = self._held[part.name]
            swap = other is not None and other.fingerprint() == part.old
            pairs[part.name] = (other, current) if swap and other else (current, other)
        secrets = self._with(pairs)
        with self._tools.progress.step("undo: the old key everywhere"):
            put_back(self._tools, self._using, secrets, self._last, pairs, self._note)
        return Recovered("undone", self._last.old_words, self._last.new_words)

    def _with(self, pairs: Pairs) -> NamedSecrets:
        return replaced(self._secrets, {name: current for name, (current, _) in pairs.items()})

    @property
    def _note(self) -> Callable[[Step], None]:
        def note(step: Step) -> None:
            record = self._last.then(step, self._tools.clock.now())
            audit(self._tools, self._using, record)
            if step is Step.UNDONE:  # the hook may have been told of new values that were proven
                owes = reached(self._last, Step.PROVEN) and bool(self._tools.lab.rotate.after)
                record = replace(record, owes_hook=owes)
            self._using.journal.add(replace(record, retire_at=None, aborts=False))

        return note


def _sweep(tools: Tools) -> None:
    """Remove the temporary files that a killed run left beside the targets."""
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    tools.files.sweep([target.path for target in wanted])
