"""Which lab a command is about. Imports little: `keyturn exec` waits for it.

Order: `--lab`, `KEYTURN_LAB`, `lab.toml` in the working directory or a folder above it, the default
lab that `keyturn bootstrap` registered.
"""

import posix

from bootstrap.adapters.paths import is_file, is_regular, without_waiting, words, xdg_folder
from bootstrap.adapters.variables import variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from bootstrap.domain.base_errors import ConfigError

FILE = "lab.toml"
_MOST_BYTES = 1 << 24  # a hundred thousand models


def find_lab(given: str | None, default_file: str) -> str | None:
    """Return the absolute folder of the lab, or None where there is none to be found.

    Args:
        given: `--lab`: a folder, or a lab.toml.
        default_file: The file that names the default lab.

    Raises:
        ConfigError: `--lab` or KEYTURN_LAB name something that is no lab, or the lab found belongs
            to another user, who could have put it there to catch keys.
    """
    for option, path in (("--lab", given), ("KEYTURN_LAB", variables().get("KEYTURN_LAB"))):
        if path:
            return _named(option, path)
    return _upwards() or registered(default_file)


def registry(environ: "Mapping[str, str]") -> str:
    """Return the file that names the default lab."""
    config = xdg_folder(environ, "XDG_CONFIG_HOME") or f"{environ.get('HOME', '')}/.config"
    return f"{config}/keyturn/default-lab"


def read_lab(root: str) -> str:
    """Return the text of the lab file in `root`; see `open_lab`."""
    return open_lab(root)[0]


def stat_lab(root: str) -> posix.stat_result:
    """Return the state of the lab file in `root`.

    Raises:
        ConfigError: As `open_lab`.
    """
    path = f"{root}/{FILE}"
    try:
        found = posix.stat(path)
    except OSError:
        return open_lab(root)[1]  # it explains what is wrong
    _check_owner(path, found.st_uid)
    return found


def open_lab(root: str) -> tuple[str, posix.stat_result]:
    """Return the text of the lab file in `root`, and its state.

    Raises:
        ConfigError: It is missing, no file, unreadable, not UTF-8, too big, or another user's.
    """
    path = f"{root}/{FILE}"
    try:
        # pathlib costs 10 ms
        with open(path, encoding="utf-8", opener=without_waiting) as file:
            found = posix.fstat(file.fileno())
            _check_owner(path, found.st_uid)
            _check_kind(path, found)
            return file.read(), found
    except FileNotFoundError:
        raise _error(f"there is no {path}", why="the lab has gone", fix="keyturn init") from None
    except UnicodeDecodeError:
        raise _error(f"{path} is not text", why="it is not UTF-8", fix=f"edit {path}") from None
    except OSError as error:
        why = words(error)
        raise _error(f"{path} cannot be read", why=why, fix=f"ls -l {path}") from None


def _named(option: str, path: str) -> str:
    import os

    try:
        folder = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - pathlib: 10 ms
    except FileNotFoundError:
        raise _error(
            f"{option} names no lab",
            why="it is a relative path, and this folder is gone",
            fix="cd somewhere else, or give an absolute path",
        ) from None
    if os.path.basename(folder) == FILE:  # noqa: PTH119
        folder = os.path.dirname(folder)  # noqa: PTH120
    if not is_file(f"{folder}/{FILE}"):
        if not os.access(folder, os.X_OK) and os.path.isdir(folder):  # noqa: PTH112
            raise _error(
                f"{option} names no lab",
                why=f"you may not look into {folder}",
                fix=f"ls -ld {folder}",
            )
        raise _error(
            f"{option} names no lab",
            why=f"there is no {FILE} in {folder}",
            fix=f"keyturn init {folder}",
        )
    return folder


def _upwards() -> str | None:
    try:
        folder = posix.getcwd()
    except FileNotFoundError:
        return None
    while True:
        try:
            found = posix.lstat(f"{folder}/{FILE}")
        except OSError:
            if folder in ("", "/"):
                return None
            folder = folder.rpartition("/")[0]
            continue
        _check_owner(f"{folder}/{FILE}", found.st_uid)
        return folder or "/"


def registered(default_file: str) -> str | None:
    """Return the folder of the default lab, or None where there is none, or no lab in it any more.

    Raises:
        ConfigError: What names it is no file.
    """
    folder = _folder_in(default_file)
    return folder if folder and is_file(f"{folder}/{FILE}") else None


def no_lab(default_file: str) -> "ConfigError":
    """Return the complaint that no lab is to be found; says so where the default one is gone."""
    folder = _folder_in(default_file)
    gone = f"the registered one, {folder}, is gone" if folder else "none registered"
    moved = "if it was moved: keyturn --lab DIR bootstrap; else " if folder else ""
    return _error(
        "there is no lab here",
        why=f"no lab.toml in this folder or above it, and {gone}",
        fix=f"{moved}make one: keyturn bootstrap, or name one: --lab DIR",
    )


def _folder_in(default_file: str) -> str:
    """Return the folder that the file names; empty for none."""
    try:
        with open(default_file, encoding="utf-8", opener=without_waiting) as file:
            _check_kind(default_file, posix.fstat(file.fileno()))
            folder = file.read().strip()
    except IsADirectoryError:
        raise _no_file(default_file, "a folder") from None
    except (OSError, UnicodeDecodeError):
        return ""
    return folder if folder.startswith("/") else ""


def _check_kind(path: str, found: posix.stat_result) -> None:
    if not is_regular(found):
        raise _no_file(path, "a device or a pipe")
    if found.st_size > _MOST_BYTES:
        why, fix = "more than 16 MiB stand in it", f"look what is in it: head -c 1000 {path}"
        raise _error(f"{path} is too big", why=why, fix=fix)


def _no_file(path: str, why: str) -> "ConfigError":
    return _error(f"{path} is not a file", why=why, fix=f"ls -ld {path}; move it away")


def _error(what: str, *, why: str, fix: str) -> "ConfigError":
    from bootstrap.domain.base_errors import ConfigError  # not loaded where there is no error

    return ConfigError(what, why=why, fix=fix)


def _check_owner(path: str, owner: int) -> None:
    if owner not in (0, posix.geteuid()):
        raise _error(
            f"{path} belongs to another user",
            why=f"uid {owner} could have planted it",
            fix="name your own lab: --lab DIR",
        )
