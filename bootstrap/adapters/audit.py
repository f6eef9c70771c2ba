"""The audit record in the lab's state folder: JSON lines, 0600, the latest 1000."""

import json
import os
import stat
from pathlib import Path, PurePath

from bootstrap.adapters.disk import explain, remove
from bootstrap.adapters.paths import words
from bootstrap.domain.audit import Entry
from bootstrap.domain.errors import TargetError

AUDIT_FILE = "rotations.jsonl"
MOST_LINES = 1000
_MOST_BYTES = 1 << 20


class FileAudit:
    """The record of one lab. Who adds to it holds the lab's lock.

    Args:
        folder: The lab's state folder.
    """

    def __init__(self, folder: PurePath) -> None:
        self._path = Path(folder) / AUDIT_FILE

    def entries(self) -> tuple[list[Entry], int]:
        """Return the entries, oldest first, and how many lines are not sound.

        Raises:
            TargetError: The file cannot be read, or is not ours.
        """
        lines = self._lines()
        found = [entry for entry in map(_parsed, lines) if entry is not None]
        return found, len(lines) - len(found)

    def add(self, entry: Entry) -> None:
        """Add a line, unless the last one says the same.

        Raises:
            TargetError: It cannot be written.
        """
        lines = self._lines()
        if entry.repeats(_parsed(lines[-1]) if lines else None):
            return
        kept = _latest([*lines, json.dumps(entry.to_dict()).encode()])
        temporary = self._path.with_name(f".{AUDIT_FILE}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(b"".join(line + b"\n" for line in kept))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        except OSError as error:
            remove(temporary)
            raise self._problem("written", words(error)) from None

    def _lines(self) -> list[bytes]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(self._path, flags), "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                    raise self._problem("read", "it is no regular file of yours")
                return file.read(_MOST_BYTES).splitlines()
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise explain(self._path, "read", error) from None
        except OSError as error:
            raise self._problem("read", words(error)) from None

    def _problem(self, verb: str, why: str) -> TargetError:
        fix = f"move it away, a new one is begun: mv {self._path} {self._path}.old"
        return TargetError(f"{self._path} cannot be {verb}", why=why, fix=fix)


def _latest(lines: list[bytes]) -> list[bytes]:
    """Return the last lines that are read again: at most MOST_LINES, and _MOST_BYTES of them."""
    kept = lines[-MOST_LINES:]
    size = sum(len(line) + 1 for line in kept)
    while size > _MOST_BYTES and len(kept) > 1:
        size -= len(kept.pop(0)) + 1
    return kept


def _parsed(line: bytes) -> Entry | None:
    try:
        return Entry.from_dict(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
