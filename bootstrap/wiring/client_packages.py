"""Clients that installed packages bring: the entry points of the group `keyturn.clients`.

Reading the metadata of everything installed takes 40 ms and more, so it is done when a name is
asked for that keyturn does not know by itself, and no package is imported but the one that brings
that name.
"""

import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.domain.client import GROUP, Preset
from bootstrap.domain.client_check import problem_of
from bootstrap.domain.clients import PRESETS
from bootstrap.domain.errors import ConfigError, Interrupted
from bootstrap.wiring.providers import complete_import_path

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class BrokenPackageError(ConfigError):
    """A package brings a client that cannot be used."""


class ClientPackages:
    """Loads each client once per command; call it with a name.

    Attributes:
        folders: The `templates` folders of the packages whose clients were loaded.
    """

    def __init__(self) -> None:
        self.folders: list[Path] = []
        self._loaded: dict[str, Preset | None] = {}
        self._found: tuple[EntryPoint, ...] | None = None

    def __call__(self, name: str) -> Preset | None:
        """Return the client called `name`, or None where no package brings it.

        Raises:
            BrokenPackageError: More than one package brings it, or the one that does is broken.
                Names the package, and quotes nothing that it said.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def names(self) -> tuple[str, ...]:
        """Return the names of all clients that packages bring, those that do not load, too."""
        found = (entry.name for entry in self._entries() if entry.name not in PRESETS)
        return tuple(sorted(set(found)))

    def problems(self, names: Iterable[str]) -> list[BrokenPackageError]:
        """Return why each of the clients that cannot be used cannot; none that can be."""
        found = []
        for name in names:
            try:
                self(name)
            except BrokenPackageError as error:
                found.append(error)
        return found

    def loaded(self, name: str) -> Preset | None:
        """Return a client that was loaded before; None for any other."""
        return self._loaded.get(name)

    def _entries(self) -> "tuple[EntryPoint, ...]":
        if self._found is None:
            complete_import_path()
            from importlib.metadata import entry_points

            self._found = tuple(entry_points(group=GROUP))
        return self._found

    def _load(self, name: str) -> Preset | None:
        entries = [entry for entry in self._entries() if entry.name == name]
        if not entries:
            return None
        who = _packages(entries)
        if len({entry.value for entry in entries}) > 1:
            raise BrokenPackageError(
                f"more than one package brings the client {name}",
                why=f"{who} do, and the winner would be given a key",
                fix="uninstall all but one",
            )
        entry = entries[0]
        try:
            # What a package prints as it loads must not get into a document or a pipe.
            with redirect_stdout(sys.stderr):
                brought = entry.load()
        except (KeyboardInterrupt, Interrupted):
            raise
        except BaseException as error:  # noqa: BLE001 - a package may raise anything
            raise _broken(name, who, f"it does not load ({type(error).__name__})") from None
        problem = problem_of(name, brought)
        if problem or not isinstance(brought, Preset):
            raise _broken(name, who, problem)
        self.folders.append(_templates_beside(entry.module))
        return brought


def _broken(name: str, who: str, why: str) -> BrokenPackageError:
    return BrokenPackageError(
        f"the client {name} of the package {who} cannot be used",
        why=why,
        fix=f"install a version of it that fits this keyturn, or uninstall it and take "
        f"[clients.{name}] out of lab.toml",
    )


def _packages(entries: "Sequence[EntryPoint]") -> str:
    """Return the packages that entry points belong to, with their versions."""
    found = (entry.dist for entry in entries)
    return ", ".join(sorted({f"{dist.name} {dist.version}" for dist in found if dist}))


def _templates_beside(module: str) -> Path:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file or "/nonexistent").parent / "templates"
