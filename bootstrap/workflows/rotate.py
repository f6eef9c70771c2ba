"""Rotate the master key: proven, and all new or all old whatever happens in between.

The journal is written before the world is. Undo needs no saved plaintext: the store holds the
other key beside the current one, and every target is a function of the key.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from bootstrap.domain.errors import (
    ConflictError,
    Interrupted,
    LabError,
    RecoveryNeededError,
    RotationUndoneError,
    cause_of,
)
from bootstrap.domain.rotation import Record, Step, is_open, reached
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.force import (
    accept_both,
    admit,
    deploy,
    guard_time,
    prove_key,
    prove_targets,
    refuse_old,
    staged,
)
from bootstrap.workflows.memory import doubt_gateway, remember_applied
from bootstrap.workflows.planning import needed_secrets, only_secrets
from bootstrap.workflows.preflight import preflight
from bootstrap.workflows.tools import NamedSecrets, RotationTools, Tools


@dataclass(frozen=True)
class Rotated:
    """What a rotation did.

    Attributes:
        old: The fingerprint of the key that was in force.
        new: The fingerprint of the key that is.
        retire_at: Epoch seconds until which the old key is still accepted; None once it is refused.
        files: The targets that were rewritten, by name.
    """

    old: str
    new: str
    retire_at: float | None
    files: tuple[str, ...]


def rotate(
    tools: Tools, using: RotationTools, *, new: Secret | None = None, grace_s: float = 0.0
) -> Rotated:
    """Put a new master key in force everywhere, prove it, and retire the old one.

    Args:
        tools: The lab and everything around it. The caller holds the lab's lock and has settled
            any open rotation.
        using: Journal and vault of the rotation.
        new: The key to put in force; None makes one.
        grace_s: For how long the old key is still accepted, in seconds.

    Raises:
        RotationUndoneError: Something failed; the old key is proven in force again.
        RecoveryNeededError: Undoing failed too, or the old key could not be retired; `keyturn
            recover` goes on from the journal.
        LabError: Preflight failed; nothing was changed.
        Interrupted: A signal came; `outcome` says which key is in force, proven.
    """
    with tools.progress.step("preflight: targets, store, gateway"):
        secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
        new = new or tools.new_key()
        files = preflight(tools, using, secrets, new, grace_s)
    turn = _Turn(tools, using, secrets, new)
    try:
        turn.put_in_force()
    except BaseException as failure:
        _undo(turn, failure)
        raise
    _retire(turn, grace_s)
    last = turn.last
    return Rotated(last.old, last.new, last.retire_at, files)


class _Turn:
    """One rotation on its way.

    Attributes:
        last: What the journal says, or would say if nothing is written yet.
    """

    def __init__(
        self, tools: Tools, using: RotationTools, secrets: NamedSecrets, new: Secret
    ) -> None:
        self.tools = tools
        self.using = using
        self.old = secrets[MASTER_KEY]
        self.new = new
        self.before = secrets
        self.after: NamedSecrets = {**secrets, MASTER_KEY: new}
        self.last = Record(
            Step.BEGUN,
            MASTER_KEY,
            self.old.fingerprint(),
            new.fingerprint(),
            using.vault.store,
            tools.clock.now(),
            using.vault.copies,
        )

    def note(self, step: Step) -> None:
        """Write the journal's next line."""
        record = self.last.then(step, self.tools.clock.now())
        (self.using.journal.begin if step is Step.BEGUN else self.using.journal.add)(record)
        self.last = record

    def put_in_force(self) -> None:
        """Everything up to the proof; any failure in here is undone."""
        self.note(Step.BEGUN)
        with self.tools.progress.step("create: new key into the store, pending"):
            self.using.vault.put(self.old, self.new)
            self.note(Step.CREATED)
        with staged(self.tools, self.after) as unit:
            self.note(Step.STAGED)
            if self.tools.lab.guarded:
                with self.tools.progress.step("overlap: the gateway accepts both keys"):
                    accept_both(self.tools, self.old, self.new)
                    self.note(Step.OVERLAPPING)
            else:
                doubt_gateway(self.tools)
            # A target that its owner writes meanwhile is merged again by deploying it.
            with self.tools.progress.step("switch: every target"), suppress(ConflictError):
                unit.switch()
        deploy(self.tools, self.after)
        self.note(Step.SWITCHED)
        with self.tools.progress.step("promote: the new key is the store's current one"):
            self.using.vault.put(self.new, self.old)
            self.using.vault.spread(self.new)
            self.note(Step.PROMOTED)
        with self.tools.progress.step("prove: new key accepted, an answer, no drift"):
            prove_key(self.tools, self.new)
            prove_targets(self.tools, self.after)
            self.note(Step.PROVEN)

    def retire(self, grace_s: float) -> None:
        """End the old key, now or when its grace time is over. Safe to repeat."""
        if grace_s <= 0:
            finish(self.tools, self.using, self.after, self.old, self.note)
            return
        if self.last.retire_at is None:
            until = guard_time(self.tools) + grace_s
            self.last = replace(self.last, retire_at=until)
            self.note(Step.PROVEN)
        accept_both(self.tools, self.new, self.old, not_after=self.last.retire_at)
        remember_applied(self.tools, prove_targets(self.tools, self.after))


def _retire(turn: _Turn, grace_s: float) -> None:
    """Go forward, past a signal, too: the new key is proven, so there is nothing to undo.

    Raises:
        RecoveryNeededError: The old key could not be retired.
        Interrupted: A signal came; it is done nevertheless.
    """
    try:
        try:
            turn.retire(grace_s)
        except Interrupted as stop:
            turn.retire(grace_s)
            stop.outcome = f"the rotation is complete: {turn.last.new} is in force, proven"
            raise
    except Exception as failure:
        raise RecoveryNeededError(
            f"{turn.last.new} is in force and proven, but {turn.last.old} is not retired",
            why=cause_of(failure),
            fix="keyturn recover",
        ) from failure


def finish(
    tools: Tools,
    using: RotationTools,
    secrets: NamedSecrets,
    old: Secret | None,
    note: Callable[[Step], None],
) -> None:
    """Refuse the old key, prove it, and let the store forget it. Safe to repeat."""
    with tools.progress.step("retire: the old key is refused"):
        refuse_old(tools, secrets[MASTER_KEY], old)
        note(Step.RETIRED)
        using.vault.put(secrets[MASTER_KEY], None)
        remember_applied(tools, prove_targets(tools, secrets))
        note(Step.CLOSED)


def _undo(turn: _Turn, failure: BaseException) -> None:
    """Go back to the old key; on return `failure` itself is what there is to raise.

    A signal that comes meanwhile does not stop this: it is raised once, so that the second try
    runs to its end.

    Raises:
        RotationUndoneError: It was undone.
        RecoveryNeededError: Undoing failed.
    """
    if not is_open(turn.using.journal.records()):
        return  # it failed before anything was changed
    try:
        with turn.tools.progress.step("undo: the old key everywhere"):
            try:
                _put_turn_back(turn)
            except Interrupted:
                _put_turn_back(turn)
    except Exception as second:  # noqa: BLE001 - whatever it is, the journal stays open
        raise RecoveryNeededError(
            f"the rotation is half done, after: {turn.last.step.value}",
            why=f"{cause_of(failure)}; undoing it failed too: {cause_of(second)}",
            fix="keyturn recover",
        ) from failure
    words = f"the rotation was undone: {turn.last.old} is in force, proven"
    if isinstance(failure, Interrupted):
        failure.outcome = words
    elif isinstance(failure, Exception):
        fix = failure.fix if isinstance(failure, LabError) else "keyturn rotate"
        raise RotationUndoneError(words, why=cause_of(failure), fix=fix) from failure


def _put_turn_back(turn: _Turn) -> None:
    put_back(turn.tools, turn.using, turn.before, turn.last, turn.new, turn.note)


def put_back(
    tools: Tools,
    using: RotationTools,
    secrets: NamedSecrets,
    last: Record,
    new: Secret | None,
    note: Callable[[Step], None],
) -> None:
    """Put the old key in force everywhere, prove it and that the new one is refused.

    Safe to repeat. The store follows last, in one write: until then it still has both keys.

    Args:
        tools: The lab and everything around it.
        using: Journal and vault.
        secrets: With the old key.
        last: How far the rotation has got.
        new: The key that is given up; None where nobody knows it any more.
        note: Writes the journal's next line.
    """
    old = secrets[MASTER_KEY]
    # Before that no target has held the new key, so nobody needs it meanwhile.
    if tools.lab.guarded and new is not None and reached(last, Step.OVERLAPPING):
        admit(tools, old, new)
    deploy(tools, secrets)
    refuse_old(tools, old, new)
    using.vault.put(old, None)
    if reached(last, Step.SWITCHED):  # before that, no copy has been written
        using.vault.spread(old)
    remember_applied(tools, prove_targets(tools, secrets))
    note(Step.UNDONE)
