"""May the master key be rotated now? Asked before anything is changed."""

from bootstrap.domain import targets as target_names
from bootstrap.domain.errors import ConfigError, ConflictError, GatewayError
from bootstrap.domain.litellm_config import names_database
from bootstrap.domain.plan import Action
from bootstrap.domain.probes import Verdict, describe, verdict
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import DATABASE_URL, INTERNAL_KEY, MASTER_KEY, SALT_KEY
from bootstrap.domain.targets import Owner, targets
from bootstrap.workflows.planning import make_plan
from bootstrap.workflows.tools import NamedSecrets, RotationTools, Tools


def preflight(
    tools: Tools,
    using: RotationTools,
    secrets: NamedSecrets,
    new: Secret,
    grace_s: float,
) -> tuple[str, ...]:
    """Refuse while nothing has changed; return the names of the targets that will.

    Raises:
        LabError: The key must not be rotated, or cannot be now; says why.
    """
    _refuse_weak(using, secrets[MASTER_KEY], new)
    _refuse_encryption_key(tools, secrets)
    if grace_s > 0 and not tools.lab.guarded:
        raise ConfigError(
            "there can be no grace time",
            why='with auth = "master-key" LiteLLM accepts one key only',
            fix='rotate without --grace, or write auth = "guard" in lab.toml',
        )
    using.vault.check_writable()
    _require_agreement(tools, secrets)
    answer = tools.gateway.models(secrets[MASTER_KEY])
    if verdict(answer, with_key=True) is not Verdict.ACCEPTED:
        raise GatewayError(
            "the gateway does not accept the key in force",
            why=describe(answer),
            fix="keyturn check",
        )
    trial = make_plan(tools, secrets={**secrets, MASTER_KEY: new})
    return tuple(change.target.name for change in trial.drift)


def _refuse_weak(using: RotationTools, old: Secret, new: Secret) -> None:
    weak = using.weakness(new)
    if weak:
        raise ConfigError("the new key is not good enough", why=weak, fix="let keyturn make one")
    if new == old:
        raise ConfigError(
            "the new key is the old one", why="nothing would change", fix="make another"
        )


def _refuse_encryption_key(tools: Tools, secrets: NamedSecrets) -> None:
    """Refuse where the key that LiteLLM's database is encrypted with could get lost.

    Seen with LiteLLM's encryption helper (1.106.2): without a salt key the master key encrypts
    what the database holds, and after a change of it nothing there can be read.
    """
    if SALT_KEY in secrets or not (DATABASE_URL in tools.lab.secrets or _has_database(tools)):
        return
    encrypts = INTERNAL_KEY if tools.lab.guarded else MASTER_KEY
    raise ConfigError(
        f"{MASTER_KEY} is not rotated: LiteLLM has a database and no {SALT_KEY}",
        why=f"without a salt key LiteLLM encrypts the models and credentials in its database with "
        f"its master key ({encrypts}), and could never read them again",
        fix=f"back up the database, store the value of {encrypts} as {SALT_KEY}, run "
        "keyturn apply, then rotate; the salt key then stays as it is for ever",
    )


def _has_database(tools: Tools) -> bool:
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    config = next(target for target in wanted if target.name == target_names.CONFIG)
    found = tools.files.observe(config.path)
    return found is not None and names_database(found.content.data)


def _require_agreement(tools: Tools, secrets: NamedSecrets) -> None:
    """Refuse where something is not as the lab says, for there would be no state to go back to.

    Entries of ours that droid has put back in a file that it rewrites are none: what follows merges
    them again, and nobody edited them.
    """
    present = make_plan(tools, secrets=secrets)
    drift = [
        c
        for c in present.drift
        if not (c.target.owner is Owner.DROID and c.action is Action.UPDATE)
    ]
    if drift or present.gateway:
        why = ", ".join(f"{c.target.path}: {c.why}" for c in drift)
        raise ConflictError(
            "this machine does not agree with the lab",
            why=why or f"the gateway: {present.gateway}",
            fix="keyturn apply, then rotate",
        )
