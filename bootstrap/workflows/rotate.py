"""Rotate secrets of the lab: proven, and all new or all old whatever happens in between.

The journal is written before the world is. Undo needs no saved plaintext: the store holds the
other value beside the current one, and every target is a function of them.
"""

from collections.abc import Sequence
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
from bootstrap.domain.rotatable import redis_password
from bootstrap.domain.rotation import Part, Record, Step, is_open, verb
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.audit import audit
from bootstrap.workflows.doors import leave_open, open_both, overlaps, prove_all
from bootstrap.workflows.force import Staged, deploy, prove_targets, staged, switch_and_restart
from bootstrap.workflows.guard_time import guard_time
from bootstrap.workflows.memory import doubt_gateway, remember_applied
from bootstrap.workflows.planning import needed_secrets, only_secrets
from bootstrap.workflows.preflight import (
    preflight,
    refuse_encryption_key,
    replaced,
    will_restart,
)
from bootstrap.workflows.reencrypt import migrating, prove_reencrypted, require_reencryption
from bootstrap.workflows.rotation_ends import finish, put_back, spread
from bootstrap.workflows.tools import NamedSecrets, Pairs, RotationTools, Tools


@dataclass(frozen=True)
class Rotated:
    """What a rotation did.

    Attributes:
        old: The fingerprint of the key that was in force.
        new: The fingerprint of the key that is.
        retire_at: Epoch seconds until which the old key is still accepted; None once it is refused.
        idle_s: It ends earlier once nobody has used it for so many seconds; None for not.
        files: The targets that were rewritten, by name.
        parts: The same for every secret that was rotated.
        restarted: Whether a fresh gateway serves now.
        to_do: What keyturn cannot do, for people.
    """

    old: str
    new: str
    retire_at: float | None
    idle_s: float | None
    files: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    restarted: bool = False
    to_do: tuple[str, ...] = ()


def rotate(
    tools: Tools,
    using: RotationTools,
    *,
    new: Secret | None = None,
    grace_s: float = 0.0,
    idle_s: float | None = None,
    names: Sequence[str] = (MASTER_KEY,),
    re_encrypt: bool = False,
    restart: bool = False,
) -> Rotated:
    """Put new values in force everywhere, prove them, and retire the old ones.

    Args:
        tools: The lab and everything around it. The caller holds the lab's lock and has settled
            any open rotation.
        using: Journal and vaults of the rotation.
        new: The value to put in force, where `names` is one; None makes one.
        grace_s: For how long the old ones are still accepted, in seconds.
        idle_s: See `bootstrap.domain.grace.Grace`.
        names: The secrets to rotate together.
        re_encrypt: Have LiteLLM encrypt its database with the new key.
        restart: Restart the gateway also where it need not to see the new values.

    Raises:
        RotationUndoneError: Something failed; the old values are proven in force again.
        RecoveryNeededError: Undoing failed too, or the old ones could not be retired; `keyturn
            recover` goes on from the journal.
        LabError: Preflight failed; nothing was changed.
        Interrupted: A signal came; `outcome` says which values are in force, proven.
    """
    with tools.progress.step("preflight: targets, store, gateway"):
        secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
        old = {name: tools.resolver.resolve(name).secret for name in names}
        made = {name: new or tools.new_key() for name in names}
        (require_reencryption if re_encrypt else refuse_encryption_key)(tools, secrets, made)
        plan = preflight(tools, using, secrets, old, made, grace_s)
        restarts = will_restart(tools, plan, asked=restart)
    turn = _Turn(tools, using, secrets, old, made)
    owes = bool(tools.lab.rotate.after)
    turn.last = replace(turn.last, reencrypts=re_encrypt, idle_s=idle_s, owes_hook=owes)
    turn.restarts = restarts
    try:
        turn.put_in_force()
    except BaseException as failure:
        _undo(turn, failure)
        raise
    _retire(turn, grace_s)
    last = turn.last
    return Rotated(
        last.old,
        last.new,
        last.retire_at,
        last.idle_s,
        tuple(change.target.name for change in plan.drift),
        last.parts,
        turn.restarts,
        _to_do(tools, using, made),
    )


def _to_do(tools: Tools, using: RotationTools, new: NamedSecrets) -> tuple[str, ...]:
    """Return what is left for a person."""
    name = redis_password(tools.lab)
    if using.redis is None or name is None or name not in new:
        return ()
    what = using.redis.forgets(new[name])
    return (f"Redis takes the old {name} again after its next start, unless you {what}",)


class _Turn:
    """One rotation on its way.

    Attributes:
        last: What the journal says, or would say if nothing is written yet.
        restarts: Whether the gateway is restarted.
    """

    def __init__(
        self,
        tools: Tools,
        using: RotationTools,
        secrets: NamedSecrets,
        old: NamedSecrets,
        new: NamedSecrets,
    ) -> None:
        self.tools = tools
        self.using = using
        self.backward: Pairs = {name: (old[name], new[name]) for name in new}
        self.forward: Pairs = {name: (new[name], old[name]) for name in new}
        self.before = secrets
        self.after = replaced(secrets, new)
        self.restarts = False
        self.last = _begun(using, self.backward, tools.clock.now())

    def note(self, step: Step) -> None:
        """Write the journal's next line."""
        record = self.last.then(step, self.tools.clock.now())
        audit(self.tools, self.using, record)
        (self.using.journal.begin if step is Step.BEGUN else self.using.journal.add)(record)
        self.last = record

    def put_in_force(self) -> None:
        """Everything up to the proof; any failure in here is undone."""
        self.note(Step.BEGUN)
        with self.tools.progress.step("create: new key into the store, pending"):
            self.using.vaults.put(self.backward)
            self.note(Step.CREATED)
        after = migrating(self.tools, self.last, self.after, self.forward)
        with staged(self.tools, after) as unit:
            self.note(Step.STAGED)
            if overlaps(self.tools, self.using, self.forward):
                with self.tools.progress.step("overlap: both are accepted, old and new"):
                    open_both(self.tools, self.using, self.forward)
                    self.note(Step.OVERLAPPING)
            if self.restarts and not self.tools.lab.guarded:
                switch_and_restart(self.tools, self.before, after, unit)
            else:
                self.switch(unit)
        deploy(self.tools, after, restart=self.restarts and self.tools.lab.guarded)
        prove_reencrypted(self.tools, self.last)
        self.note(Step.SWITCHED)
        with self.tools.progress.step("promote: the new key is the store's current one"):
            self.using.vaults.put(self.forward)
            spread(self.using, self.forward)
            self.note(Step.PROMOTED)
        with self.tools.progress.step("prove: new key accepted, an answer, no drift"):
            prove_all(self.tools, self.using, after, self.forward)
            self.note(Step.PROVEN)

    def switch(self, unit: Staged) -> None:
        """Put every target in force at once."""
        if unit.stale:
            doubt_gateway(self.tools)
        # A target that its owner writes meanwhile is merged again by deploying it.
        with self.tools.progress.step("switch: every target"), suppress(ConflictError):
            unit.first.switch()

    def retire(self, grace_s: float) -> None:
        """End the old values, now or when their grace time is over. Safe to repeat."""
        if self.last.reencrypts:  # the start that encrypted anew knew the old key
            deploy(self.tools, self.after)
        if grace_s <= 0:
            finish(self.tools, self.using, self.after, self.forward, self.note)
            return
        if self.last.retire_at is None:
            tools = self.tools
            now = guard_time(tools.files, tools.clock, tools.places.litellm)
            self.last = replace(self.last, retire_at=now + grace_s)
            self.note(Step.PROVEN)
        leave_open(self.tools, self.forward, self.last.retire_at)
        remember_applied(self.tools, prove_targets(self.tools, self.after), self.after)


def _begun(using: RotationTools, pairs: Pairs, now: float) -> Record:
    parts = []
    for name, (old, new) in pairs.items():
        vault = using.vaults.of(name)
        prints = old.fingerprint(), new.fingerprint() if new else ""
        parts.append(Part(name, *prints, vault.store, vault.copies))
    first, *more = parts
    return Record(
        Step.BEGUN,
        first.name,
        first.old,
        first.new,
        first.store,
        now,
        first.copies,
        more=tuple(more),
    )


def _retire(turn: _Turn, grace_s: float) -> None:
    """Go forward, past a signal, too: the new values are proven, so there is nothing to undo.

    Raises:
        RecoveryNeededError: The old ones could not be retired.
        Interrupted: A signal came; it is done nevertheless.
    """
    new, old = turn.last.new_words, turn.last.old_words
    try:
        try:
            turn.retire(grace_s)
        except Interrupted as stop:
            turn.retire(grace_s)
            stop.outcome = f"the rotation is complete: {new} {verb(new)} in force, proven"
            raise
    except Exception as failure:
        raise RecoveryNeededError(
            f"{new} {verb(new)} in force and proven, but {old} {verb(old)} not retired",
            why=cause_of(failure),
            fix="keyturn recover",
        ) from failure


def _undo(turn: _Turn, failure: BaseException) -> None:
    """Go back to the old values; on return `failure` itself is what there is to raise.

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
    old = turn.last.old_words
    words = f"the rotation was undone: {old} {verb(old)} in force, proven"
    if isinstance(failure, Interrupted):
        failure.outcome = words
    elif isinstance(failure, Exception):
        fix = failure.fix if isinstance(failure, LabError) else "keyturn rotate"
        raise RotationUndoneError(words, why=cause_of(failure), fix=fix) from failure


def _put_turn_back(turn: _Turn) -> None:
    put_back(turn.tools, turn.using, turn.before, turn.last, turn.backward, turn.note)
