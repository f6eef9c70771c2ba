"""Everything from outside that the workflows use, in one value made by `bootstrap.wiring`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

from bootstrap.domain.audit import Entry
from bootstrap.domain.claims import States
from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.rotation import Record
from bootstrap.domain.secret import Secret
from bootstrap.ports import (
    Clock,
    Files,
    Gateway,
    Installer,
    Ports,
    Progress,
    Provider,
    Redactor,
    Service,
    State,
)
from bootstrap.workflows.rendered import Rendered
from bootstrap.workflows.resolve import Resolver


class Templates(Protocol):
    """Template texts by name."""

    def text(self, name: str) -> str:
        """Return the template called `name`; ConfigError if there is none."""


class KnownMask(Redactor, Protocol):
    """A redactor that can also mask inside one line."""

    def mask(self, text: str) -> str:
        """Return `text` with every known secret masked."""


@dataclass(frozen=True)
class Tools:
    """What a workflow works with.

    Attributes:
        lab: The lab.
        places: This machine's homes.
        keyturn: The absolute path of the keyturn program.
        resolver: Name -> secret.
        provider: Scheme -> provider, the same instances as the resolver's.
        new_key: Makes a fresh random key.
        known: Makes a mask for some secrets.
        ping_redis: (host, port, password) -> None if well, else what is wrong.
        deployed_key: Returns the key that the env file for shells holds, or None.
        rendered: What was rendered before.
        other_labs: Returns what the other labs in this home remember.
    """

    lab: Lab
    places: Places
    keyturn: str
    files: Files
    templates: Templates
    resolver: Resolver
    provider: Callable[[str], Provider]
    service: Service
    gateway: Gateway
    ports: Ports
    installer: Installer
    state: State
    clock: Clock
    progress: Progress
    new_key: Callable[[], Secret]
    known: Callable[[Mapping[str, Secret]], KnownMask]
    ping_redis: Callable[[str, int, Secret | None], str | None]
    deployed_key: Callable[[], Secret | None] = lambda: None
    rendered: Rendered = field(default_factory=Rendered)
    other_labs: Callable[[], States] = dict

    @property
    def program(self) -> PurePath:
        """The gateway's program, installed or still to be."""
        python = self.installer.interpreter()
        usual = self.places.venv / "bin" / "litellm"
        return self.installer.installed() or (python.with_name("litellm") if python else usual)


class Journal(Protocol):
    """The write-ahead note of a rotation; each line is on disk before the call returns."""

    def records(self) -> list[Record]:
        """Return the lines of the last rotation; RecoveryNeededError if it is damaged."""

    def begin(self, record: Record) -> None:
        """Start a new journal with `record`."""

    def add(self, record: Record) -> None:
        """Add a line."""


class Vault(Protocol):
    """Where the rotated secret lives, with a slot for the other key of a rotation beside it."""

    @property
    def store(self) -> str:
        """The reference of the source that holds the key in force."""

    @property
    def copies(self) -> tuple[str, ...]:
        """References of the further writable sources that hold a copy of it."""

    def pin(self, store: str, copies: Sequence[str]) -> None:
        """Take these places, as an open rotation's journal names them, whatever is found now.

        Else a keyring that is locked today would make a stale copy look like the store.
        """

    def check_writable(self) -> None:
        """Refuse now what could not be written later.

        Raises:
            SecretError: The source in force cannot be written by keyturn.
        """

    def current(self) -> Secret:
        """Return the key in force as the store has it."""

    def other(self) -> Secret | None:
        """Return the other key of an open rotation, or None."""

    def put(self, current: Secret, other: Secret | None) -> None:
        """Store both, all or nothing where the store can do that; None empties the slot.

        Where it cannot, both keys are stored somewhere at every moment in between.
        """

    def spread(self, current: Secret) -> None:
        """Make the copies follow."""


class Audit(Protocol):
    """The record of what rotations came to."""

    def add(self, entry: Entry) -> None:
        """Add a line, unless the last one says the same; TargetError where it cannot be written."""


class NoAudit:
    """Keeps no record."""

    def add(self, entry: Entry) -> None:
        """Let it go."""


class Vaults(Protocol):
    """Where the secrets of a lab live."""

    def of(self, name: str) -> Vault:
        """Return the vault of one secret."""

    def put(self, pairs: "Pairs") -> None:
        """Store the current and the other value of each, as `Vault.put`.

        Those that live in one encrypted file change in one rename.
        """


class RedisDoor(Protocol):
    """The password of the lab's Redis, as it is in force there."""

    def hindrance(self, current: Secret) -> str | None:
        """Return why the password cannot be changed (one clause), or None where it can be tried."""

    def open_both(self, current: Secret, other: Secret) -> None:
        """Make `current` open it, and `other` too where this Redis knows two passwords.

        Gets in with whichever of the two opens it now. Safe to repeat.

        Raises:
            ServiceError: It cannot be reached, or does not do it.
        """

    def close(self, current: Secret, other: Secret | None) -> None:
        """Make `current` open it and `other` no more, and prove both. Safe to repeat.

        Raises:
            ServiceError: It cannot be reached, or does not do it.
        """

    def forgets(self, current: Secret) -> str:
        """Return what to do so that its next start does not bring the old password back."""


@dataclass(frozen=True)
class RotationTools:
    """What a rotation needs beside `Tools`.

    Attributes:
        journal: Its write-ahead note.
        vaults: The secrets and their slots.
        weakness: Why a key that keyturn could have made is not good enough, or None.
        misfit: Why a value that somebody else made cannot be right, or None.
        redis: The lab's Redis where it has a password, or None.
        audit: The record of what rotations came to.
        no_room: Asked for folders that are written into, returns which has no room left, or None.
    """

    journal: Journal
    vaults: Vaults
    weakness: Callable[[Secret], str | None]
    misfit: Callable[[Secret], str | None]
    redis: RedisDoor | None = None
    audit: Audit = field(default_factory=NoAudit)
    no_room: Callable[[Iterable[PurePath]], str | None] = lambda folders: None


NamedSecrets = Mapping[str, Secret]
# Name -> the value that is, or is to be, in force, and the other one of a rotation.
Pairs = Mapping[str, tuple[Secret, Secret | None]]
