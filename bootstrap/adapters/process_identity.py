"""Which process a number means, told apart from a later one that got the same number.

Linux: /proc/PID/stat and /proc/sys/kernel/random/boot_id, see proc(5).
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
_MOST_PID = (1 << 22) + 1  # PID_MAX_LIMIT of Linux
_BOOT_ID = _PROC / "sys" / "kernel" / "random" / "boot_id"


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat says.

    Attributes:
        state: One letter; `Z` is a process that has ended and waits for its parent.
        parent: The parent's process id; 0 for none.
        group: The process group.
        start: When it started, in clock ticks since the machine's start.
    """

    state: str
    parent: int
    group: int
    start: int


def stat_of(pid: int) -> Stat | None:
    """Return what /proc says about a process, or None where there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes().decode(errors="replace")
    except OSError:
        return None
    # The name in the second field may hold spaces and parentheses: start after the last one.
    fields = text[text.rfind(")") + 2 :].split()
    return Stat(fields[0], int(fields[1]), int(fields[2]), int(fields[19]))


@dataclass(frozen=True)
class ProcessIdentity:
    """One process, however often its number is given out again.

    Attributes:
        pid: Its number.
        start: When it started, in clock ticks since the machine's start.
        boot: The id of that start of the machine.
    """

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Return the identity of a running process, or None if it does not run (any more)."""
        found = stat_of(pid)
        if found is None or found.state in "ZX":
            return None
        return cls(pid, found.start, _boot_id())

    @classmethod
    def own(cls) -> "ProcessIdentity":
        """Return the identity of this process.

        Raises:
            OSError: There is no /proc.
        """
        found = cls.of(os.getpid())
        if found is None:
            raise FileNotFoundError(_PROC)
        return found

    @classmethod
    def from_json(cls, value: Any) -> "ProcessIdentity | None":
        """Return the identity in a dataclass's `asdict`, or None where it is none."""
        match value:
            case {"pid": int(pid), "start": int(start), "boot": str(boot)} if 1 < pid < _MOST_PID:
                return cls(pid, start, boot)
        return None

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; no effect on any other process, nor where it has ended.

        Raises:
            PermissionError: It belongs to another user.
        """
        with suppress(ProcessLookupError):
            try:
                handle = os.pidfd_open(self.pid)
            except ProcessLookupError:
                return
            except OSError:  # a sandbox without the call: leaves some microseconds for a new owner
                if self.alive():
                    os.kill(self.pid, number)
                return
            try:
                # The handle names one process for good, so the check stays true until the signal.
                if self.alive():
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
