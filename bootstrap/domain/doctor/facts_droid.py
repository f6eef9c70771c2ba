"""What was seen of droid."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from bootstrap.domain.doctor.facts import FoundFile, Installation, RunningProgram
from bootstrap.domain.secret import Secret


class Level(Enum):
    """Where a settings file of droid's stands, in words for people; highest precedence first."""

    MANAGED = "org-managed"
    RUNTIME = "runtime (FACTORY_RUNTIME_SETTINGS_PATH)"
    PROJECT = "project"
    LOCAL = "user, settings.local.json"
    USER = "user"
    LEGACY = "user, config.json"
    UNREAD = "not read by droid"


@dataclass(frozen=True)
class DroidFile:
    """A file that droid reads models from, or that people believe it does.

    Attributes:
        level: Its level. A project's `config.json` has the level PROJECT.
        file: The file; a place where none stands is listed only where something names it.
    """

    level: Level
    file: FoundFile

    @property
    def legacy(self) -> bool:
        """Whether it is in the old format, with `custom_models`."""
        return self.file.path.name == "config.json"


@dataclass(frozen=True)
class SessionFile:
    """The settings of a droid session that could stand in the way of resuming it."""

    file: FoundFile


@dataclass(frozen=True)
class DroidFacts:
    """What was seen of droid.

    Attributes:
        files: By precedence, highest first.
        sessions: Settings of sessions.
        installations: What PATH leads to, in its order.
        running: Processes of droid that belong to this user.
        desktop: The desktop app's launcher files.
        doctor: What `droid doctor --config --json` flags, as (id, status); None if not asked.
    """

    files: tuple[DroidFile, ...] = ()
    sessions: tuple[SessionFile, ...] = ()
    installations: tuple[Installation, ...] = ()
    running: tuple[RunningProgram, ...] = ()
    desktop: tuple[str, ...] = ()
    doctor: tuple[tuple[str, str], ...] | None = None

    def secret_texts(self) -> Iterator[tuple[str, Secret]]:
        """Yield (name, value) of the keys in the files and in the environment of processes."""
        from bootstrap.domain.doctor.droid_models import keys_in

        for found in self.files:
            for key in keys_in(found):
                yield "apiKey", key
        for program in self.running:
            yield from program.keys.items()
