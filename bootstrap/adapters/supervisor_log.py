"""The gateway's log where no journal keeps it: two files of bounded size, 0600."""

import os
from collections import deque
from contextlib import suppress
from pathlib import Path

from bootstrap.adapters.paths import without_waiting

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


def open_log(path: Path) -> int:
    """Return a descriptor that appends to `path`, made 0600 whatever it was.

    Raises:
        OSError: It cannot be opened.
    """
    descriptor = os.open(path, _FLAGS, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


class RotatingLog:
    """Appends to a file, and puts it aside as `NAME.1` once it is full.

    A log that cannot be written (disk full, folder gone) loses lines instead of stopping the
    gateway.

    Args:
        path: The file.
        most_bytes: Its size limit.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most = most_bytes

    def write(self, data: bytes) -> None:
        """Append `data`."""
        with suppress(OSError):
            descriptor = open_log(self._path)
            try:
                size = os.fstat(descriptor).st_size
                if size and size + len(data) > self._most:
                    older(self._path).unlink(missing_ok=True)
                    self._path.replace(older(self._path))
                    fresh = open_log(self._path)
                    os.close(descriptor)
                    descriptor = fresh
                os.write(descriptor, data)
            finally:
                os.close(descriptor)

    def take_in(self, path: Path) -> None:
        """Append what another log holds, which stays as it is."""
        with suppress(OSError), open(path, "rb", opener=without_waiting) as file:
            self.write(file.read())


def older(path: Path) -> Path:
    """Return where the log that `path` replaced is kept."""
    return path.with_name(f"{path.name}.1")


def last_lines(path: Path, most: int) -> list[str]:
    """Return the last lines of the log at `path` and the older one; empty where there is none."""
    lines: deque[str] = deque(maxlen=most)
    for file in (older(path), path):
        with (
            suppress(OSError),
            open(file, encoding="utf-8", errors="replace", opener=without_waiting) as text,
        ):
            lines.extend(line.rstrip("\n") for line in text)
    return list(lines)
