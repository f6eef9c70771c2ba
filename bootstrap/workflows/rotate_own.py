"""Rotate keys that clients have of their own (`client_keys = true`), one or all of them.

The store is written first, once, and is the truth from then on: what a crash leaves is finished by
the next `keyturn apply`, and the old key is accepted until then. A failure puts the old keys back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.errors import (
    ConflictError,
    Interrupted,
    LabError,
    RecoveryNeededError,
    RotationUndoneError,
    cause_of,
)
from bootstrap.domain.lab import ClientKey
from bootstrap.domain.probes import Verdict
from bootstrap.domain.secret import Secret
from bootstrap.workflows.apply import apply
from bootstrap.workflows.force import change_keyset, expect
from bootstrap.workflows.own_keys import CLIENT_GRACE_S, store
from bootstrap.workflows.planning import make_plan, needed_secrets, only_secrets
from bootstrap.workflows.tools import NamedSecrets, RotationTools, Tools


@dataclass(frozen=True)
class TurnedKey:
    """One client's key after its rotation.

    Attributes:
        client: Whose.
        old: The fingerprint of the key that it had.
        new: The fingerprint of the key that it has.
        until: Epoch seconds until which the old one is accepted; None where it is refused.
    """

    client: str
    old: str
    new: str
    until: float | None


def rotate_own(
    tools: Tools,
    using: RotationTools,
    keys: Sequence[ClientKey],
    grace_s: float = CLIENT_GRACE_S,
) -> tuple[TurnedKey, ...]:
    """Give clients new keys: in the store, the keyset and every target, proven.

    Args:
        tools: The lab and everything around it. The caller holds the lab's lock and has settled
            any open rotation.
        using: For the audit record.
        keys: Whose.
        grace_s: For how long their old keys are accepted, in seconds.

    Raises:
        ConflictError: This machine does not agree with the lab; nothing was changed.
        RotationUndoneError: It failed; the old keys are in force.
        RecoveryNeededError: Undoing failed, too; `keyturn apply` goes on.
        Interrupted: A signal came; the old keys are in force.
    """
    before = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
    _require_agreement(tools, before)
    old = {key.secret: before[key.secret] for key in keys if key.secret in before}
    new = {name: tools.new_key() for name in old}
    try:
        with tools.progress.step("store the new keys"):
            store(tools, new)
        apply(tools)
    except BaseException as failure:
        _undo(tools, old, failure)
        raise
    until = tools.clock.now() + grace_s if grace_s > 0 else None
    clients = [key for key in keys if key.secret in old]
    with tools.progress.step("retire the old keys"):
        for key in clients:
            change_keyset(tools, lambda k, name=key.client: k.with_lab_key_ending(name, until))  # type: ignore[misc]
            if until is None:
                expect(tools, old[key.secret], Verdict.REFUSED)
    turned = [_turned(key, old[key.secret], new[key.secret], until) for key in clients]
    for key, done in zip(clients, turned, strict=True):
        _record(tools, using, key, done)
    return tuple(turned)


def _turned(key: ClientKey, old: Secret, new: Secret, until: float | None) -> TurnedKey:
    return TurnedKey(key.client, old.fingerprint(), new.fingerprint(), until)


def _require_agreement(tools: Tools, secrets: NamedSecrets) -> None:
    plan = make_plan(tools, secrets=secrets)
    if plan:
        why = ", ".join(f"{c.target.path}: {c.why}" for c in plan.drift)
        raise ConflictError(
            "this machine does not agree with the lab",
            why=why or f"the gateway: {plan.gateway}",
            fix="keyturn apply, then rotate",
        )


def _undo(tools: Tools, old: NamedSecrets, failure: BaseException) -> None:
    """Put the old keys back; on return `failure` itself is what there is to raise."""
    try:
        with tools.progress.step("undo: the old keys"):
            store(tools, old)
            apply(tools)
    except Exception as second:  # noqa: BLE001 - whatever it is, it is half done
        raise RecoveryNeededError(
            "the clients' new keys are in force in part only",
            why=f"{cause_of(failure)}; undoing it failed too: {cause_of(second)}",
            fix="mend that, then: keyturn apply",
        ) from failure
    words = "it was undone: the clients' old keys are in force"
    if isinstance(failure, Interrupted):
        failure.outcome = words
    elif isinstance(failure, Exception):
        fix = failure.fix if isinstance(failure, LabError) else "keyturn check"
        raise RotationUndoneError(words, why=cause_of(failure), fix=fix) from failure


def _record(tools: Tools, using: RotationTools, key: ClientKey, done: TurnedKey) -> None:
    event = Event.ROTATED if done.until is None else Event.OVERLAP
    ref = str(tools.resolver.resolve(key.secret).ref)
    now = tools.clock.now()
    entry = Entry(now, event, key.secret, done.old, done.new, ref, done.until)
    try:
        using.audit.add(entry)
    except LabError as error:
        tools.progress.note(f"The audit record was not written: {error}.")
