"""This machine: homes, clock, the state file and the templates."""

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.disk import read, resolved
from bootstrap.adapters.find_lab import FILE
from bootstrap.adapters.json_file import JsonFile
from bootstrap.adapters.paths import is_file, words, xdg_folder
from bootstrap.domain.errors import ConfigError, TargetError
from bootstrap.domain.places import Places


def places(environ: Mapping[str, str] = os.environ) -> Places:
    """Return the homes of the user, as the environment and XDG say.

    Raises:
        ConfigError: HOME is not set to an absolute path.
    """
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        raise ConfigError("there is no home", why="HOME is not an absolute path", fix="export HOME")

    def folder(name: str, default: str) -> PurePath:
        return PurePath(xdg_folder(environ, name) or f"{home}/{default}")

    factory = environ.get("FACTORY_HOME_OVERRIDE", "")
    claude = environ.get("CLAUDE_CONFIG_DIR", "")
    return Places(
        home=PurePath(home),
        config=folder("XDG_CONFIG_HOME", ".config"),
        state=folder("XDG_STATE_HOME", ".local/state"),
        cache=folder("XDG_CACHE_HOME", ".cache"),
        factory=PurePath(factory if factory.startswith("/") else home) / ".factory",
        claude_config=PurePath(claude) if claude.startswith("/") else None,
    )


class SystemClock:
    """The real clock."""

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""
        return time.monotonic()

    def now(self) -> float:
        """Return epoch seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


class JsonState:
    """What keyturn last did to a lab, in `state.json` of its state folder.

    Args:
        folder: The lab's state folder.
    """

    def __init__(self, folder: PurePath) -> None:
        self._file = JsonFile(folder / "state.json")

    def load(self) -> Mapping[str, Any]:
        """Return what was saved; empty where there is nothing or it does not parse.

        A state that is lost costs a question about files "not written by keyturn", nothing else.
        """
        values = self._file.load()
        if isinstance(values, dict) and values.get("version") == 1 and _is_sound(values):
            return values
        return {}

    def save(self, values: Mapping[str, Any]) -> None:
        """Replace what was saved, all or nothing; no write where nothing changed."""
        self._file.save({"version": 1, **values})


def other_labs(states: PurePath, root: PurePath) -> dict[str, Mapping[str, Any]]:
    """Return what the labs but that at `root` remember, by folder; of those that are still there.

    Args:
        states: The folder of all labs' state folders.
        root: The lab's own folder.
    """
    found = {}
    with contextlib.suppress(OSError):
        for folder in sorted(Path(states).iterdir()):
            state = JsonState(folder).load()
            lab = state.get("lab")
            if isinstance(lab, str) and lab != str(root) and is_file(f"{lab}/{FILE}"):
                found[lab] = state
    return found


def _is_sound(values: Mapping[str, Any]) -> bool:
    """Tell whether the rows by target are rows."""
    rows = values.get("targets", {})
    return isinstance(rows, dict) and all(isinstance(row, dict) for row in rows.values())


class TemplateFolder:
    """Templates: the lab's own `templates/` first, then keyturn's, then those of packages.

    Each is read once, so that one command works with one text of it.

    Args:
        root: The lab's folder.
        more: The `templates` folders of packages that bring clients.
    """

    def __init__(self, root: PurePath, more: Sequence[Path] = ()) -> None:
        package = Path(__file__).resolve().parent.parent
        # In a wheel the templates are inside the package, in a checkout beside it.
        inside = package / "_templates"
        shipped = inside if inside.is_dir() else package.parent / "templates"
        self._own = Path(root) / "templates"
        self._shipped = shipped
        self._code = package / "gateway"
        self._more = more
        self._texts: dict[str, str] = {}

    def text(self, name: str) -> str:
        """Return the template called `name`, for example `litellm/config.yaml.j2`.

        Raises:
            ConfigError: There is none, or it cannot be read.
        """
        if name not in self._texts:
            self._texts[name] = self._read(name)
        return self._texts[name]

    def _read(self, name: str) -> str:
        paths = [folder / name for folder in (self._own, self._shipped, *self._more)]
        if name.endswith(".py"):
            paths.append(self._code / PurePath(name).name)
        for path in paths:
            try:
                found = read(path, resolved(path))
                if found is not None:
                    return found[0].decode()
            except TargetError as error:
                raise _unreadable(path, error.why) from None
            except OSError as error:
                raise _unreadable(path, words(error)) from None
            except UnicodeDecodeError:
                raise _unreadable(path, "it is not readable text") from None
        raise ConfigError(
            f"template {name} is missing",
            why=f"neither {self._own} nor keyturn has it",
            fix=f"write {self._own / name}; if it is one of keyturn's, install keyturn again",
        )


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(f"template {path} cannot be read", why=why, fix=f"ls -ld {path}; edit it")
