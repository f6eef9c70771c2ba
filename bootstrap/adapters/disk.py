"""Single moves on the disk that `files.py` and others put together: stage, read, sweep, sync.

Nothing here decides what to write.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath

from bootstrap.adapters.paths import words
from bootstrap.domain.errors import LabError, TargetError

_MARK = ".keyturn-"
_MOST_BYTES = 64 * 1024 * 1024
_UNITS = (".service", ".socket")
_CHUNK_BYTES = 1024 * 1024
# Every file of a default lab, twice.
_ROOM_BYTES = 1024 * 1024
_ROOM_FILES = 64


def stage(real: Path, data: bytes, mode: int) -> Path:
    """Write `data` beside `real`, on disk, readable by nobody else at any moment."""
    temporary = beside(real)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        handle = os.open(temporary, flags, 0o600)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
            os.fchmod(handle, mode)
            os.fsync(handle)
        finally:
            os.close(handle)
    except BaseException:
        remove(temporary)
        raise
    return temporary


def no_room(folders: Iterable[PurePath]) -> str | None:
    """Return which file system has no room for what a rotation writes, in words; None: all have."""
    for folder in sorted(set(folders)):
        place = next((p for p in (Path(folder), *Path(folder).parents) if p.is_dir()), Path("/"))
        try:
            found = os.statvfs(place)
        except OSError:  # whoever writes there finds out
            continue
        free = found.f_bavail * found.f_frsize
        if free < _ROOM_BYTES:
            return f"{place} has {free // 1024} KiB left, and {_ROOM_BYTES // 1024} may be needed"
        if found.f_files and found.f_favail < _ROOM_FILES:
            return f"{place} has room for {found.f_favail} more files, not for {_ROOM_FILES}"
    return None


def resolved(path: PurePath) -> Path:
    """Return `path` absolute and without symlinks; what is missing of it counts as fine.

    Path.resolve says nothing of a loop since Python 3.13, and before that raises RuntimeError.

    Raises:
        OSError: Its symlinks form a loop.
    """
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return real


def read(path: PurePath, real: Path) -> tuple[bytes, int] | None:
    """Return the bytes and the permission bits of the file at `real`; None if there is none.

    Never waits for a pipe, and never reads a device.

    Raises:
        TargetError: It is no regular file, or too big; calls it `path`.
        OSError: It cannot be read.
    """
    try:
        handle = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            if str(real) == os.devnull and path.suffix in _UNITS:
                raise _masked(path)
            raise TargetError(
                f"{path} is not a file",
                why="a folder, a pipe or a device stands there",
                fix=f"name another file, or look at it and move it away: ls -ld {path}",
            )
        if found.st_size > _MOST_BYTES:
            raise TargetError(
                f"{path} is too big",
                why=f"it has {found.st_size} bytes, 64 MiB is the limit",
                fix=f"look what is in it: head -c 1000 {path}",
            )
        chunks = iter(lambda: os.read(handle, _CHUNK_BYTES), b"")
        return b"".join(chunks), stat.S_IMODE(found.st_mode)
    finally:
        os.close(handle)


def _masked(path: PurePath) -> TargetError:
    return TargetError(
        f"{path} cannot be used",
        why=f"the unit {path.name} is masked, so systemd would refuse it",
        fix=f"unmask it: systemctl --user unmask {path.name}",
    )


def beside(real: Path) -> Path:
    """Return a new name in the same folder, which `sweep` will know again."""
    return real.with_name(f"{_prefix(real)}{secrets.token_hex(6)}.tmp")


def _prefix(real: Path) -> str:
    return f".{real.name[:200]}{_MARK}"


def sweep(reals: Iterable[Path]) -> None:
    """Remove what a killed run left beside `reals`; the lab's lock keeps the living out."""
    prefixes: dict[Path, set[str]] = {}
    for real in reals:
        prefixes.setdefault(real.parent, set()).add(_prefix(real))
    for folder, ours in prefixes.items():
        with contextlib.suppress(OSError):
            for path in folder.iterdir():
                head, mark, _ = path.name.rpartition(_MARK)
                if head + mark in ours and path.suffix == ".tmp":
                    remove(path)


def make_folders(folder: Path) -> Iterator[Path]:
    """Make what is missing of `folder`, 0700 and on disk; yield each right after it is made."""
    missing = [step for step in (folder, *folder.parents) if not step.exists()]
    for step in reversed(missing):
        with contextlib.suppress(FileExistsError):
            step.mkdir(mode=0o700)
            yield step
        sync_folder(step.parent)


def remove_empty(folder: Path) -> None:
    """Remove a folder of ours, if nothing is in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file of ours, whatever happens."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def explained(path: PurePath) -> Iterator[None]:
    """Turn an OSError in the block into a TargetError about `path`."""
    try:
        yield
    except LabError:
        raise
    except OSError as error:
        raise explain(path, "written", error) from None


_FIXES: dict[str, Callable[[PurePath], str]] = {
    "ENOSPC": lambda path: f"make room: df -h {path.parent}",
    "EDQUOT": lambda path: f"make room: quota; df -h {path.parent}",
    "EACCES": lambda path: f"look at the folder: ls -ld {path.parent}",
    "EPERM": lambda path: f"it may be immutable: lsattr {path}; sudo chattr -i {path}",
    "EROFS": lambda path: f"the file system is read-only: findmnt -T {path.parent}",
}


def explain(path: PurePath, verb: str, error: OSError) -> TargetError:
    """Return a TargetError about `path`; `verb` is `read` or `written`."""
    name = errno.errorcode.get(error.errno or 0, "")
    fix = _FIXES[name](path) if name in _FIXES else f"ls -la {path.parent}"
    done = "read" if verb == "read" else "written; every file is as it was"
    return TargetError(f"{path} cannot be {done}", why=words(error), fix=fix)
