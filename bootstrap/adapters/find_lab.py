"""Which lab a command is about. Imports little: `keyturn exec` waits for it.

Order: `--lab`, `KEYTURN_LAB`, `lab.toml` in the working directory or a folder above it, the default
lab that `keyturn bootstrap` registered.
"""

import os

from bootstrap.domain.errors import ConfigError

FILE = "lab.toml"


def find_lab(given: str | None, default_file: str) -> str | None:
    """Return the absolute folder of the lab, or None where there is none to be found.

    Args:
        given: `--lab`: a folder, or a lab.toml.
        default_file: The file that names the default lab.

    Raises:
        ConfigError: `--lab` or KEYTURN_LAB name something that is no lab, or the lab found belongs
            to another user, who could have put it there to catch keys.
    """
    for words, path in (("--lab", given), ("KEYTURN_LAB", os.environ.get("KEYTURN_LAB"))):
        if path:
            return _named(words, path)
    return _upwards() or _registered(default_file)


def read_lab(root: str) -> str:
    """Return the text of the lab file in `root`.

    Raises:
        ConfigError: It is missing, unreadable, not UTF-8, or another user's.
    """
    path = f"{root}/{FILE}"
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs 10 ms
            _check_owner(path, os.fstat(file.fileno()).st_uid)
            return file.read()
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {path}", why="the lab has gone", fix="keyturn init"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            f"{path} is not text", why="it is not UTF-8", fix=f"edit {path}"
        ) from None
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise ConfigError(f"{path} cannot be read", why=why, fix=f"ls -l {path}") from None


def _named(words: str, path: str) -> str:
    try:
        folder = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - pathlib: 10 ms
    except FileNotFoundError:
        raise ConfigError(
            f"{words} names no lab",
            why="it is a relative path, and this folder is gone",
            fix="cd somewhere else, or give an absolute path",
        ) from None
    if os.path.basename(folder) == FILE:  # noqa: PTH119
        folder = os.path.dirname(folder)  # noqa: PTH120
    if not os.path.isfile(f"{folder}/{FILE}"):  # noqa: PTH113
        raise ConfigError(
            f"{words} names no lab",
            why=f"there is no {FILE} in {folder}",
            fix=f"keyturn init {folder}",
        )
    return folder


def _upwards() -> str | None:
    try:
        folder = os.getcwd()  # noqa: PTH109
    except FileNotFoundError:
        return None
    while True:
        try:
            found = os.lstat(f"{folder}/{FILE}")
        except OSError:
            parent = os.path.dirname(folder)  # noqa: PTH120
            if parent == folder:
                return None
            folder = parent
            continue
        _check_owner(f"{folder}/{FILE}", found.st_uid)
        return folder


def _registered(default_file: str) -> str | None:
    try:
        with open(default_file, encoding="utf-8") as file:  # noqa: PTH123
            folder = file.read().strip()
    except (OSError, UnicodeDecodeError):
        return None
    is_lab = folder.startswith("/") and os.path.isfile(f"{folder}/{FILE}")  # noqa: PTH113
    return folder if is_lab else None


def _check_owner(path: str, owner: int) -> None:
    if owner not in (0, os.geteuid()):
        raise ConfigError(
            f"{path} belongs to another user",
            why=f"uid {owner} could have planted it",
            fix="name your own lab: --lab DIR",
        )
