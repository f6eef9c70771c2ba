"""Running programs for `keyturn scan`: the variables and arguments of this user's processes.

Linux shows the variables that a process was started with, not what a shell has exported since.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from bootstrap.domain.scan_places import Item, Kind, Place

_PROC = Path("/proc")


class ProcessHaystack:
    """Every process of this user but this one; see `workflows.scan.Haystack`."""

    label = "running programs"

    def __init__(self) -> None:
        self.left_out: list[tuple[bytes, str]] = []

    def items(self) -> Iterator[Item]:
        """Yield each variable, and each argument list."""
        for pid in _pids():
            with suppress(OSError):  # it ended meanwhile, or may not be looked into
                folder = _PROC / str(pid)
                words = (folder / "cmdline").read_bytes()
                called = (folder / "comm").read_bytes().strip()
                name = b"process %d (%s)" % (pid, called)
                yield Item(Place(Kind.ARGUMENTS, name), [words])
                for pair in (folder / "environ").read_bytes().split(b"\0"):
                    variable, _, value = pair.partition(b"=")
                    if value:
                        yield Item(Place(Kind.ENVIRONMENT, name, variable), [value])


def _pids() -> Iterator[int]:
    with suppress(OSError):
        for entry in sorted(_PROC.iterdir()):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with suppress(OSError):
                if entry.stat().st_uid == os.getuid():
                    yield int(entry.name)
