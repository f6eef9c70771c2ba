"""A private file for one run of one program: 0600, in the user's runtime folder, gone afterwards.

Each file is locked (flock) for as long as its run lasts. What is not locked is left over from a
run that was killed together with whatever should have tidied up, and the next run removes it.
"""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePath

from bootstrap.adapters.paths import words
from bootstrap.domain.content import Content
from bootstrap.domain.errors import TargetError

_TRIES = 10


class RuntimeFile:
    """One such file; `remove` it, or leave that to the next run.

    Args:
        folder: From `runtime_folder`.
        stem: How its name begins.
        content: What it holds.

    Raises:
        TargetError: It cannot be written.
    """

    def __init__(self, folder: Path, stem: str, content: Content) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _sweep(folder)
            self.path, self._handle = _locked(folder, stem)
            left = memoryview(content.data)
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError as error:
            raise TargetError(
                f"{folder} cannot hold a file for this run",
                why=words(error),
                fix=f"ls -ld {folder}; df -h {folder}",
            ) from None

    def remove(self) -> None:
        """Remove the file; no effect where it is gone."""
        with suppress(OSError):
            self.path.unlink()


def runtime_folder(environ: Mapping[str, str], state: PurePath) -> Path:
    """Return the folder for such files.

    Args:
        environ: This process's variables; `$XDG_RUNTIME_DIR` counts where it is the user's own
            and closed to others, since it is in memory and gone after a logout.
        state: `$XDG_STATE_HOME`, for machines without, such as CI jobs.
    """
    given = Path(environ.get("XDG_RUNTIME_DIR", ""))
    base = given if _is_private(given) else Path(state)
    return base / "keyturn" / "run"


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    closed = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
    return folder.is_absolute() and closed and found.st_uid == os.geteuid()


def _locked(folder: Path, stem: str) -> tuple[Path, int]:
    """Return a new file and a handle that locks it and that no program inherits."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    for _ in range(_TRIES):
        path = folder / f"{stem}-{secrets.token_hex(6)}.json"
        handle = os.open(path, flags, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # another run swept it before it was locked
    raise OSError(errno.EAGAIN, "swept again and again")


def _sweep(folder: Path) -> None:
    for path in folder.glob("*.json"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)
