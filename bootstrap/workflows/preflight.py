"""May these secrets be rotated now? Asked before anything is changed."""

from collections.abc import Mapping

from bootstrap.domain import targets as target_names
from bootstrap.domain.errors import (
    ConfigError,
    ConflictError,
    GatewayError,
    ServiceError,
    TargetError,
)
from bootstrap.domain.litellm_config import names_database
from bootstrap.domain.plan import Action, Plan
from bootstrap.domain.probes import Verdict, describe, verdict
from bootstrap.domain.reencryption import encryption_key
from bootstrap.domain.rotatable import kind_of, makes_itself, redis_password
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import DATABASE_URL, MASTER_KEY, SALT_KEY
from bootstrap.domain.targets import Owner, targets
from bootstrap.workflows.conflicts import refuse_conflicts
from bootstrap.workflows.doors import prove_cache
from bootstrap.workflows.gateway_up import bring_up
from bootstrap.workflows.planning import gateway_files, make_plan, needed_secrets, only_secrets
from bootstrap.workflows.tools import NamedSecrets, RotationTools, Tools


def preflight(
    tools: Tools,
    using: RotationTools,
    secrets: NamedSecrets,
    old: NamedSecrets,
    new: NamedSecrets,
    grace_s: float,
) -> Plan:
    """Refuse while nothing has changed; return what the targets and the gateway are in for.

    What `refuse_encryption_key` asks is not asked here.

    Args:
        tools: The lab and everything around it.
        using: Vaults, and the door of Redis.
        secrets: What the targets are rendered with now.
        old: The values in force of the secrets that are rotated.
        new: The values that take over, by the same names.
        grace_s: For how long the old ones are still accepted, in seconds.

    Raises:
        LabError: They must not be rotated, or cannot be now; says why.
    """
    for name in new:
        _refuse_unfit(tools, using, name, {**secrets, **old}, new[name])
    if grace_s > 0 and not tools.lab.guarded:
        raise ConfigError(
            "there can be no grace time",
            why='with auth = "master-key" LiteLLM accepts one key only',
            fix='rotate without --grace, or write auth = "guard" in lab.toml',
        )
    for name in new:
        using.vaults.of(name).check_writable()
    _require_room(tools, using)
    _require_agreement(tools)
    answer = tools.gateway.models(secrets[MASTER_KEY])
    if verdict(answer, with_key=True) is not Verdict.ACCEPTED:
        raise GatewayError(
            "the gateway does not accept the key in force",
            why=describe(answer),
            fix="keyturn check",
        )
    redis = redis_password(tools.lab)
    if using.redis is not None and redis is not None and redis in new:
        _require_changeable(redis, using.redis.hindrance(old[redis]))
        prove_cache(tools, secrets[MASTER_KEY])
    return make_plan(tools, secrets=replaced(secrets, new))


def start_if_down(tools: Tools) -> None:
    """Start a gateway that does not run, with the values in force, so that all can be proven.

    Raises:
        LabError: It does not come up; no value was changed.
    """
    status = tools.service.status()
    if not status.running and status.installed and not make_plan(tools).drift:
        secrets = only_secrets(tools.resolver.resolve_all(needed_secrets(tools)))
        bring_up(tools, secrets, starts=True, reload=False)


def _require_room(tools: Tools, using: RotationTools) -> None:
    lab, places = tools.lab, tools.places
    found = targets(lab, places, tools.service.kind)
    problem = using.no_room((lab.root, places.state, *(each.path.parent for each in found)))
    if problem:
        raise TargetError(
            "there is no room for a rotation", why=problem, fix="make room there: df -h; df -i"
        )


def will_restart(tools: Tools, plan: Plan, *, asked: bool) -> bool:
    """Tell whether a rotation restarts the gateway: as asked, as the lab says, or as it must.

    Args:
        tools: The lab and everything around it.
        plan: What the new values change.
        asked: Restart it in any case.

    Raises:
        ConfigError: It would have to, and the lab says `never`.
    """
    wanted = tools.lab.rotate.restart
    if plan.gateway and not asked and wanted == "never":
        raise ConfigError(
            "the gateway would have to restart",
            why=f'{plan.gateway}, and [rotate] says restart = "never"',
            fix='allow it once: --restart; or write restart = "auto"',
        )
    return asked or bool(plan.gateway) or wanted == "always"


def replaced(secrets: NamedSecrets, new: NamedSecrets) -> NamedSecrets:
    """Return `secrets` with the new values of those that are among them.

    What no target needs must not get in: everything here goes into the gateway's environment.
    """
    return {**secrets, **{name: value for name, value in new.items() if name in secrets}}


def _refuse_unfit(
    tools: Tools, using: RotationTools, name: str, known: NamedSecrets, new: Secret
) -> None:
    ours = makes_itself(kind_of(tools.lab, name))
    problem = using.weakness(new) if ours else using.misfit(new)
    word = "key" if name == MASTER_KEY else name
    if problem:
        fix = "let keyturn make one" if ours else "copy it again from where it was made"
        raise ConfigError(f"the new {word} is not good enough", why=problem, fix=fix)
    if new == known[name]:
        raise ConfigError(
            f"the new {word} is the old one", why="nothing would change", fix="make another"
        )
    _refuse_anothers(name, known, new)


def _refuse_anothers(name: str, known: Mapping[str, Secret], new: Secret) -> None:
    """Refuse the value of another secret: a slip would send the master key to a provider."""
    same = next((other for other, value in known.items() if other != name and value == new), None)
    if same is not None:
        raise ConfigError(
            f"the new {name} is the value of {same}",
            why="two doors would open to one key",
            fix="give each its own",
        )


def refuse_encryption_key(tools: Tools, secrets: NamedSecrets, new: NamedSecrets) -> None:
    """Refuse where the key that LiteLLM's database is encrypted with could get lost.

    Seen with LiteLLM (1.106.2): without a salt key the key that it is started with encrypts what
    the database holds, and after a change of it nothing there can be read. Under the guard that is
    not the key of the clients, which LiteLLM never gets.

    Raises:
        ConfigError: It could.
    """
    encrypts = encryption_key(tools.lab)
    if SALT_KEY in secrets or not has_database(tools):
        return
    if encrypts in new:
        raise _unreadable(
            encrypts,
            f"without a salt key LiteLLM encrypts the models and credentials in its database with "
            f"the key that it is started with ({encrypts}), and could never read them again",
            f"; or have LiteLLM encrypt it anew with another {encrypts}: --re-encrypt"
            + (f"; or leave it: keyturn rotate {MASTER_KEY}" if MASTER_KEY in new else ""),
            encrypts,
        )
    if MASTER_KEY in new and _reaches_litellm(tools, secrets, new[MASTER_KEY]):
        raise _unreadable(
            MASTER_KEY,
            f"a template of your own gives it to LiteLLM, which then may encrypt the models and "
            f"credentials in its database with it instead of {encrypts}, and could never read them "
            "again",
            "; or remove it from that template",
            "what LiteLLM is started with",
        )


def _unreadable(name: str, why: str, ways: str, frozen: str) -> ConfigError:
    return ConfigError(
        f"{name} is not rotated: LiteLLM has a database and no {SALT_KEY}",
        why=why,
        fix=f"back up the database; then either store the value of {frozen} as {SALT_KEY}, which "
        f"then stays as it is for ever, run keyturn apply, and rotate{ways}",
    )


def _reaches_litellm(tools: Tools, secrets: NamedSecrets, key: Secret) -> bool:
    """Tell whether another master key changes anything that LiteLLM is started with."""
    return gateway_files(tools, secrets) != gateway_files(tools, {**secrets, MASTER_KEY: key})


def has_database(tools: Tools) -> bool:
    """Tell whether the lab gives LiteLLM a database, by a secret or in its config.yaml."""
    if DATABASE_URL in tools.lab.secrets:
        return True
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    config = next(target for target in wanted if target.name == target_names.CONFIG)
    found = tools.files.observe(config.path)
    return found is not None and names_database(found.content.data)


def _require_changeable(name: str, problem: str | None) -> None:
    if problem is not None:
        raise ServiceError(
            f"{name} cannot be changed in Redis", why=problem, fix="keyturn check says more"
        )


def _require_agreement(tools: Tools) -> None:
    """Refuse where something is not as the lab says, for there would be no state to go back to.

    Entries of ours that droid has put back in a file that it rewrites are none: what follows merges
    them again, and nobody edited them.
    """
    present = make_plan(tools)
    refuse_conflicts(tools, present)
    drift = [
        c
        for c in present.drift
        if not (c.target.owner is Owner.DROID and c.action is Action.UPDATE)
    ]
    if drift or present.gateway:
        why = ", ".join(f"{c.target.path}: {c.why}" for c in drift)
        down = "" if drift or tools.service.status().running else ", or: rotate --gateway-down"
        raise ConflictError(
            "this machine does not agree with the lab",
            why=why or f"the gateway: {present.gateway}",
            fix=f"keyturn apply, then rotate{down}",
        )
