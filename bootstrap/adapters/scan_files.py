"""Files for `keyturn scan`: what lies below some folders, read in pieces, whatever it is.

Nothing is followed out of a folder, nothing waits (a pipe), nothing is opened that is no file.
"""

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bootstrap.adapters.disk import resolved
from bootstrap.adapters.paths import words
from bootstrap.domain.scan_places import Item, Kind, Place

MOST_BYTES = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY
_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-7]{3})")
# Mounts of these kinds are no folders of files.
_SPECIAL = (
    *(b"proc", b"sysfs", b"cgroup", b"cgroup2", b"devtmpfs", b"devpts", b"debugfs", b"tracefs"),
    *(b"securityfs", b"bpf", b"pstore", b"mqueue", b"configfs", b"binfmt_misc", b"autofs"),
)
# Packages and caches, which others fill and nobody puts a key into.
_LEFT_OUT = frozenset(
    b"node_modules site-packages dist-packages __pycache__ .venv venv .tox .nox .mypy_cache "
    b".pytest_cache .ruff_cache .cache Cache Caches CacheStorage CachedData CachedExtensionVSIXs "
    b"GPUCache DawnCache ShaderCache GrShaderCache cache2 .npm .gradle .m2 "
    b"containers flatpak Steam virtualenvs uv pipx baloo".split()
) | {b"Code Cache", b"lost+found"}


@dataclass(frozen=True)
class Start:
    """Where to begin.

    Attributes:
        path: A file or a folder; a symlink is followed here, and nowhere below.
        asked: Whether somebody named it, so that a file is read however big it is.
        most_bytes: At most so much is read below it; None for all.
    """

    path: Path
    asked: bool = False
    most_bytes: int | None = None


class FolderHaystack:
    """Everything below some paths, each file once; see `workflows.scan.Haystack`.

    Args:
        starts: Where to begin.
        declared: The files that lab.toml has keys in.
        spared: Files and folders to leave out.
        label: For people.
    """

    def __init__(
        self,
        starts: Iterable[Start],
        declared: Collection[Path] = (),
        spared: Collection[Path] = (),
        label: str = "files",
    ) -> None:
        self.label = label
        self.left_out: list[tuple[bytes, str]] = []
        self._starts = list(starts)
        self._declared = {os.fsencode(_resolved(path)) for path in declared}
        self._spared = {os.fsencode(_resolved(path)) for path in spared}
        self._special = _special_mounts()
        self._been: set[bytes] = set()
        self._budget: int | None = None

    def items(self) -> Iterator[Item]:
        """Yield every file, and every name that is not searched with its file."""
        for start in self._starts:
            self._budget = start.most_bytes
            path = os.fsencode(_resolved(start.path))
            yield from self._below(path, asked=start.asked)
            if self._budget is not None and self._budget < 0:
                self.left_out.append((path, _budget_words(start)))

    def _below(self, path: bytes, *, asked: bool = False) -> Iterator[Item]:
        """Walk without recursion: no folder is too deep."""
        ahead = [path]
        while ahead:
            path = ahead.pop()
            if asked and path in self._special:
                self.left_out.append((path, "what is mounted there holds no files"))
            if path in self._been or path in self._spared or path in self._special:
                continue
            self._been.add(path)
            try:
                mode = os.lstat(path).st_mode
                if stat.S_ISDIR(mode):
                    yield _named(path)
                    ahead += sorted(self._inside(path), reverse=True)
                elif stat.S_ISREG(mode):
                    yield _named(path)
                    yield from self._file(path, asked=asked)
                elif asked and stat.S_ISLNK(mode):
                    self.left_out.append((path, "it is a link: name what it leads to"))
                elif asked:
                    self.left_out.append((path, "it is neither a file nor a folder"))
            except FileNotFoundError:  # it went in between
                pass
            except OSError as error:
                self.left_out.append((path, words(error)))

    def _inside(self, folder: bytes) -> Iterator[bytes]:
        names = {entry.name for entry in os.scandir(folder)}
        if b"pyvenv.cfg" in names:
            return
        in_git = folder.endswith(b".git")
        for name in names - _LEFT_OUT:
            if not (in_git and name == b"objects"):  # compressed; the history is read by git
                yield folder.rstrip(b"/") + b"/" + name

    def _file(self, path: bytes, *, asked: bool) -> Iterator[Item]:
        size = os.lstat(path).st_size
        if size > MOST_BYTES and not asked:
            self.left_out.append((path, f"it has {size >> 20} MB, more than {MOST_BYTES >> 20}"))
            return
        if self._budget is not None:
            self._budget -= size
            if self._budget < 0:
                return
        most = None if asked else MOST_BYTES
        yield Item(Place(Kind.FILE, path, declared=path in self._declared), _read(path, most))


def _read(path: bytes, most: int | None) -> Iterator[bytes]:
    """Yield the bytes of a file, and no more than `most` of one that grows; may raise OSError."""
    handle = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return
        left = most
        while chunk := os.read(handle, _CHUNK if left is None else min(_CHUNK, left)):
            yield chunk
            if left is not None:
                left -= len(chunk)
    finally:
        os.close(handle)


def _named(path: bytes) -> Item:
    return Item(Place(Kind.FILE_NAME, path), [path.rpartition(b"/")[2]])


def home_files(home: Path) -> list[Path]:
    """Return the files right in the home that begin with a dot, are histories, or `*.env`."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(home):
            name = entry.name
            wanted = name.startswith(".") or name.endswith(".env") or "history" in name
            # A dotfile that is a symlink into a repository of the user's own is read there.
            if wanted and _resolved(Path(entry.path)).is_relative_to(_resolved(home)):
                with suppress(OSError):
                    found += [Path(entry.path)] if entry.is_file() else []
    return sorted(found)


def _budget_words(start: Start) -> str:
    most = (start.most_bytes or 0) >> 20
    return f"only {most} MB of it were read; to search all of it, name it"


def _resolved(path: Path) -> Path:
    try:
        return resolved(path)
    except OSError:
        return path


def _special_mounts() -> set[bytes]:
    """Return the folders where something is mounted that holds no files."""
    found = set()
    with suppress(OSError):
        for line in _MOUNTS.read_bytes().splitlines():
            before, _, after = line.partition(b" - ")
            kind = after.partition(b" ")[0]
            if kind in _SPECIAL or kind.startswith(b"fuse."):
                place = before.split(b" ")[4]
                found.add(_OCTAL.sub(lambda m: bytes([int(m[1], 8)]), place))
    return found
