"""What was seen of the gateway: its files, its service, its process, its answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class GatewayProcess:
    """The process that the service manager runs.

    Attributes:
        pid: Its number.
        started: When it started, epoch seconds; exact to a second or two.
        names: The variables that it was started with and that are not empty; None where they
            cannot be read.
        keys: The secrets of the lab among their values, by variable.
    """

    pid: int
    started: float
    names: frozenset[str] | None = None
    keys: Mapping[str, Secret] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class UnitFacts:
    """What systemd says about the gateway's unit.

    Attributes:
        load: Its LoadState, for example `masked`.
        active: Its ActiveState, for example `failed`.
        result: Its Result, for example `start-limit-hit`.
        drop_ins: Files that change it.
        stale: Whether its file changed since systemd read it.
        lingering: Whether it runs without a login; None where nobody knows.
        user: Whose it is, by name.
    """

    load: str = "loaded"
    active: str = "active"
    result: str = "success"
    drop_ins: tuple[str, ...] = ()
    stale: bool = False
    lingering: bool | None = None
    user: str = ""


@dataclass(frozen=True)
class LitellmFacts:
    """What was seen of LiteLLM on this machine.

    Attributes:
        service: The name of the service.
        running: Whether its process is there.
        installed: Whether the service manager knows it.
        detail: What the manager says, one clause.
        config: LiteLLM's config.yaml.
        env_file: What the service reads its variables from.
        env: The variables in there that are not empty.
        written: When each file that is read at the start was written, epoch seconds.
        edited: Files of the service that are not as keyturn wrote them.
        process: Its process, or None.
        unit: Where systemd runs it.
        listener: (program, pid) that has the gateway's port; the pid is None for another user's.
        stranger: Whether what has the port is not the service.
        providers: The provider prefixes that the installed LiteLLM knows; empty where none is.
        version: Of the installed LiteLLM; empty where none is.
        weakness: Why the master key is not good enough, one clause; empty where it is.
        leaked: The secrets that stand in the service's log.
        salt: The fingerprint of the salt key that the database was last seen with; empty where
            there was none.
        strays: The names of the variables of a gateway that keyturn does not run and that has the
            port, where it is ours; None where nobody knows.
    """

    service: str
    config: FoundFile
    env_file: FoundFile
    running: bool = False
    installed: bool = True
    detail: str = ""
    env: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    written: Mapping[PurePath, float] = field(default_factory=dict)
    edited: tuple[PurePath, ...] = ()
    process: GatewayProcess | None = None
    unit: UnitFacts | None = None
    listener: tuple[str, int | None] | None = None
    stranger: bool = False
    providers: frozenset[str] = frozenset()
    version: str = ""
    weakness: str = ""
    leaked: tuple[str, ...] = ()
    salt: str = ""
    strays: frozenset[str] | None = None

    @property
    def names(self) -> frozenset[str] | None:
        """The variables that the gateway has, or would have; None where nobody knows."""
        if self.process is not None and self.process.names is not None:
            return self.process.names
        return frozenset(self.env) or None

    def secret_texts(self) -> Iterator[tuple[str, Secret]]:
        """Yield (name, value) of the keys in the env file and in the process."""
        yield from self.env.items()
        if self.process is not None:
            yield from self.process.keys.items()


@dataclass(frozen=True)
class Answers:
    """What the gateway's GET /v1/models gives.

    Attributes:
        without: Asked without a key.
        made_up: Asked with a key that nobody has.
        right: Asked with the key of the lab; None where that cannot be read.
    """

    without: Answer
    made_up: Answer
    right: Answer | None = None
