"""Observe files, and switch several of them as one unit.

Every file is written beside its place, 0600 from the first byte, flushed to disk, and renamed.
The files that were there are kept as hard links until all renames are done, so putting them back
is a rename too: it needs no space on a full disk and no key in memory.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath

from bootstrap.adapters.exchange import exchange
from bootstrap.adapters.trust import real_path
from bootstrap.domain.content import Content, FileState, Write, digest_of
from bootstrap.domain.errors import ConflictError, LabError, TargetError

_MARK = ".keyturn-"
_MOST_BYTES = 64 * 1024 * 1024
# Against a program that rewrites its file every few milliseconds, without a pause.
_MOST_MERGES = 50


class LocalFiles:
    """The user's own files. Callers hold the lab's lock while they write."""

    def observe(self, path: PurePath) -> FileState | None:
        """Return what stands at `path`; see `bootstrap.ports.Files`."""
        real = real_path(Path(path))
        try:
            found = _read(path, real)
        except OSError as error:
            raise _explain(path, "read", error) from None
        return None if found is None else FileState(Content(found[0]), found[1], str(real))

    @contextlib.contextmanager
    def staged(self, writes: Sequence[Write]) -> Iterator["_Unit"]:
        """Write every file beside its place; see `bootstrap.ports.Files`."""
        with contextlib.ExitStack() as tidy:
            yield _Unit([_Staged(write, tidy) for write in writes])

    def replace_all(self, writes: Sequence[Write]) -> None:
        """Put every write in force as one unit; see `bootstrap.ports.Files`."""
        with self.staged(writes) as unit:
            unit.switch()

    def sweep(self, paths: Sequence[PurePath]) -> None:
        """Remove what a killed run left beside `paths`; see `bootstrap.ports.Files`."""
        for path in paths:
            with contextlib.suppress(TargetError):
                _sweep(real_path(Path(path)))

    def back_up(self, path: PurePath) -> PurePath:
        """Copy the file to a 0600 sibling; see `bootstrap.ports.Files`."""
        found = self.observe(path)
        if found is None:
            raise TargetError(f"{path} cannot be backed up", why="it is gone", fix="run it again")
        stem = f"{path}.keyturn-backup"
        copies = (Path(f"{stem}-{number}" if number else stem) for number in range(1000))
        free = next((copy for copy in copies if not os.path.lexists(copy)), None)
        if free is None:
            raise TargetError(
                f"{path} cannot be backed up",
                why="1000 backups stand beside it",
                fix=f"remove some: rm {stem}-*",
            )
        with _explained(free):
            _stage(free, found.content.data, 0o600).replace(free)
            _sync_folder(free.parent)
        return PurePath(free)


class _Unit:
    """Staged files that go into force together."""

    def __init__(self, items: "list[_Staged]") -> None:
        self._items = items

    def switch(self) -> None:
        """Put them in force; a failure in the middle puts every file back."""
        with contextlib.ExitStack() as undo:
            for item in self._items:
                item.keep_old()
            for item in self._items:
                undo.callback(item.put_back)
                item.switch()
            for item in self._items:
                item.sync()
            undo.pop_all()


class _Staged:
    """One write between its staging and the end of the whole unit."""

    def __init__(self, write: Write, tidy: contextlib.ExitStack) -> None:
        self._write = write
        self._tidy = tidy
        self.real = real_path(Path(write.path))
        self._expected = write.expected
        self._content = write.content
        self._old: Path | None = None
        self._new: Path | None = None
        self._switched = False
        with _explained(write.path):
            _make_folders(self.real.parent)
            _sweep(self.real)
            self._check_writable()
            if write.content is not None:
                self._stage(write.content, write.mode)

    def keep_old(self) -> None:
        """Link the file found to a second name, after checking that it is still that file."""
        with _explained(self._write.path):
            found = self._agreed("nothing was changed: run it again")
            if found is not None:
                self._link(found)

    def switch(self) -> None:
        """Put the new file in force."""
        with _explained(self._write.path):
            for _ in range(_MOST_MERGES):
                self._agreed("everything was put back: run it again")
                self._switched = True
                if self._exchange():
                    return
                self._switched = False
            raise self._conflict("everything was put back: run it again")

    def sync(self) -> None:
        """Make the rename last."""
        with _explained(self._write.path):
            _sync_folder(self.real.parent)

    def put_back(self) -> None:
        """Undo `switch`; what its other writer wrote since then stays."""
        if not self._switched:
            return
        try:
            if self._write.again is not None and not self._is_ours():
                return
            if self._old is None:
                self.real.unlink(missing_ok=True)
            else:
                self._old.replace(self.real)
        except OSError as error:
            raise TargetError(
                f"{self._write.path} could not be put back",
                why=f"{_words(error)}; it is complete, but new",
                fix="mend that, then: keyturn apply",
            ) from None

    def _agreed(self, fix: str) -> tuple[bytes, int] | None:
        """Return what stands at the place, once that is what the new content was made for.

        Raises:
            ConflictError: Another program wrote it, and it cannot be merged, or not fast enough.
        """
        for _ in range(_MOST_MERGES):
            found = _read(self._write.path, self.real)
            digest = None if found is None else digest_of(found[0])
            if digest == self._expected:
                return found
            if found is None or self._write.again is None:
                break
            self._stage(self._write.again(found[0]), found[1] & 0o700)
            self._expected = digest
            if self._old is not None:
                self._link(found)
        raise self._conflict(fix)

    def _exchange(self) -> bool:
        """Rename the new file into place; False where its other writer was faster, and is back.

        An exchange instead of a rename hands over what stood there in the very moment, so that
        nothing that was written between the last look and the rename can get lost.
        """
        if self._new is None:
            self.real.unlink(missing_ok=True)
            return True
        shared = self._write.again is not None and self._old is not None
        if not shared or not exchange(self._new, self.real):
            self._new.replace(self.real)
            return True
        if self._digest(self._new) == self._expected:
            return True
        self._give_back(self._new)
        return False

    def _give_back(self, displaced: Path) -> None:
        """Put back what was newer than ours; what is written meanwhile is newer still."""
        stands = None if self._content is None else self._content.digest
        while True:
            newest = self._digest(displaced)
            exchange(displaced, self.real)
            if self._digest(displaced) == stands:
                return
            stands = newest

    def _digest(self, path: Path) -> str | None:
        found = _read(self._write.path, path)
        return None if found is None else digest_of(found[0])

    def _is_ours(self) -> bool:
        return self._content is not None and self._digest(self.real) == self._content.digest

    def _stage(self, content: Content, mode: int) -> None:
        if self._new is not None:
            _remove(self._new)
        self._content = content
        self._new = _stage(self.real, content.data, mode)
        self._tidy.callback(_remove, self._new)

    def _link(self, found: tuple[bytes, int]) -> None:
        if self._old is not None:
            _remove(self._old)
        old = _beside(self.real)
        self._tidy.callback(_remove, old)
        try:
            old.hardlink_to(self.real)
        except OSError:  # a file system without hard links
            _stage(self.real, *found).replace(old)
        self._old = old

    def _conflict(self, fix: str) -> ConflictError:
        return ConflictError(
            f"{self._write.path} changed while keyturn worked",
            why="another program wrote it",
            fix=fix,
        )

    def _check_writable(self) -> None:
        try:
            mode = self.real.lstat().st_mode
        except FileNotFoundError:
            return
        if not mode & stat.S_IWUSR:
            raise TargetError(
                f"{self._write.path} is read-only",
                why=f"its mode is {stat.S_IMODE(mode):04o}",
                fix=f"chmod u+w {self._write.path}",
            )


def _stage(real: Path, data: bytes, mode: int) -> Path:
    """Write `data` beside `real`, on disk, readable by nobody else at any moment."""
    temporary = _beside(real)
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
        _remove(temporary)
        raise
    return temporary


def _read(path: PurePath, real: Path) -> tuple[bytes, int] | None:
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
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise TargetError(
                f"{path} is not a file",
                why="a folder or a device stands there",
                fix=f"move it away: mv {path} {path}.old",
            )
        if found.st_size > _MOST_BYTES:
            raise TargetError(
                f"{path} is too big",
                why=f"it has {found.st_size} bytes, 64 MiB is the limit",
                fix=f"look what is in it: head -c 1000 {path}",
            )
        return file.read(), stat.S_IMODE(found.st_mode)


def _beside(real: Path) -> Path:
    """Return a new name in the same folder, which `_sweep` will know again."""
    return real.with_name(f"{_prefix(real)}{secrets.token_hex(6)}.tmp")


def _prefix(real: Path) -> str:
    return f".{real.name[:200]}{_MARK}"


def _sweep(real: Path) -> None:
    """Remove what a killed run left beside `real`; the lab's lock keeps the living out."""
    for leftover in real.parent.glob(f"{_glob_safe(_prefix(real))}*.tmp"):
        _remove(leftover)


def _glob_safe(text: str) -> str:
    import glob

    return glob.escape(text)


def _make_folders(folder: Path) -> None:
    missing = [step for step in (folder, *folder.parents) if not step.exists()]
    for step in reversed(missing):
        with contextlib.suppress(FileExistsError):
            step.mkdir(mode=0o700)
        _sync_folder(step.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(path: PurePath) -> Iterator[None]:
    try:
        yield
    except LabError:
        raise
    except OSError as error:
        raise _explain(path, "written", error) from None


_FIXES: dict[str, Callable[[PurePath], str]] = {
    "ENOSPC": lambda path: f"make room: df -h {path.parent}",
    "EDQUOT": lambda path: f"make room: quota; df -h {path.parent}",
    "EACCES": lambda path: f"look at the folder: ls -ld {path.parent}",
    "EROFS": lambda path: f"the file system is read-only: mount | grep {path.anchor}",
}


def _explain(path: PurePath, verb: str, error: OSError) -> TargetError:
    import errno

    name = errno.errorcode.get(error.errno or 0, "")
    fix = _FIXES[name](path) if name in _FIXES else f"ls -la {path.parent}"
    done = "read" if verb == "read" else "written; every file is as it was"
    return TargetError(f"{path} cannot be {done}", why=_words(error), fix=fix)


def _words(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
