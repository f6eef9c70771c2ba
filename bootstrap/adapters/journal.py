"""The write-ahead note of a rotation: JSON lines, 0600, on disk before the next step begins."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

from bootstrap.adapters.disk import read, remove, sync_folder
from bootstrap.adapters.paths import words
from bootstrap.adapters.trust import real_path
from bootstrap.domain.errors import RecoveryNeededError, TargetError
from bootstrap.domain.rotation import Record

_FILE = "rotation.journal"
# What a line that is no record raises: wrong encoding, no JSON, other values, nested too deep.
_NO_RECORD = (ValueError, KeyError, TypeError, RecursionError)


class FileJournal:
    """The journal of one lab. Callers hold the lab's lock.

    Args:
        folder: The lab's state folder.
    """

    def __init__(self, folder: PurePath) -> None:
        self._path = Path(folder) / _FILE

    def records(self) -> list[Record]:
        """Return the lines of the last rotation; empty where there was none.

        A last line that a crash cut off is left out: nothing was begun after it.

        Raises:
            RecoveryNeededError: The journal is damaged elsewhere.
        """
        real = real_path(self._path)
        try:
            found = read(self._path, real)
            lines = found[0].decode().split("\n")[:-1] if found else ()
            return [Record.from_dict(json.loads(line)) for line in lines]
        except (TargetError, OSError, *_NO_RECORD):
            raise RecoveryNeededError(
                f"the journal {self._path} cannot be read",
                why="it is damaged, so the state of the last rotation is not known",
                fix=f"put in force what the store holds: mv {self._path} {self._path}.damaged, "
                "then: keyturn apply",
            ) from None

    def begin(self, record: Record) -> None:
        """Start a new journal with `record`; the one before it is replaced."""
        temporary = self._path.with_name(f".{_FILE}.tmp")
        with self._explained():
            temporary.unlink(missing_ok=True)
            try:
                _append(temporary, record, os.O_EXCL)
                temporary.replace(self._path)
            except OSError:
                remove(temporary)
                raise
            sync_folder(self._path.parent)

    def add(self, record: Record) -> None:
        """Add a line, on disk before this returns."""
        with self._explained():
            _cut_torn_line(self._path)
            _append(self._path, record, 0)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TargetError(
                f"{self._path} cannot be written",
                why=words(error),
                fix=f"make room and rights there: df -h {self._path.parent}",
            ) from None


def _append(path: Path, record: Record, flags: int) -> None:
    line = json.dumps(record.to_dict(), sort_keys=True).encode() + b"\n"
    flags |= os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(path, flags, 0o600)
    try:
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _cut_torn_line(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1
        if end != len(data):
            os.truncate(path, end)
