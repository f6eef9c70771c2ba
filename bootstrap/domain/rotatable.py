"""Which secrets of a lab can be rotated, who makes their values, and which go together."""

from enum import Enum

from bootstrap.domain.lab import ClientKey, Lab, Model
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY, SALT_KEY


class Kind(Enum):
    """What a secret of a lab opens, which decides how it is rotated."""

    MASTER = "master key"  # what clients send: accepted beside the old one for a while
    CLIENT = "client's own key"  # accepted beside the old one for a while, for its models
    INTERNAL = "internal key"  # what LiteLLM demands at its start; opens nothing
    SALT = "salt key"  # encrypts what LiteLLM stores in a database
    REDIS = "Redis password"  # keyturn changes it in the Redis itself
    PROVIDER = "provider key"  # a provider makes it; proven by its models
    OTHER = "secret"  # keyturn stores it and cannot know what it opens


def kind_of(lab: Lab, name: str) -> Kind:
    """Return what the secret `name` is to `lab`.

    A provider's key counts as one only where an active model needs it.
    """
    if name == MASTER_KEY:
        return Kind.MASTER
    if name == SALT_KEY:
        return Kind.SALT
    if name == INTERNAL_KEY and lab.guarded:
        return Kind.INTERNAL
    if client_key(lab, name) is not None:
        return Kind.CLIENT
    if models_using(lab, name):
        return Kind.PROVIDER
    return Kind.REDIS if redis_password(lab) == name else Kind.OTHER


def makes_itself(kind: Kind) -> bool:
    """Tell whether keyturn makes a new value of that kind unless it is given one."""
    return kind not in (Kind.PROVIDER, Kind.OTHER)


def client_key(lab: Lab, name: str) -> ClientKey | None:
    """Return whose own key the secret `name` is, or None."""
    return next((key for key in lab.client_keys if key.secret == name), None)


def redis_password(lab: Lab) -> str | None:
    """Return the name of the secret that opens the lab's Redis, or None."""
    return lab.redis.password if lab.redis else None


def models_using(lab: Lab, name: str) -> tuple[Model, ...]:
    """Return the active models whose backend the secret `name` opens."""
    return tuple(model for model in lab.models if lab.backends[model.backend].key == name)


def rotated_by_all(lab: Lab) -> tuple[str, ...]:
    """Return the secrets that `rotate --all` rotates, the master key first.

    All those whose value keyturn makes, but for the salt key, which nothing can replace.
    """
    internal = (INTERNAL_KEY,) if lab.guarded else ()
    redis = redis_password(lab)
    redis_too = (redis,) if redis and kind_of(lab, redis) is Kind.REDIS else ()
    own = (key.secret for key in lab.client_keys if lab.scope(key))
    return (MASTER_KEY, *own, *internal, *redis_too)


def left_out_by_all(lab: Lab) -> tuple[str, ...]:
    """Return the secrets that `rotate --all` leaves out, for somebody else makes their values."""
    own = (key.secret for key in lab.client_keys)
    known = (*rotated_by_all(lab), *own, SALT_KEY, INTERNAL_KEY)
    return tuple(dict.fromkeys(n for n in (*lab.provider_keys(), *lab.secrets) if n not in known))
