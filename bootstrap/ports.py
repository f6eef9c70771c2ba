"""What the workflows need from outside, as protocols.

Adapters implement them, `bootstrap.wiring` picks which, tests give small doubles.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Protocol, runtime_checkable

from bootstrap.domain.content import FileState, Write
from bootstrap.domain.probes import Answer
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret


class Provider(Protocol):
    """A place that secrets are read from. One instance serves one command.

    Third parties register one under the entry-point group `keyturn.providers`, named after its
    scheme, as a callable that takes the lab's root folder (`PurePath`) and returns the provider.
    `bootstrap.contract.ProviderContract` is the test suite that it must pass.
    """

    scheme: str

    def unavailable(self, ref: SecretRef) -> str | None:
        """Return why `ref` cannot be read here (one clause), or None when it can be tried."""

    def read(self, ref: SecretRef) -> Secret:
        """Return the secret at `ref`.

        Raises:
            SecretNotFoundError: The place works but holds no such name, or an empty value.
            ProviderUnavailableError: The place cannot be used; says how to make it usable.
            StoreDamagedError: The place is there but not sound.
        """


@runtime_checkable
class WritableProvider(Provider, Protocol):
    """A provider that can also store."""

    def write(self, ref: SecretRef, secret: Secret) -> None:
        """Store `secret` at `ref`, replacing what was there, all or nothing, and read it back.

        Raises:
            SecretError: It was not stored; what was there before still is.
        """


@runtime_checkable
class BatchProvider(WritableProvider, Protocol):
    """A provider whose places hold many secrets and are written whole."""

    def write_many(self, place: str, secrets: Mapping[str, Secret | None]) -> None:
        """Store several secrets in one place, all or none; None removes a name.

        Raises:
            SecretError: Nothing was stored.
        """


class Files(Protocol):
    """The file system, as far as targets go."""

    def observe(self, path: PurePath) -> FileState | None:
        """Return what stands at `path`, following a symlink that the user owns; None if nothing.

        Raises:
            TargetError: It cannot be read, is no regular file, or belongs to somebody else.
        """

    def staged(self, writes: Sequence[Write]) -> AbstractContextManager["Switch"]:
        """Write every file beside its place, on disk, for the block; nothing is in force yet.

        Raises:
            TargetError: Something could not be written; everything is as before.
        """

    def replace_all(self, writes: Sequence[Write]) -> None:
        """Put every write in force as one unit; a failure in the middle puts every file back.

        Raises:
            ConflictError: A file no longer is what `Write.expected` says; nothing was changed.
            TargetError: Something could not be written; everything is as before.
        """

    def sweep(self, paths: Sequence[PurePath]) -> None:
        """Remove the temporary files that a killed run left beside `paths`."""

    def back_up(self, path: PurePath) -> PurePath:
        """Copy the file to a 0600 sibling that nothing reads, and return its path."""


class Switch(Protocol):
    """Files that are staged."""

    def switch(self) -> None:
        """Put them in force as one unit; see `Files.replace_all` for what it raises."""


@dataclass(frozen=True)
class ServiceStatus:
    """What the service manager says.

    Attributes:
        running: Whether the gateway's process is there (it may not answer yet).
        pid: Its process id, or None.
        detail: One clause for people, for example `failed: start-limit-hit`.
        installed: Whether the manager knows the service.
    """

    running: bool
    pid: int | None
    detail: str
    installed: bool = True


class Service(Protocol):
    """The gateway's process, kept alive by systemd --user or by our own supervisor."""

    kind: str
    name: str

    def status(self) -> ServiceStatus:
        """Return what the manager says now.

        Raises:
            ServiceError: The manager cannot be asked.
        """

    def start(self) -> None:
        """Start it, and have it started again after a reboot where the manager can do that.

        Raises:
            ServiceError: It does not start; says why and shows where the log is.
        """

    def restart(self) -> None:
        """Stop it and start it, with the files as they are now. As often as wanted.

        Where the manager holds the port open, new requests wait meanwhile; where not, they are
        refused.
        """

    def listening(self) -> str | None:
        """Return the address that the manager itself holds open, such as `127.0.0.1:4000`."""

    def swap_hindrance(self) -> str | None:
        """Return why `swap` cannot be used now (one clause), or None where it can."""

    def swap(self, taken_over: Callable[[], None] = lambda: None) -> None:
        """Put a fresh process in place of the running one, with the files as they are now.

        The old one stops accepting only when the new one answers, and finishes its answers: no
        request is refused, none waits, no stream breaks. Needs an address that the manager holds
        open, and memory for two.

        Args:
            taken_over: Called once, when the fresh one answers and the old one may still finish
                its own. What it raises comes out of here, and then either may go on serving.

        Raises:
            KeptError: The fresh one does not come up; the old one goes on serving.
            ServiceError: As `start`; says what serves now.
        """

    def stop(self) -> None:
        """Stop it, and close its port; no effect where it does not run."""

    def log_lines(self, most: int, *, fresh: bool = False) -> list[str]:
        """Return its last lines, unredacted: the caller must redact before showing.

        Args:
            most: How many.
            fresh: Those of the process that `swap` started beside it.
        """

    def reset(self) -> None:
        """Forget past failures, and take notice of changed unit files."""


class Gateway(Protocol):
    """The gateway over HTTP."""

    url: str

    def alive(self) -> Answer:
        """Return the answer of GET /health/liveliness, which needs no key."""

    def models(self, key: Secret | None) -> Answer:
        """Return the answer of GET /v1/models asked with `key`, or without one."""

    def complete(self, key: Secret, model: str) -> Answer:
        """Return the answer to one short chat completion."""

    def try_model(self, key: Secret, model: str, *, stream: bool = False) -> Answer:
        """Return the answer of the model's own backend: no fallback's, and none from a cache."""

    def cache_ping(self, key: Secret) -> Answer:
        """Return the answer of GET /cache/ping."""

    def reachable(self, url: str) -> bool:
        """Tell whether anything answers HTTP at `url`, asked without any key."""


@dataclass(frozen=True)
class Listener:
    """Who listens on a TCP port of this machine.

    Attributes:
        pid: The process, or None if it belongs to another user.
        command: Its program name, or empty.
        supervisor: The process of keyturn's supervisor that has started it, or None.
        lab: The folder of the lab whose supervisor that is, or empty.
    """

    pid: int | None
    command: str
    supervisor: int | None = None
    lab: str = ""


class Ports(Protocol):
    """The machine's listening sockets."""

    def listener(self, port: int) -> Listener | None:
        """Return who listens on `port` on a loopback or wildcard address, or None."""

    def serves(self, pid: int, port: int) -> bool:
        """Tell whether every socket that listens on `port` is held by `pid` or a child of its.

        Others may hold it as well: a service manager that opened it, a second instance.
        """


class Progress(Protocol):
    """How a long command says what it is doing."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """Show `text` while the block runs."""

    def note(self, text: str) -> None:
        """Say something that stays."""


class Clock(Protocol):
    """Time, as tests want to hold it."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""

    def now(self) -> float:
        """Return epoch seconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Installer(Protocol):
    """Puts the gateway's program on this machine."""

    def installed(self) -> PurePath | None:
        """Return the path of a complete, right `litellm` program, or None."""

    def interpreter(self) -> PurePath | None:
        """Return LiteLLM's own Python, installed or still to be.

        None where the lab names a command that has none beside it.
        """

    def can_reencrypt(self) -> bool:
        """Tell whether the installed program can encrypt its database with another key."""

    def install(self, progress: Progress) -> PurePath:
        """Install it, going on where a broken download stopped, and return its path.

        Raises:
            ServiceError: It cannot be installed; says what to try.
        """


class State(Protocol):
    """What keyturn last did to this lab: digests and fingerprints, never a value."""

    def load(self) -> Mapping[str, Any]:
        """Return what was saved; empty where there is nothing or it does not parse."""

    def save(self, values: Mapping[str, Any]) -> None:
        """Replace what was saved, all or nothing."""


class Redactor(Protocol):
    """Takes secrets out of text that foreign programs wrote."""

    def redact(self, lines: Iterable[str]) -> list[str]:
        """Return the lines with every known secret, and its encoded forms, masked."""
