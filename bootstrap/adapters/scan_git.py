"""The history of a git repository for `keyturn scan`: every file, message and tag in it.

What the reflog still holds counts, too: an amended commit is not gone. Git only lists and prints
objects, so no hook, filter or helper of the repository is run.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import PurePath

from bootstrap.adapters.git_environment import git_environment
from bootstrap.adapters.process import run
from bootstrap.domain.scan_places import Item, Kind, Place

MOST_BYTES = 1024 * 1024
# Of what git prints before an object: its name, its kind, its size.
_LONGEST_HEAD = 200
_BATCH_BYTES = 16 * 1024 * 1024
_LIMIT_S = 60.0
_FIND_S = 20.0
_EVERYTHING = ("--all", "--reflog")


class GitHaystack:
    """All that can be reached in the repository around a folder; see `workflows.scan.Haystack`.

    Args:
        folder: A folder in its work tree. Where there is no repository there is nothing.
        limit_s: Seconds for all of it.
    """

    label = "the history in git"

    def __init__(self, folder: PurePath, limit_s: float = _LIMIT_S) -> None:
        self.left_out: list[tuple[bytes, str]] = []
        self._folder = str(folder)
        self._limit_s = limit_s
        self._deadline = 0.0
        self._broken = False

    def items(self) -> Iterator[Item]:
        """Yield each object of at most 1 MB."""
        self._deadline = time.monotonic() + self._limit_s
        try:
            yield from self._objects()
        except TimeoutError:
            why = f"not all of its history was read: that takes more than {self._limit_s:g} s"
            self.left_out.append((self._folder.encode(), why))
        except OSError:  # no git here
            return
        if self._broken:
            why = "not all of its history was read: git cannot (see git fsck)"
            self.left_out.append((self._folder.encode(), why))

    def _objects(self) -> Iterator[Item]:
        if self._git("rev-parse", "--is-inside-work-tree").strip() != b"true":
            return
        listed = self._git("rev-list", "--objects", *_EVERYTHING)
        paths = {name: path for name, _, path in (row.partition(b" ") for row in _lines(listed))}
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
        if not names:
            return
        told = self._git("cat-file", "--batch", stdin=b"\n".join(names) + b"\n")
        at = 0
        while at < len(told):
            head, _, _ = told[at : at + _LONGEST_HEAD].partition(b"\n")
            at += len(head) + 1
            name, kind, size = (*head.split(b" "), b"", b"")[:3]
            if not size:  # `NAME missing`: pruned meanwhile
                self._broken = True
                continue
            data = told[at : at + int(size)]
            at += int(size) + 1
            yield Item(_place(paths[name], name, kind), [data], self._settled(paths, name, kind))

    def _settled(self, paths: dict[bytes, bytes], name: bytes, kind: bytes) -> partial[Place]:
        return partial(self._with_commit, paths[name], name, kind)

    def _with_commit(self, path: bytes, name: bytes, kind: bytes) -> Place:
        """Return the place of a file with the first commit that has it."""
        if kind != b"blob":
            return _place(path, name, kind)
        find = f"--find-object={name.decode()}"
        words = ("log", *_EVERYTHING, "--no-ext-diff", "--no-textconv", "--format=%h", find)
        try:
            commits = self._git(*words, timeout_s=_FIND_S).split()
        except OSError:
            commits = []
        first = b"commit " + commits[-1] if commits else b"object " + name[:8]
        return Place(Kind.HISTORY, b"git: " + path, first)

    def _git(
        self, *words: str, stdin: bytes | None = None, timeout_s: float | None = None
    ) -> bytes:
        left = self._deadline - time.monotonic() if timeout_s is None else timeout_s
        if left <= 0:
            raise TimeoutError
        argv = ["git", "-C", self._folder, "-c", "log.showSignature=false", *words]
        answer = run(argv, stdin=stdin, env=git_environment(), timeout_s=left)
        # Outside a work tree already the question whether this is one fails.
        self._broken = self._broken or (answer.returncode != 0 and words[0] != "rev-parse")
        return answer.stdout


def _place(path: bytes, name: bytes, kind: bytes) -> Place:
    shown = name[:8]
    if kind == b"blob":
        return Place(Kind.HISTORY, b"git: " + path, b"object " + shown)
    return Place(Kind.HISTORY, b"git: the message of a " + kind, kind + b" " + shown)


def _lines(said: bytes) -> list[bytes]:
    return [line for line in said.split(b"\n") if line]
