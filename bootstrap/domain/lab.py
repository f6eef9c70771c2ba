"""The lab as frozen values: gateway, secrets, backends, models, clients.

`bootstrap.domain.labfile` makes one from `lab.toml`; nothing else constructs it.
"""

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from bootstrap.domain.extra_files import ExtraFile
from bootstrap.domain.grace import Grace
from bootstrap.domain.secret_spec import MASTER_KEY, SecretSpec
from bootstrap.domain.switches import Switches

if TYPE_CHECKING:
    from bootstrap.domain.client import Setup

LITELLM_VERSION = "1.106.2"
# Run with the tests of the guard, the configuration and rotations: the table of docs/litellm.md.
LITELLM_TESTED = ("1.80.0", "1.92.2", "1.99.4", "1.103.11", LITELLM_VERSION, "1.108.11", "1.109.1")
ECHO_ALIAS = "lab-echo"
ECHO_ANSWER = "the gateway works"
CLIENTS = ("droid", "claude", "openwebui")
# `guard`: keyturn's module inside LiteLLM, which can accept two keys and needs no restart;
# `master-key`: LiteLLM's own check, one key, read once at its start.
AUTH_KINDS = ("guard", "master-key")
SERVICE_KINDS = ("auto", "systemd", "supervisor")
# Who opens the gateway's port. `always`: the service manager, so that it stays open across
# restarts; `never`: LiteLLM itself; `auto`: the manager wherever the program can take it over.
SOCKET_KINDS = ("auto", "always", "never")
# Whether a rotation restarts the gateway. `auto`: where it must, to see the new values; `never`:
# a rotation that must is refused.
RESTART_KINDS = ("auto", "always", "never")


@dataclass(frozen=True)
class BackendKind:
    """What is common to all backends of a kind.

    Attributes:
        prefix: LiteLLM's provider prefix, without the slash.
        default_url: Where it listens unless the lab says otherwise; None where it must say.
        needs_key: Whether it is of no use without a provider key.
    """

    prefix: str
    default_url: str | None
    needs_key: bool


# `prefix` is the LiteLLM provider that serves droid and Claude Code alike: `openai/` would send
# /v1/messages to an endpoint that most compatible servers do not have.
BACKEND_KINDS: Mapping[str, BackendKind] = {
    "echo": BackendKind("hosted_vllm", None, needs_key=False),
    "ollama": BackendKind("ollama_chat", "http://127.0.0.1:11434", needs_key=False),
    "ollama-cloud": BackendKind("ollama_chat", "https://ollama.com", needs_key=True),
    "llama.cpp": BackendKind("hosted_vllm", "http://127.0.0.1:8080/v1", needs_key=False),
    "vllm": BackendKind("hosted_vllm", "http://127.0.0.1:8000/v1", needs_key=False),
    "openai-compatible": BackendKind("hosted_vllm", None, needs_key=False),
    "openai": BackendKind("openai", "https://api.openai.com/v1", needs_key=True),
    "anthropic": BackendKind("anthropic", "https://api.anthropic.com", needs_key=True),
}


@dataclass(frozen=True)
class Gateway:
    """The LiteLLM proxy.

    Attributes:
        host: The address it binds; loopback unless the lab says otherwise.
        port: 1 to 65535.
        service: One of SERVICE_KINDS.
        version: The LiteLLM version to install.
        command: An existing `litellm` to use instead of installing one, or None.
        literal_keys: Write keys into config.yaml itself instead of `os.environ/NAME`.
        auth: One of AUTH_KINDS: who decides which key is accepted.
        socket: One of SOCKET_KINDS; a `command` is looked at on this machine to settle `auto`.
    """

    host: str = "127.0.0.1"
    port: int = 4000
    service: str = "auto"
    version: str = LITELLM_VERSION
    command: str | None = None
    literal_keys: bool = False
    auth: str = "guard"
    socket: str = "auto"

    @property
    def address(self) -> str | None:
        """What is listened on, as systemd writes it (`127.0.0.1:4000`); None for a host name."""
        host = "127.0.0.1" if self.host == "localhost" else self.host
        try:
            parsed = ipaddress.ip_address(host)
        except ValueError:
            return None
        return f"[{parsed}]:{self.port}" if parsed.version == 6 else f"{parsed}:{self.port}"

    @property
    def held(self) -> str | None:
        """The address that the service manager holds open across restarts, or None."""
        wanted = self.socket == "always" or (self.socket == "auto" and self.command is None)
        return self.address if wanted else None

    @property
    def url(self) -> str:
        """The base URL that clients on this machine use, without a path."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


@dataclass(frozen=True)
class Backend:
    """A place that runs models.

    Attributes:
        name: As models refer to it.
        kind: A key of BACKEND_KINDS.
        url: Its API base; None for `echo`.
        key: The name of the secret that opens it, or None.
    """

    name: str
    kind: str
    url: str | None
    key: str | None = None


@dataclass(frozen=True)
class Model:
    """A model as clients see it.

    Attributes:
        alias: The name clients ask for.
        backend: Which backend runs it.
        upstream: The name it has there.
        display_name: What people see in a client's list.
        output_tokens: The most tokens of one answer; a real cap, not a default.
        context_tokens: The size of its context, or None if unknown.
        stream_only: The backend refuses requests that do not stream.
        images: Whether it takes images.
        clients: Which clients list it.
        fallbacks: Aliases to try in turn when it fails.
        id: What it stays known by whatever its alias; None for the alias.
    """

    alias: str
    backend: str
    upstream: str
    display_name: str
    output_tokens: int = 16384
    context_tokens: int | None = None
    stream_only: bool = False
    images: bool = False
    clients: tuple[str, ...] = CLIENTS
    fallbacks: tuple[str, ...] = ()
    id: str | None = None

    @property
    def lasting_id(self) -> str:
        """What a client that remembers a chosen model remembers."""
        return self.id or self.alias


@dataclass(frozen=True)
class Redis:
    """The cache that LiteLLM uses, where the lab has one.

    Attributes:
        host: Its address.
        port: 1 to 65535.
        password: The name of the secret that opens it, or None.
    """

    host: str
    port: int
    password: str | None


@dataclass(frozen=True)
class RotateSettings:
    """How the lab wants its key rotated (`[rotate]`).

    Attributes:
        grace: For how long the old key is still accepted; None lets keyturn decide by who still
            uses it.
        after: A program and its arguments, run after a rotation; empty for none.
        restart: One of RESTART_KINDS.
    """

    grace: Grace | None = None
    after: tuple[str, ...] = ()
    restart: str = "auto"


@dataclass(frozen=True)
class ClientKey:
    """A client that has a key of its own instead of the master key.

    Attributes:
        client: Its name, also that of the key in the keyset.
        secret: The name of the secret.
        lists: The name under `clients` of a model that is for it, or None for every model.
    """

    client: str
    secret: str
    lists: str | None


@dataclass(frozen=True)
class Lab:
    """A whole lab.

    Attributes:
        root: The folder of `lab.toml`.
        gateway: The proxy.
        secrets: By name.
        backends: By name.
        models: Those of the active profile, in the file's order.
        redis: The cache, or None.
        switches: Which targets to render.
        profile: The active profile's name, or None for all models.
        exec_names: Secrets that `keyturn exec` passes by default.
        rotate: How the key is rotated.
        hand_over: By client, the way in which `[clients.NAME]` says it gets its key.
        ways: By client, the way that its installed version makes us take instead of the usual one.
        brought: The clients of packages that `[clients.NAME]` has set up.
        stores: By client, the file in which it keeps its connection, as `[clients.NAME]` says.
        client_keys: The clients that have keys of their own.
        files: Files of the user's own.
    """

    root: PurePath
    gateway: Gateway
    secrets: Mapping[str, SecretSpec]
    backends: Mapping[str, Backend]
    models: tuple[Model, ...]
    redis: Redis | None
    switches: Switches
    profile: str | None
    exec_names: tuple[str, ...]
    rotate: RotateSettings = RotateSettings()
    hand_over: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[str, str] = field(default_factory=dict)
    brought: "Mapping[str, Setup]" = field(default_factory=dict)
    stores: Mapping[str, str] = field(default_factory=dict)
    client_keys: tuple[ClientKey, ...] = ()
    files: tuple[ExtraFile, ...] = ()

    @property
    def file(self) -> PurePath:
        """The lab file itself."""
        return self.root / "lab.toml"

    def with_secrets(self, present: Collection[str]) -> "Lab":
        """Return the lab without the models whose provider key is not `present`.

        A model rendered with an unset `os.environ/NAME` would make LiteLLM send another
        provider's key to its address (seen with 1.106.2), so it is left out instead.
        """
        usable = {m.alias for m in self.models if self.backends[m.backend].key in (None, *present)}
        models = tuple(
            replace(m, fallbacks=tuple(f for f in m.fallbacks if f in usable))
            for m in self.models
            if m.alias in usable
        )
        return replace(self, models=models)

    def pinned_way(self, client: str) -> str | None:
        """Return the way that a client's version or the lab file imposes; None for the usual."""
        return self.ways.get(client) or self.hand_over.get(client)

    def key_name(self, client: str) -> str:
        """Return the name of the secret that a client sends: its own key, or the master key."""
        own = (key.secret for key in self.client_keys if key.client == client)
        return next(own, MASTER_KEY)

    def scope(self, key: ClientKey) -> tuple[str, ...]:
        """Return the aliases that a client's own key is good for: those that the client sees."""
        return tuple(m.alias for m in self.models if key.lists is None or key.lists in m.clients)

    @property
    def guarded(self) -> bool:
        """Whether keyturn's guard decides which key is accepted."""
        return self.gateway.auth == "guard"

    def provider_keys(self) -> tuple[str, ...]:
        """Names of the secrets that the active models' backends and the cache need."""
        names = [self.backends[model.backend].key for model in self.models]
        if self.redis is not None:
            names.append(self.redis.password)
        return tuple(dict.fromkeys(name for name in names if name))
