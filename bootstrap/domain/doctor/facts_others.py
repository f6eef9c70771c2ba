"""What was seen of clients other than droid and Claude Code."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.doctor.facts import Problem
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class Connection:
    """An address that a client sends requests to, and the key that it sends there.

    Attributes:
        url: As it stands there; may carry a login.
        key: None where there is none.
        enabled: Whether this one is turned on.
    """

    url: str
    key: Secret | None = None
    enabled: bool = True


@dataclass(frozen=True)
class StoredConnections:
    """What a client keeps by itself, in the file that the lab names.

    Attributes:
        client: Its name.
        path: The file; absolute.
        connections: Those to OpenAI-compatible servers. Empty where it keeps none yet.
        enabled: Whether they are turned on.
        problem: Why the file tells nothing, or empty.
        mode: The file's permission bits.
        folders: Those of the folders above it.
    """

    client: str
    path: PurePath
    connections: tuple[Connection, ...] = ()
    enabled: bool = True
    problem: str = ""
    mode: int = 0o600
    folders: tuple[int, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether other users can get at the file, through every folder above it."""
        return bool(self.mode & 0o077) and all(mode & 0o011 for mode in self.folders)


@dataclass(frozen=True)
class PackageClient:
    """A client that a package brings and the lab has set up.

    Attributes:
        name: Its name.
        title: What people call it.
        path: The file that keyturn writes for it; None where its way has none.
        written: Whether that is there.
        keys: The literal keys in it.
        version: The version that is installed; empty where that is not known.
        tested: The versions that were run.
    """

    name: str
    title: str
    path: PurePath | None
    written: bool
    keys: tuple[Secret, ...]
    version: str
    tested: tuple[str, ...]


@dataclass(frozen=True)
class OthersFacts:
    """All of them.

    Attributes:
        stored: Clients that keep their connection by themselves.
        packages: Clients that packages bring.
        broken: Packages whose client cannot be used.
    """

    stored: tuple[StoredConnections, ...] = ()
    packages: tuple[PackageClient, ...] = ()
    broken: tuple[Problem, ...] = ()

    def secret_texts(self) -> Iterator[tuple[str, Secret]]:
        """Yield (name, value) of each key that stands in a file."""
        for stored in self.stored:
            for connection in stored.connections:
                if connection.key is not None:
                    yield f"{stored.client} key", connection.key
        for client in self.packages:
            for key in client.keys:
                yield f"{client.name} key", key
