"""Replace an encrypted file so that whatever happens, the old or the new one stands there, whole.

Work goes on in a scratch copy beside the file, under a lock on the folder (the file itself is
replaced, so a lock on it would guard nothing, and a lock file would get committed). Tried with
SIGKILL at random, full disks, failing fsync and rename, four writers at once, and readers.
"""

import contextlib
import errno
import os
import secrets
import stat
import time
from pathlib import Path

from bootstrap.adapters.paths import words
from bootstrap.domain.errors import LockedError, SecretError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_TIMEOUT_S = 10.0
_LOCK_POLL_S = 0.02
_SCRATCH_DIGITS = 12


@contextlib.contextmanager
def writing(path: str) -> "Iterator[tuple[Path, int]]":
    """Hold the lock on a file's folder, made 0700 if need be; gives the file and the folder.

    What killed writers of the file left beside it is removed first.

    Args:
        path: The file, symlinks resolved.

    Raises:
        LockedError: Another process writes in the folder.
        SecretError: The folder cannot be made or opened.
    """
    target = Path(path)
    made = [step for step in (target.parent, *target.parent.parents) if not step.exists()]
    try:
        with _explained(f"cannot write in {target.parent}", target.parent):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(target.parent) as folder:
            sweep(target)  # also where nothing is to be written: a killed rotation is undone so
            yield target, folder
    except BaseException:
        with contextlib.suppress(OSError):  # somebody else's file is in it
            for step in made:
                step.rmdir()
        raise


@contextlib.contextmanager
def locked(folder: Path) -> "Iterator[int]":
    """Hold the folder's writer lock inside the block; the value is the folder's descriptor.

    Raises:
        LockedError: Another process held it for LOCK_TIMEOUT_S.
        SecretError: The folder cannot be opened.
    """
    with _explained(f"cannot write in {folder}", folder):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _explained(f"cannot lock {folder}", folder):
            _lock(handle, folder)
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    import fcntl

    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"cannot write in {folder}",
                    why=f"another program has kept it locked for {LOCK_TIMEOUT_S:g} s",
                    fix=f"wait for it, or find it: fuser -v {folder}",
                ) from None
        time.sleep(_LOCK_POLL_S)


def replace(
    target: Path,
    original: bytes,
    start: bytes,
    edit: "Callable[[str], None]",
    verify: "Callable[[bytes], None]",
    folder: int,
) -> bytes:
    """Let `edit` change a scratch file, `verify` it, and put it in force; return its bytes.

    Keeps mode and owner of the file; its inode changes, so hard links part. The caller holds the
    folder's lock.

    Args:
        target: The file itself, symlinks resolved.
        original: What it held when the caller read it.
        start: What the scratch file holds at first: the same, or another version of it.
        edit: Gets the path of the scratch file and may rewrite it.
        verify: Gets the new bytes and raises if they are not what was wanted.
        folder: The descriptor that `locked` gave.

    Raises:
        SecretError: The disk refused, or somebody changed the file meanwhile; it is unchanged.
    """
    what = f"cannot write {target}"
    with _explained(what, target), _scratch(target) as scratch:
        found = target.stat()
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "")
        _fill(scratch, start)
        edit(str(scratch))
        changed = scratch.read_bytes()
        verify(changed)
        _settle(scratch, found)
        if target.read_bytes() != original:
            raise SecretError(
                what,
                why="another program changed it while we worked on it",
                fix="nothing of ours was written; try again",
            )
        scratch.rename(target)
        _flush_folder(folder)
    return changed


def publish(target: Path, data: bytes, folder: int) -> bool:
    """Put a new file in force, 0600 from its first byte, and tell whether it was us.

    An existing file is never replaced: False is returned where one stands there already. The
    caller holds the folder's lock.

    Args:
        target: Where; its folder exists.
        data: All of it.
        folder: The descriptor that `locked` gave.

    Raises:
        SecretError: The disk refused; there is no such file.
    """
    with _explained(f"cannot write {target}", target), _scratch(target) as scratch:
        _fill(scratch, data)
        _settle(scratch, None)
        try:
            target.hardlink_to(scratch)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                raise
            # A file system without hard links: the lock is what keeps other keyturns away.
            if os.path.lexists(target):
                return False
            scratch.rename(target)
        _flush_folder(folder)
    return True


def sweep(target: Path) -> None:
    """Remove the scratch files of writers that were killed; the caller holds the folder's lock."""
    head, tail = f".{target.name}.", ".tmp"
    with contextlib.suppress(OSError):  # a leftover is ciphertext, and harms nothing
        for entry in os.scandir(target.parent):
            middle = entry.name.removeprefix(head).removesuffix(tail)
            if entry.name == f"{head}{middle}{tail}" and _is_scratch(middle):
                Path(entry.path).unlink()


def _is_scratch(middle: str) -> bool:
    return len(middle) == _SCRATCH_DIGITS and set(middle) <= set("0123456789abcdef")


@contextlib.contextmanager
def _scratch(target: Path) -> "Iterator[Path]":
    """Yield a free path beside `target`, and remove what stands there in the end.

    In the same folder, for the same file system and the same `.sops.yaml`.
    """
    token = secrets.token_hex(_SCRATCH_DIGITS // 2)
    path = target.with_name(f".{target.name}.{token}.tmp")
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):  # gone by its rename, or left for the next sweep
            path.unlink()


def _fill(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)


def _settle(path: Path, like: os.stat_result | None) -> None:
    """Give the file the mode and owner of `like`, and flush it to the disk."""
    with path.open("rb") as file:
        if like is not None:
            with contextlib.suppress(PermissionError):  # only root may give files away
                os.fchown(file.fileno(), like.st_uid, like.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode))
        os.fsync(file.fileno())


def _flush_folder(handle: int) -> None:
    # The file is in force already. If the disk forgets the rename, the whole old file is back,
    # which recovery can handle; an error here would say that nothing was written.
    with contextlib.suppress(OSError):
        os.fsync(handle)


@contextlib.contextmanager
def _explained(what: str, path: Path) -> "Iterator[None]":
    try:
        yield
    except OSError as error:
        raise SecretError(
            what,
            why=words(error),
            fix=f"nothing was changed; look at: ls -ld {path} and df {path.parent}",
        ) from None
