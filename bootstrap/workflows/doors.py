"""What opens to a secret: the gateway's guard to the master key, the Redis to its password.

A rotation makes each of them open to both values, proves the new one, and shuts the old one out.
Redis comes before the gateway, which needs it. Everything here is safe to repeat.
"""

from collections.abc import Iterable

from bootstrap.domain.errors import GatewayError, ServiceError
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.probes import describe
from bootstrap.domain.rotatable import client_key, models_using, redis_password
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.client_doors import (
    accept_clients,
    admit_clients,
    refuse_clients,
    with_clients,
)
from bootstrap.workflows.force import (
    accept_both,
    admit,
    change_keyset,
    prove_key,
    prove_targets,
    refuse_old,
)
from bootstrap.workflows.gateway_up import prove
from bootstrap.workflows.own_keys import in_force, prove_own_keys
from bootstrap.workflows.tools import NamedSecrets, Pairs, RedisDoor, RotationTools, Tools


def overlaps(tools: Tools, using: RotationTools, names: Iterable[str]) -> bool:
    """Tell whether anything can open to both values of `names` for a while."""
    given = set(names)
    own = any(client_key(tools.lab, name) for name in given)
    guard = tools.lab.guarded and (MASTER_KEY in given or own)
    return guard or (using.redis is not None and redis_password(tools.lab) in given)


def open_both(tools: Tools, using: RotationTools, pairs: Pairs) -> None:
    """Make every door open to both values, and prove it.

    Args:
        tools: The lab and everything around it.
        using: With the door of Redis.
        pairs: By name, first the value that is to be in force. A Redis that knows one password
            takes that; one that knows more, and the guard, take both.
    """
    open_redis(tools, using, pairs)
    current, other = pairs.get(MASTER_KEY, (None, None))
    if tools.lab.guarded and current is not None and other is not None:
        accept_both(tools, other, current)
    accept_clients(tools, pairs)


def leave_open(tools: Tools, pairs: Pairs, until: float | None) -> None:
    """Make the guard accept the second value of each until its grace time ends, and prove it."""
    current, other = pairs.get(MASTER_KEY, (None, None))
    if tools.lab.guarded and current is not None and other is not None:
        accept_both(tools, current, other, not_after=until)
    accept_clients(tools, pairs, until)


def admit_until(tools: Tools, pairs: Pairs, until: float | None = None) -> None:
    """As `leave_open`, without asking the gateway, which may be down."""
    if tools.lab.guarded and MASTER_KEY in pairs:
        admit(tools, *pairs[MASTER_KEY], not_after=until)
    admit_clients(tools, pairs, until)


def reopen(tools: Tools, using: RotationTools, secrets: NamedSecrets, pairs: Pairs) -> None:
    """As `open_both`, without asking the gateway, which may be down.

    The keys of `secrets` that are not rotated are accepted, too: somebody may have removed the
    keyset meanwhile, or changed one in the store.
    """
    open_redis(tools, using, pairs)
    if not tools.lab.guarded:
        return

    def change(keys: Keyset) -> Keyset:
        keys = in_force(tools, keys, secrets)
        current, other = pairs.get(MASTER_KEY, (None, None))
        if current is not None and other is not None:
            keys = keys.with_overlap(other, current, None)
        return with_clients(tools, keys, pairs)

    change_keyset(tools, change)


def open_redis(tools: Tools, using: RotationTools, pairs: Pairs) -> None:
    """Make Redis take both passwords, where its password is among `pairs`."""
    found = _redis(tools, using, pairs)
    if found is not None:
        door, current, other = found
        if other is not None:
            door.open_both(current, other)


def shut(tools: Tools, using: RotationTools, secrets: NamedSecrets, pairs: Pairs) -> None:
    """Make every door open to the first value alone, and prove it.

    Where no door is the gateway's, it is proven that it accepts the lab's key.
    """
    found = _redis(tools, using, pairs)
    if found is not None:
        door, current, other = found
        door.close(current, other)
    refuse_clients(tools, pairs)
    if MASTER_KEY in pairs:
        refuse_old(tools, *pairs[MASTER_KEY])
        return
    if tools.lab.guarded:  # somebody may have removed the keyset meanwhile
        change_keyset(tools, lambda keys: in_force(tools, keys, secrets))
    prove(tools, secrets[MASTER_KEY])


def prove_all(
    tools: Tools, using: RotationTools, secrets: NamedSecrets, names: Iterable[str]
) -> None:
    """Prove that the gateway runs with the values of `secrets` for `names`, and no file differs.

    Raises:
        LabError: Something does not work with them.
    """
    given = tuple(names)
    master = secrets[MASTER_KEY]
    prove_key(tools, master)
    if using.redis is not None and redis_password(tools.lab) in given:
        prove_cache(tools, master)
    prove_own_keys(tools, secrets)
    for name in given:
        prove_models(tools, master, name)
    prove_targets(tools, secrets)


def prove_cache(tools: Tools, master: Secret) -> None:
    """Prove that the gateway reaches its Redis.

    Raises:
        ServiceError: It does not.
    """
    answer = tools.gateway.cache_ping(master)
    if answer.status != 200:
        raise ServiceError(
            "the gateway does not reach its Redis",
            why=describe(answer),
            fix="keyturn check; see the log of the service",
        )


def prove_models(tools: Tools, master: Secret, name: str) -> None:
    """Prove by a completion that every model whose backend the secret `name` opens answers.

    Raises:
        GatewayError: One does not.
    """
    for model in models_using(tools.lab, name):
        answer = tools.gateway.try_model(master, model.alias, stream=model.stream_only)
        if answer.status != 200 or not answer.completed:
            raise GatewayError(
                f"{model.alias} does not answer with the new {name}",
                why=f"{describe(answer)}, asked through the gateway without cache and fallbacks",
                fix=f"check the value, and whether {model.backend} is up",
            )


def _redis(
    tools: Tools, using: RotationTools, pairs: Pairs
) -> tuple[RedisDoor, Secret, Secret | None] | None:
    name = redis_password(tools.lab)
    if using.redis is None or name is None or name not in pairs:
        return None
    return (using.redis, *pairs[name])
