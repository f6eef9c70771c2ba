"""The settings files that a client would read because of where it is started."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from bootstrap.adapters.paths import words
from bootstrap.domain.errors import ConfigError

_MOST_BYTES = 4 * 1024 * 1024


def project_settings(
    folder: Path, home: Path, names: Sequence[str]
) -> Iterator[tuple[Path, bytes]]:
    """Yield (path, content) for each settings file of the project around `folder`.

    droid looks no further than `project_folders` says (seen with 0.215.0).

    Args:
        folder: Where the client is started; absolute.
        home: The user's home.
        names: The files, relative to each of these folders.

    Raises:
        ConfigError: One cannot be read, so nobody can say where it leads.
    """
    for place in project_folders(folder, home):
        for name in names:
            yield from settings_file(Path(place, name))


def project_folders(folder: PurePath, home: PurePath) -> list[PurePath]:
    """Return the folders whose settings a client reads because it is started in `folder`.

    That is the folder and, inside a git work tree, those above it up to its root, nearest first.
    The home is no project.
    """
    chain = [folder, *folder.parents]
    for depth, place in enumerate(chain, 1):
        with suppress(OSError):  # a folder above that we may not look into
            if Path(place, ".git").exists():
                return [each for each in chain[:depth] if each != home]
    return [folder] if folder != home else []


def settings_file(path: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield (path, content) where there is such a file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        # Never waits for a pipe that somebody put there.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _unreadable(path, words(error)) from None
    if len(data) > _MOST_BYTES:
        raise _unreadable(path, "it is bigger than 4 MiB")
    yield path, data


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{path} cannot be read",
        why=f"{why}; it may send the key to another host",
        fix="look at it, then: keyturn exec --trust-project …",
    )
