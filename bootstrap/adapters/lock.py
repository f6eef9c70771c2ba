"""One keyturn at a time per lab (flock)."""

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from bootstrap.adapters.paths import without_waiting, words
from bootstrap.domain.errors import LockedError, TargetError

LOCK_FILE = "lock"
_PAUSE_S = 0.05


@contextmanager
def lab_lock(state_dir: PurePath, wait_s: float = 0) -> Iterator[None]:
    """Hold the lab's lock for the block.

    The kernel releases it however the process ends. Programs that are started meanwhile do not
    inherit it.

    Args:
        state_dir: The lab's state folder; made, 0700, where it is missing.
        wait_s: How long to wait for another holder, in seconds.

    Raises:
        LockedError: Another keyturn holds it; names its process and command.
        TargetError: The lock file cannot be made.
    """
    path = Path(state_dir) / LOCK_FILE
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise TargetError(
            f"cannot lock the lab with {path}",
            why=words(error),
            fix=f"make {path.parent} a folder that you may write to",
        ) from None
    try:
        _acquire(descriptor, wait_s)
        with suppress(OSError):  # on a full disk the lock has nobody's name, and holds
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()} {_command()}".encode(), 0)
        yield
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_held(state_dir: PurePath) -> bool:
    """Tell whether a keyturn that is alive says that it holds the lock; takes it from nobody."""
    try:
        with open(Path(state_dir) / LOCK_FILE, "rb", opener=without_waiting) as file:
            pid = file.read(20).split(b" ")[0]
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _acquire(descriptor: int, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _locked(os.pread(descriptor, 200, 0).decode(errors="replace")) from None
            time.sleep(_PAUSE_S)
        else:
            return


def _locked(holder: str) -> LockedError:
    pid, _, command = holder.partition(" ")
    who = f"{command} (process {pid})" if pid.isdigit() else "a process that gave no name"
    return LockedError(
        "another keyturn works on this lab",
        why=f"{who} holds its lock",
        fix="wait until it is done"
        + (f", or end it: kill {pid}" if pid.isdigit() else "")
        + "; then run this again",
    )


def _command() -> str:
    """Return the program and its subcommand; never more, since arguments can be secrets."""
    words = [word for word in sys.argv[1:2] if word.replace("-", "").isalpha() and word[0] != "-"]
    return " ".join(["keyturn", *words])
