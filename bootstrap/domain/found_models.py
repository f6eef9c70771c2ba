"""A catalogue found elsewhere, in the words of lab.toml: models, their keys, what did not fit.

`bootstrap.domain.litellm_read` and `bootstrap.domain.backend_read` make one,
`bootstrap.domain.lab_additions` turns it into entries of lab.toml.
"""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bootstrap.domain.lab import BACKEND_KINDS
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class FoundKey:
    """A provider key as the other side has it.

    Attributes:
        name: The variable that it is taken from, or None where it stands there itself.
        value: It, where it is known.
    """

    name: str | None
    value: Secret | None


@dataclass(frozen=True)
class FoundModel:
    """A model of another catalogue.

    Attributes:
        alias: What clients ask for.
        kind: A key of BACKEND_KINDS.
        url: The backend's API base; None for the kind's default.
        upstream: What the backend calls it.
        key: The provider key, or None.
        output_tokens: The most tokens of one answer, or None where nothing is said.
        context_tokens: The size of its context, or None.
        images: Whether it takes images.
        stream_only: Whether the backend wants to be asked for a stream.
        listed: False for one that only serves as a fallback.
        fallbacks: Aliases to try when it fails.
        notes: What does not fit into lab.toml, one clause each; never a value.
    """

    alias: str
    kind: str
    url: str | None
    upstream: str
    key: FoundKey | None = None
    output_tokens: int | None = None
    context_tokens: int | None = None
    images: bool = False
    stream_only: bool = False
    listed: bool = True
    fallbacks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundRedis:
    """A cache of another catalogue; `host` and `port` as in [redis]."""

    host: str
    port: int
    password: FoundKey | None


@dataclass(frozen=True)
class Found:
    """All of another catalogue.

    Attributes:
        source: What it was read from, for a comment.
        models: In its order.
        redis: The cache, or None.
        left_out: What could not be carried over, one sentence each; never a value.
        lost: Whether it has models, and not one of them could.
    """

    source: str
    models: tuple[FoundModel, ...] = ()
    redis: FoundRedis | None = None
    left_out: tuple[str, ...] = field(default=())
    lost: bool = False

    @property
    def literals(self) -> tuple[Secret, ...]:
        """The keys that stand there themselves."""
        keys = [model.key for model in self.models] + [self.redis.password if self.redis else None]
        return tuple(k.value for k in keys if k and k.name is None and k.value is not None)


def same_url(one: str | None, other: str | None) -> bool:
    """Tell whether two API bases are the same address; localhost is 127.0.0.1."""
    return _plain_url(one) == _plain_url(other)


def url_problem(url: str) -> str | None:
    """Return why `url` cannot stand in lab.toml (one clause, never quoting it), or None."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return "its address is no http:// or https:// URL"
    if not sound or not url.isprintable() or any(c.isspace() for c in url):
        return "its address is no http:// or https:// URL"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "its address carries a login, a query or a fragment"
    return None


def kind_at(url: str, kinds: tuple[str, ...], usual: str) -> str:
    """Return which of `kinds` has `url` as its default address, else `usual`."""
    return next((k for k in kinds if same_url(BACKEND_KINDS[k].default_url, url)), usual)


def _plain_url(url: str | None) -> str | None:
    return None if url is None else url.rstrip("/").replace("://localhost", "://127.0.0.1")
