"""The write-ahead note of a rotation: JSON lines, 0600, on disk before the next step begins."""

import json
import os
from pathlib import Path, PurePath

from bootstrap.adapters.trust import real_path
from bootstrap.domain.errors import RecoveryNeededError, TargetError
from bootstrap.domain.rotation import Record

_FILE = "rotation.journal"


class FileJournal:
    """The journal of one lab. Callers hold the lab's lock.

    Args:
        folder: The lab's state folder.
    """

    def __init__(self, folder: PurePath) -> None:
        self._path = Path(folder) / _FILE

    def records(self) -> list[Record]:
        """Return the lines of the last rotation; empty where there was none.

        A last line that was cut off by a crash is left out: its step had not been done.

        Raises:
            RecoveryNeededError: The journal is damaged elsewhere.
        """
        try:
            lines = real_path(self._path).read_text("utf-8").split("\n")
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError):
            raise self._damaged() from None
        whole = lines[:-1]
        try:
            return [Record.from_dict(json.loads(line)) for line in whole if line]
        except (ValueError, KeyError, TypeError):
            raise self._damaged() from None

    def begin(self, record: Record) -> None:
        """Start a new journal with `record`; the one before it is replaced."""
        temporary = self._path.with_name(f".{_FILE}.tmp")
        temporary.unlink(missing_ok=True)
        self._append(temporary, record, os.O_EXCL)
        try:
            temporary.replace(self._path)
            self._sync_folder()
        except OSError as error:
            raise self._unwritable(error) from None

    def add(self, record: Record) -> None:
        """Add a line, on disk before this returns."""
        self._cut_torn_line()
        self._append(self._path, record, 0)

    def _append(self, path: Path, record: Record, flags: int) -> None:
        line = json.dumps(record.to_dict(), sort_keys=True).encode() + b"\n"
        try:
            handle = os.open(
                path,
                os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | flags,
                0o600,
            )
            with os.fdopen(handle, "wb") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._unwritable(error) from None

    def _cut_torn_line(self) -> None:
        try:
            data = self._path.read_bytes()
            end = data.rfind(b"\n") + 1
            if end != len(data):
                os.truncate(self._path, end)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unwritable(error) from None

    def _sync_folder(self) -> None:
        handle = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _unwritable(self, error: OSError) -> TargetError:
        return TargetError(
            f"{self._path} cannot be written",
            why=os.strerror(error.errno or 0).lower(),
            fix=f"make room and rights there: df -h {self._path.parent}",
        )

    def _damaged(self) -> RecoveryNeededError:
        return RecoveryNeededError(
            f"the journal {self._path} cannot be read",
            why="it is damaged, so the state of the last rotation is not known",
            fix="keyturn check shows what is in force; move the journal away, then: keyturn apply",
        )
