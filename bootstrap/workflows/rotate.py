"""Rotate the master key: proven, and all new or all old whatever happens in between.

The journal is written before the world is. Undo needs no saved plaintext: the store holds the
other key beside the current one, and every target is a function of the key.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from bootstrap.domain.errors import (
    ConfigError,
    ConflictError,
    GatewayError,
    LabError,
    RecoveryNeededError,
    RotationUndoneError,
    cause_of,
)
from bootstrap.domain.probes import Verdict, describe, verdict
from bootstrap.domain.rotation import Record, Step
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import Owner
from bootstrap.workflows.force import accept_both, deploy, prove_key, refuse_old, staged
from bootstrap.workflows.memory import remember_applied
from bootstrap.workflows.planning import make_plan, needed_secrets, only_secrets
from bootstrap.workflows.tools import NamedSecrets, RotationTools, Tools

_MERGE_TRIES = 5


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
        RecoveryNeededError: Undoing failed too; `keyturn recover` goes on from the journal.
        LabError: Preflight failed; nothing was changed.
    """
    with tools.progress.step("preflight: targets, store, gateway"):
        secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
        old = secrets[MASTER_KEY]
        new = new or tools.new_key()
        planned = _preflight(tools, using, secrets, old, new)
    turn = _Turn(tools, using, secrets, old, new)
    turn.note(Step.BEGUN, begin=True)
    try:
        turn.put_in_force()
    except BaseException as failure:
        _undo(turn, failure)
        raise
    turn.retire(grace_s)
    return Rotated(old.fingerprint(), new.fingerprint(), turn.retire_at, planned)


def _preflight(
    tools: Tools, using: RotationTools, secrets: NamedSecrets, old: Secret, new: Secret
) -> tuple[str, ...]:
    """Refuse while nothing has changed; return the names of the targets that will."""
    weak = using.weakness(new)
    if weak:
        raise ConfigError("the new key is not good enough", why=weak, fix="let keyturn make one")
    if new == old:
        raise ConfigError(
            "the new key is the old one", why="nothing would change", fix="make another"
        )
    using.vault.check_writable()
    present = make_plan(tools, secrets=secrets)
    if present:
        why = present.gateway or ", ".join(str(c.target.path) for c in present.drift)
        raise ConflictError(
            "this machine does not agree with the lab", why=why, fix="keyturn apply, then rotate"
        )
    trial = make_plan(tools, secrets={**secrets, MASTER_KEY: new})
    answer = tools.gateway.models(old)
    if verdict(answer, with_key=True) is not Verdict.ACCEPTED:
        raise GatewayError(
            "the gateway does not accept the key in force",
            why=describe(answer),
            fix="keyturn check",
        )
    return tuple(change.target.name for change in trial.changes)


class _Turn:
    """One rotation on its way; each method is one step of the protocol."""

    def __init__(
        self, tools: Tools, using: RotationTools, secrets: NamedSecrets, old: Secret, new: Secret
    ) -> None:
        self.tools = tools
        self.using = using
        self.before = secrets
        self.after: NamedSecrets = {**secrets, MASTER_KEY: new}
        self.old = old
        self.new = new
        self.retire_at: float | None = None

    def note(self, step: Step, *, begin: bool = False) -> None:
        """Write the journal's next line."""
        record = Record(
            step,
            MASTER_KEY,
            self.old.fingerprint(),
            self.new.fingerprint(),
            self.tools.clock.now(),
            self.retire_at,
        )
        (self.using.journal.begin if begin else self.using.journal.add)(record)

    def put_in_force(self) -> None:
        """Everything up to the proof; any failure in here is undone."""
        with self.tools.progress.step("create: new key into the store, pending"):
            self.using.vault.put(self.old, self.new)
            self.note(Step.CREATED)
        with staged(self.tools, self.after) as unit:
            self.note(Step.STAGED)
            if self.tools.lab.guarded:
                with self.tools.progress.step("overlap: the gateway accepts both keys"):
                    accept_both(self.tools, self.old, self.new)
                    self.note(Step.OVERLAPPING)
            # A target that its owner writes meanwhile is merged again by deploying it.
            with self.tools.progress.step("switch: every target"), suppress(ConflictError):
                unit.switch()
        deploy(self.tools, self.after, keep_keyset=True)
        self.note(Step.SWITCHED)
        with self.tools.progress.step("promote: the new key is the store's current one"):
            self.using.vault.put(self.new, self.old)
            self.note(Step.PROMOTED)
        with self.tools.progress.step("prove: new key accepted, an answer, no drift"):
            prove_key(self.tools, self.new)
            _prove_targets(self.tools, self.after)
            self.note(Step.PROVEN)

    def retire(self, grace_s: float) -> None:
        """From here on only forward: the old key ends."""
        now = self.tools.clock.now()
        if grace_s > 0 and self.tools.lab.guarded:
            self.retire_at = now + grace_s
            accept_both(self.tools, self.new, self.old, not_after=self.retire_at)
            self.note(Step.PROVEN)
            remember_applied(self.tools, self.after)
            return
        finish(self.tools, self.using, self.after, self.old, self.note)
        self.retire_at = None


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
        remember_applied(tools, secrets)
        note(Step.CLOSED)


def _prove_targets(tools: Tools, secrets: NamedSecrets) -> None:
    """Prove that every target holds the new key, also where its owner wrote it meanwhile."""
    for _ in range(_MERGE_TRIES):
        plan = make_plan(tools, secrets=secrets)
        writes = [c.write for c in plan.changes if c.write and c.target.owner is not Owner.KEYSET]
        if plan.conflicts:
            raise ConflictError(
                "a target was edited while the key rotated",
                why=plan.conflicts[0].why,
                fix="keyturn plan shows it",
            )
        if not writes:
            return
        tools.files.replace_all(writes)
    raise ConflictError(
        "a target does not keep the new key",
        why="its owner writes it faster than keyturn can",
        fix="quit the running droid, then rotate again",
    )


def _undo(turn: _Turn, failure: BaseException) -> None:
    tools, using = turn.tools, turn.using
    try:
        with tools.progress.step("undo: the old key everywhere"):
            put_back(tools, using, turn.before, turn.old, turn.new, turn.note)
    except BaseException as second:  # noqa: BLE001 - whatever it is, the journal stays open
        raise RecoveryNeededError(
            "the rotation is half done",
            why=f"{cause_of(failure)}; undoing it failed too: {cause_of(second)}",
            fix="keyturn recover",
        ) from None
    if isinstance(failure, LabError):
        raise RotationUndoneError(
            "the rotation was undone: the old key is proven in force",
            why=cause_of(failure),
            fix=failure.fix,
        ) from failure


def put_back(
    tools: Tools,
    using: RotationTools,
    secrets: NamedSecrets,
    old: Secret,
    new: Secret | None,
    note: Callable[[Step], None],
) -> None:
    """Put the old key in force everywhere, prove it and that the new one is refused.

    Safe to repeat. The store's current key is the old one again before anything else changes.
    """
    using.vault.put(old, new)
    deploy(tools, {**secrets, MASTER_KEY: old}, keep_keyset=True)
    refuse_old(tools, old, new)
    using.vault.put(old, None)
    remember_applied(tools, {**secrets, MASTER_KEY: old})
    note(Step.UNDONE)
