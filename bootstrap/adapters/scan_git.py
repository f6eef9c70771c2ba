"""The history of a git repository for `keyturn scan`: every file, message and tag in it.

What the reflog still holds counts, too: an amended commit is not gone. Git only lists and prints
objects, so no hook, filter or helper of the repository is run; see `bootstrap.adapters.git`. What
git cannot read is left out, and said.
"""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePath

from bootstrap.adapters.git import LOG, ask_git
from bootstrap.domain.scan_places import Item, Kind, Place

MOST_BYTES = 1024 * 1024
# Of what git prints before an object: its name, its kind, its size.
_LONGEST_HEAD = 200
_BATCH_BYTES = 16 * 1024 * 1024
_LIMIT_S = 60.0
_FIND_S = 20.0
_EVERYTHING = ("--all", "--reflog")
_DAMAGED = "git cannot read all of its history: git fsck, git status"


class GitHaystack:
    """All that can be reached in the repository around a folder; see `workflows.scan.Haystack`.

    Args:
        folder: A folder in its work tree. Where there is no repository there is nothing.
        limit_s: Seconds for all of it.
    """

    label = "the history in git"

    def __init__(self, folder: PurePath, limit_s: float = _LIMIT_S) -> None:
        self.left_out: list[tuple[bytes, str]] = []
        self._folder = folder
        self._limit_s = limit_s
        self._deadline = 0.0
        self._damaged = False
        self._slow = False

    def items(self) -> Iterator[Item]:
        """Yield each object of at most 1 MB."""
        self._deadline = time.monotonic() + self._limit_s
        try:
            yield from self._objects()
        except TimeoutError:
            why = f"not all of its history was read: that takes more than {self._limit_s:g} s"
            self._leave_out(why)
        except OSError:  # no git here
            return
        if self._damaged:
            self._leave_out(_DAMAGED)

    def _leave_out(self, why: str) -> None:
        self.left_out.append((os.fsencode(self._folder), why))

    def _objects(self) -> Iterator[Item]:
        if ask_git(self._folder, "rev-parse", "--git-dir", timeout_s=self._left_s()).returncode:
            # Also a repository of somebody else's, which git does not trust.
            around = (self._folder, *self._folder.parents)
            self._damaged = any(os.path.lexists(Path(place, ".git")) for place in around)
            return
        listed = self._git("rev-list", "--objects", "--missing=print", *_EVERYTHING)
        rows = _lines(listed)
        known = [row for row in rows if not row.startswith(b"?")]
        self._damaged = self._damaged or len(known) < len(rows)
        paths = {name: path for name, _, path in (row.partition(b" ") for row in known)}
        batch: list[bytes] = []
        size = 0
        for name, more in self._sizes(paths):
            if batch and size + more > _BATCH_BYTES:
                yield from self._contents(batch, paths)
                batch, size = [], 0
            batch.append(name)
            size += more
        yield from self._contents(batch, paths)

    def _sizes(self, paths: dict[bytes, bytes]) -> Iterator[tuple[bytes, int]]:
        """Yield (object, size) of those that hold text and are not too big."""
        asked = "--batch-check=%(objectname) %(objecttype) %(objectsize)"
        for row in _lines(self._git("cat-file", asked, stdin=b"\n".join(paths) + b"\n")):
            name, kind, size = (*row.split(b" "), b"", b"")[:3]
            if kind in (b"blob", b"commit", b"tag") and int(size) <= MOST_BYTES:
                yield name, int(size)
            elif kind == b"blob":
                why = f"it has {int(size) >> 20} MB in git, more than {MOST_BYTES >> 20}"
                self.left_out.append((b"git: " + paths[name], why))

    def _contents(self, names: list[bytes], paths: dict[bytes, bytes]) -> Iterator[Item]:
        while names:
            told = self._git("cat-file", "--batch", stdin=b"\n".join(names) + b"\n")
            answers = list(_answers(told))
            for name, kind, data in answers:
                yield Item(
                    _place(paths[name], name, kind), [data], self._settled(paths, name, kind)
                )
            # It gives up at a damaged object: those behind it are asked for again.
            self._damaged = self._damaged or len(answers) < len(names)
            names = names[len(answers) + 1 :]

    def _settled(self, paths: dict[bytes, bytes], name: bytes, kind: bytes) -> partial[Place]:
        return partial(self._with_commit, paths[name], name, kind)

    def _with_commit(self, path: bytes, name: bytes, kind: bytes) -> Place:
        """Return the place of a file with the first commit that has it."""
        if kind != b"blob":
            return _place(path, name, kind)
        find = f"--find-object={name.decode()}"
        words = (*LOG, *_EVERYTHING, "--no-renames", "-O/dev/null", "--format=%h", find)
        commits: list[bytes] = []
        try:
            if not self._slow:
                commits = ask_git(self._folder, *words, timeout_s=_FIND_S).stdout.split()
        except OSError:
            self._slow = True  # nor for the next ones
        first = b"commit " + commits[-1] if commits else b"object " + name[:8]
        return Place(Kind.HISTORY, b"git: " + path, first)

    def _git(self, *words: str, stdin: bytes | None = None) -> bytes:
        answer = ask_git(self._folder, *words, stdin=stdin, timeout_s=self._left_s())
        self._damaged = self._damaged or answer.returncode != 0
        return answer.stdout

    def _left_s(self) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _answers(told: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (object, kind, bytes) of what `cat-file --batch` printed, up to what is not whole."""
    at = 0
    while (end := told.find(b"\n", at)) >= 0:
        name, kind, size = (*told[at:end].split(b" "), b"", b"")[:3]
        at = end + 2 + int(size) if size.isdigit() else len(told) + 1
        if at > len(told):
            return
        yield name, kind, told[end + 1 : at - 1]


def _place(path: bytes, name: bytes, kind: bytes) -> Place:
    shown = name[:8]
    if kind == b"blob":
        return Place(Kind.HISTORY, b"git: " + path, b"object " + shown)
    return Place(Kind.HISTORY, b"git: the message of a " + kind, kind + b" " + shown)


def _lines(said: bytes) -> list[bytes]:
    return [line for line in said.split(b"\n") if line]
