"""What a disk still holds of a rotation when the power fails: replays a trace of its system calls.

A file's bytes last once the file was fsynced, its name once its folder was. What else was done by
then may be there or not, so three extremes are made for every moment: nothing that was not fsynced
lasts, every name lasts but no byte that was not fsynced, and everything lasts.
"""

import codecs
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_UNFINISHED = re.compile(r"^(\d+ +\w+\(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_DESCRIPTOR = re.compile(r"^\d+<([^>]*)>")
_MODE = re.compile(r", (0\d+)$")
_RENAMES = ("rename", "renameat", "renameat2")


@dataclass
class _File:
    """A file behind its names: its bytes as programs see them, and as the disk has them."""

    data: bytes = b""
    mode: int = 0o600
    disk: bytes = b""
    disk_mode: int = 0o600


@dataclass(frozen=True)
class State:
    """What a disk holds after a power failure.

    Attributes:
        at: After which call, and what was lost.
        files: (bytes, mode) of every file by its path.
        failed: A call had been made to fail by then.
    """

    at: str
    files: Mapping[Path, tuple[bytes, int]]
    failed: bool


@dataclass
class Disk:
    """Files below some folders, which a trace changes.

    Attributes:
        now: The names as programs see them.
        safe: The names that are on the disk.
    """

    roots: tuple[Path, ...]
    now: dict[Path, _File] = field(default_factory=dict)
    safe: dict[Path, _File] = field(default_factory=dict)

    @classmethod
    def of(cls, *roots: Path) -> "Disk":
        """Return the disk as it is, all of it safe."""
        disk = cls(roots)
        for path in (p for root in roots for p in root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                data, mode = path.read_bytes(), path.stat().st_mode & 0o777
                disk.now[path] = disk.safe[path] = cls.file(data, mode)
        return disk

    @staticmethod
    def file(data: bytes, mode: int) -> _File:
        """Return a file that is on the disk as it is."""
        return _File(data, mode, data, mode)

    def replay(self, trace: str) -> Iterator[State]:
        """Do what the trace says; yield every state that a power failure could leave, once.

        Args:
            trace: Of `strace -f -y -s 1000000`.
        """
        seen: list[Mapping[Path, tuple[bytes, int]]] = []
        failed = False
        for name, text, result in _calls(trace):
            failed |= result < 0
            if result >= 0:
                self._do(name, text, result)
            now = {path: (file.data, file.mode) for path, file in self.now.items()}
            for what, files in (
                ("all that was not fsynced", _on_disk(self.safe)),
                ("bytes", _on_disk(self.now)),
                ("nothing", now),
            ):
                if files not in seen:
                    seen.append(files)
                    yield State(f"after {name} {text[:160]}, {what} lost", files, failed)

    def _do(self, name: str, text: str, result: int) -> None:
        """Do one successful call; what is not below the roots counts for nothing."""
        found = _DESCRIPTOR.match(text)
        path = Path(found[1]) if found else Path()
        names = [Path(_decoded(word).decode()) for word in _TEXT.findall(text)]
        file = self.now.get(path)
        if name == "openat":
            self._open(names[0], text)
        elif name == "write" and file:
            file.data += _decoded(_TEXT.findall(text)[0])[:result]
        elif name == "pwrite64" and file:
            at = int(text.rpartition(", ")[2])
            file.data = file.data[:at] + _decoded(_TEXT.findall(text)[0])[:result]
        elif name == "ftruncate" and file:
            file.data = file.data[: int(text.rpartition(", ")[2])]
        elif name == "fchmod" and file:
            file.mode = int(text.rpartition(", ")[2], 8)
        elif name == "fsync":
            self._sync(path, file)
        elif name in ("link", "linkat") and names[0] in self.now:
            self.now[names[1]] = self.now[names[0]]
        elif name in ("unlink", "unlinkat"):
            self.now.pop(names[0], None)
        elif name in _RENAMES and names[0] in self.now:
            moved = self.now.pop(names[0])
            if "RENAME_EXCHANGE" in text:
                self.now[names[0]] = self.now[names[1]]
            self.now[names[1]] = moved

    def _open(self, path: Path, text: str) -> None:
        if not any(path.is_relative_to(root) for root in self.roots):
            return
        if path not in self.now and "O_CREAT" in text:
            mode = _MODE.search(text)
            self.now[path] = _File(mode=int(mode[1], 8) if mode else 0o600)
        if path in self.now and "O_TRUNC" in text:
            self.now[path].data = b""

    def _sync(self, path: Path, file: _File | None) -> None:
        if file is not None:
            file.disk, file.disk_mode = file.data, file.mode
            return
        for names, gone in ((self.now, False), (dict(self.safe), True)):
            for name in [name for name in names if name.parent == path]:
                if gone and name not in self.now:
                    del self.safe[name]
                elif not gone:
                    self.safe[name] = self.now[name]


def _on_disk(names: Mapping[Path, _File]) -> dict[Path, tuple[bytes, int]]:
    return {path: (file.disk, file.disk_mode) for path, file in names.items()}


class Roots:
    """Folders that are put back, or into a state, as often as needed."""

    def __init__(self, keep: Path, *roots: Path) -> None:
        self._roots = {root: keep / str(number) for number, root in enumerate(roots)}
        for root, copy in self._roots.items():
            shutil.copytree(root, copy, symlinks=True)

    def put_back(self) -> None:
        """Make everything as it was."""
        for root, copy in self._roots.items():
            for entry in root.iterdir():
                folder = entry.is_dir() and not entry.is_symlink()
                shutil.rmtree(entry) if folder else entry.unlink()
            shutil.copytree(copy, root, symlinks=True, dirs_exist_ok=True)

    def put(self, state: State) -> None:
        """Make every file as in `state`."""
        self.put_back()
        for root in self._roots:
            for path in [p for p in root.rglob("*") if p.is_file() and not p.is_symlink()]:
                if path not in state.files:
                    path.unlink()
        for path, (data, mode) in state.files.items():
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)
            path.chmod(mode)


def _calls(trace: str) -> Iterator[tuple[str, str, int]]:
    """Yield name, arguments and result of every call that succeeded or was made to fail."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        if (unfinished := _UNFINISHED.match(line)) is not None:
            begun[line.partition(" ")[0]] = unfinished[1]
            continue
        if (resumed := _RESUMED.match(line)) is not None:
            line = begun.pop(resumed[1]) + resumed[2]
        found = _LINE.match(line)
        if found is not None and (int(found[3]) >= 0 or line.endswith("(INJECTED)")):
            yield found[1], found[2], int(found[3])


def _decoded(text: str) -> bytes:
    return codecs.escape_decode(text.encode())[0]
