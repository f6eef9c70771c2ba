"""Observe files, and switch several of them as one unit.

Every file is written beside its place, 0600 from the first byte, flushed to disk, and renamed.
The files that were there are kept beside until all renames are done, as hard links, or as copies
where another program writes them, too; so putting them back is a rename as well: it needs no space
on a disk that is full by then, and no key in memory.
"""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from bootstrap.adapters.disk import (
    beside,
    explain,
    explained,
    make_folders,
    read,
    remove,
    remove_empty,
    stage,
    sweep,
    sync_folder,
)
from bootstrap.adapters.exchange import exchange
from bootstrap.adapters.paths import words
from bootstrap.adapters.trust import real_path
from bootstrap.domain.content import Content, FileState, Write, digest_of
from bootstrap.domain.errors import ConflictError, TargetError

# Against a program that rewrites its file every few milliseconds, without a pause.
_MOST_MERGES = 50


class LocalFiles:
    """The user's own files. Callers hold the lab's lock while they write."""

    def observe(self, path: PurePath) -> FileState | None:
        """Return what stands at `path`; see `bootstrap.ports.Files`."""
        real = real_path(Path(path))
        try:
            found = read(path, real)
        except OSError as error:
            raise explain(path, "read", error) from None
        return None if found is None else FileState(Content(found[0]), found[1], str(real))

    @contextlib.contextmanager
    def staged(self, writes: Sequence[Write]) -> Iterator["_Unit"]:
        """Write every file beside its place; see `bootstrap.ports.Files`."""
        with contextlib.ExitStack() as tidy:
            items = [_Staged(write, tidy) for write in writes]
            sweep(item.real for item in items)
            for item in items:
                item.stage()
            yield _Unit(items)

    def replace_all(self, writes: Sequence[Write]) -> None:
        """Put every write in force as one unit; see `bootstrap.ports.Files`."""
        with self.staged(writes) as unit:
            unit.switch()

    def sweep(self, paths: Sequence[PurePath]) -> None:
        """Remove what a killed run left beside `paths`; see `bootstrap.ports.Files`."""
        reals = []
        for path in paths:
            with contextlib.suppress(TargetError):
                reals.append(real_path(Path(path)))
        sweep(reals)

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
        with explained(free):
            stage(free, found.content.data, 0o600).replace(free)
            sync_folder(free.parent)
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
            for item in {item.real.parent: item for item in self._items}.values():
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

    def stage(self) -> None:
        """Write the new file beside its place, on disk."""
        with explained(self._write.path):
            for made in make_folders(self.real.parent):
                self._tidy.callback(remove_empty, made)
            self._check_writable()
            if self._write.content is not None:
                self._stage(self._write.content, self._write.mode)

    def keep_old(self) -> None:
        """Link the file found to a second name, after checking that it is still that file."""
        with explained(self._write.path):
            found = self._agreed("nothing was changed: run it again")
            if found is not None:
                self._keep(found)

    def switch(self) -> None:
        """Put the new file in force."""
        with explained(self._write.path):
            for _ in range(_MOST_MERGES):
                self._agreed("everything was put back: run it again")
                self._switched = True
                if self._exchange():
                    return
                self._switched = False
            raise self._conflict("everything was put back: run it again")

    def sync(self) -> None:
        """Make the rename last."""
        with explained(self._write.path):
            sync_folder(self.real.parent)

    def put_back(self) -> None:
        """Undo `switch`; what its other writer wrote since then stays."""
        if not self._switched:
            return
        try:
            if self._write.is_shared and not self._is_ours():
                return
            if self._old is None:
                self.real.unlink(missing_ok=True)
            else:
                self._old.replace(self.real)
        except OSError as error:
            raise TargetError(
                f"{self._write.path} could not be put back",
                why=f"{words(error)}; it is complete, but new",
                fix="mend that, then: keyturn apply",
            ) from None
        self.sync()  # or a power failure could bring the new file back

    def _agreed(self, fix: str) -> tuple[bytes, int] | None:
        """Return what stands at the place, once that is what the new content was made for.

        Raises:
            ConflictError: Another program wrote it, and it cannot be merged, or not fast enough.
        """
        for _ in range(_MOST_MERGES):
            found = read(self._write.path, self.real)
            digest = None if found is None else digest_of(found[0])
            if digest == self._expected:
                return found
            if found is None or self._write.again is None:
                break
            self._stage(self._write.again(found[0]), found[1] & 0o700)
            self._expected = digest
            if self._old is not None:
                self._keep(found)
        raise self._conflict(fix)

    def _exchange(self) -> bool:
        """Rename the new file into place; False where its other writer was faster, and is back.

        An exchange instead of a rename hands over what stood there in the very moment, so that
        nothing that was written between the last look and the rename can get lost.
        """
        if self._new is None:
            self.real.unlink(missing_ok=True)
            return True
        shared = self._write.is_shared and self._old is not None
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
        found = read(self._write.path, path)
        return None if found is None else digest_of(found[0])

    def _is_ours(self) -> bool:
        return self._content is not None and self._digest(self.real) == self._content.digest

    def _stage(self, content: Content, mode: int) -> None:
        if self._new is not None:
            remove(self._new)
        self._content = content
        self._new = stage(self.real, content.data, mode)
        self._tidy.callback(remove, self._new)

    def _keep(self, found: tuple[bytes, int]) -> None:
        """Have the old file under a second name.

        As a copy where another program writes the file, too: a running droid (0.215.0) loses sight
        of its settings for good where the file that it watches lives on under another name (seen in
        most of twenty changes), and goes on with the old key.
        """
        if self._old is not None:
            remove(self._old)
        old = beside(self.real)
        self._tidy.callback(remove, old)
        if self._write.is_shared or not _linked(old, self.real):
            old = stage(self.real, *found)
            self._tidy.callback(remove, old)
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


def _linked(second: Path, first: Path) -> bool:
    """Give a file a second name; False where the file system has no hard links."""
    try:
        second.hardlink_to(first)
    except OSError:
        return False
    return True
