"""Put a key in force that was changed in the store behind our back, as carefully as a rotation.

Somebody ran `sops set` by hand, as many guides say. The old key is then nowhere but in the
targets: it stays accepted until the new one is proven, and comes back where that fails. There is
no journal, since the store is not ours to change back here: after a crash both keys are accepted
until `keyturn apply` is run again.
"""

from bootstrap.domain import targets as target_names
from bootstrap.domain.errors import (
    Interrupted,
    LabError,
    RecoveryNeededError,
    RotationUndoneError,
    cause_of,
)
from bootstrap.domain.plan import Action, Plan
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.force import (
    accept_both,
    admit,
    deploy,
    prove_key,
    prove_targets,
    refuse_old,
)
from bootstrap.workflows.memory import remember_applied
from bootstrap.workflows.tools import NamedSecrets, Tools


def replaced_key(tools: Tools, plan: Plan, new: Secret) -> Secret | None:
    """Return the key that `plan` takes out of force, where both can be accepted for a while.

    None where the key does not change, where the gateway has to restart anyway, where a file is
    replaced by force, and where the gateway does not accept what the targets hold.
    """
    keyset = next((c for c in plan.changes if c.target.name == target_names.KEYSET), None)
    if keyset is None or keyset.action is not Action.UPDATE or plan.gateway:
        return None
    old = tools.deployed_key()
    if old is None or old == new or any(change.backup for change in plan.changes):
        return None
    accepted = verdict(tools.gateway.models(old), with_key=True) is Verdict.ACCEPTED
    return old if accepted else None


def pick_up(tools: Tools, secrets: NamedSecrets, old: Secret) -> None:
    """Put the store's key in force: accept both, write the targets, prove, refuse the old one.

    Args:
        tools: The lab and everything around it. The caller holds the lab's lock.
        secrets: As the store has them.
        old: The key in force until now.

    Raises:
        RotationUndoneError: It could not be proven; the old key is, everywhere but in the store.
        RecoveryNeededError: Not even that could be done.
        Interrupted: A signal came; the old key is proven in force.
    """
    new = secrets[MASTER_KEY]
    try:
        with tools.progress.step("overlap: the gateway accepts the store's new key, too"):
            accept_both(tools, old, new)
        with tools.progress.step("switch: every target"):
            deploy(tools, secrets)
        with tools.progress.step("prove: the new key accepted, an answer, no drift"):
            prove_key(tools, new)
            prove_targets(tools, secrets)
        with tools.progress.step("retire: the old key is refused"):
            refuse_old(tools, new, old)
        remember_applied(tools, prove_targets(tools, secrets), secrets)
    except BaseException as failure:
        _undo(tools, {**secrets, MASTER_KEY: old}, new, failure)
        raise


def _undo(tools: Tools, before: NamedSecrets, new: Secret, failure: BaseException) -> None:
    """Go back to the old key; on return `failure` itself is what there is to raise."""
    old = before[MASTER_KEY]
    try:
        with tools.progress.step("undo: the old key everywhere"):
            try:
                _put_back(tools, before, new)
            except Interrupted:  # raised once: the second try runs to its end
                _put_back(tools, before, new)
    except Exception as second:  # noqa: BLE001 - whatever it is, it is half done
        raise RecoveryNeededError(
            f"the store's key {new.fingerprint()} is in force in part only",
            why=f"{cause_of(failure)}; undoing it failed too: {cause_of(second)}",
            fix="mend that, then: keyturn apply",
        ) from failure
    words = f"it was undone: {old.fingerprint()} is in force, proven; the store holds another key"
    if isinstance(failure, Interrupted):
        failure.outcome = words
    elif isinstance(failure, Exception):
        fix = failure.fix if isinstance(failure, LabError) else "keyturn apply"
        raise RotationUndoneError(words, why=cause_of(failure), fix=fix) from failure


def _put_back(tools: Tools, before: NamedSecrets, new: Secret) -> None:
    admit(tools, before[MASTER_KEY], new)
    deploy(tools, before)
    refuse_old(tools, before[MASTER_KEY], new)
