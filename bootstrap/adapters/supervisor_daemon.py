"""The process that keeps the gateway running where there is no systemd.

    python -m bootstrap.adapters.supervisor_daemon SPEC STATE_FOLDER LIMITS

Started by `bootstrap.adapters.supervisor`, detached from every terminal. SIGHUP restarts the
gateway at once; SIGUSR1 swaps it: a fresh process takes over, and only then the old one ends.
SIGTERM stops it and ends this process, a second SIGTERM cuts the waiting short. Where the spec
names an address, this process opens it once and passes it on, so that it stays open as long as
this process runs. Reads the spec and the env file anew at each start of the gateway. Writes no
secret anywhere: the env file's values go into the gateway's environment and nowhere else.
"""

import fcntl
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bootstrap.adapters.process_identity import ProcessIdentity
from bootstrap.adapters.supervisor_child import (
    CannotStart,
    Child,
    Notices,
    Spec,
    open_listener,
    reserve_first_fd,
    wakeup_by_signals,
)
from bootstrap.adapters.supervisor_log import RotatingLog
from bootstrap.adapters.supervisor_state import (
    ALREADY_SUPERVISED,
    BACKOFF,
    FRESH_LOG_FILE,
    LOCK_FILE,
    LOG_FILE,
    RUNNING,
    STARTING,
    STATUS_FILE,
    STOPPED,
    STOPPING,
    Limits,
    SupervisorState,
    write_state,
)

_READ_BYTES = 65536
_MOST_DOUBLINGS = 16
_OBEYED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


class Supervisor:
    """Starts the gateway, starts it again when it ends, swaps it, and stops it when told.

    Args:
        spec: The JSON file that `supervisor/service.json.j2` renders.
        state_dir: Where the status file and the logs are.
        limits: How patient to be.
    """

    def __init__(self, spec: Path, state_dir: Path, limits: Limits) -> None:
        self._spec = spec
        self._status = state_dir / STATUS_FILE
        self._limits = limits
        self._log = RotatingLog(state_dir / LOG_FILE, limits.log_bytes)
        self._fresh_log = state_dir / FRESH_LOG_FILE
        self._me = ProcessIdentity.own()
        self._notices = Notices()
        self._listener: socket.socket | None = None
        self._address: str | None = None
        self._current: Child | None = None
        self._fresh: Child | None = None  # is to take over
        self._leaving: Child | None = None  # was taken over from
        self._next_start: float = 0.0
        self._failures = 0
        self._stopping = False
        self._restarting = False
        self._restarts_done = 0
        self._swap_again = False
        self._swaps_done = 0
        self._swap_failure = ""

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; on return the gateway has ended."""
        wakeup = wakeup_by_signals(_OBEYED)
        while self._advance():
            outputs = [child.output for child in self._children()]
            sources = [wakeup, self._notices.socket.fileno(), *outputs]
            ready, _, _ = select.select(sources, [], [], self._pause())
            for child in self._children():
                child.copy_output()
            self._hear()
            if wakeup in ready:
                for number in os.read(wakeup, _READ_BYTES):
                    self._obey(number)
        self._say(STOPPED, "")

    def _children(self) -> list[Child]:
        return [c for c in (self._current, self._fresh, self._leaving) if c is not None]

    def _advance(self) -> bool:
        """Do what is due; return False once there is nothing left to do."""
        now = time.monotonic()
        for child in self._children():
            if child.has_ended():
                self._bury(child, now)
            elif child.kill_at is not None and now >= child.kill_at:
                verb = "stop" if child.ready else "start"
                self._note(f"it did not {verb} in time and is killed")
                child.kill()
        if self._stopping:
            return bool(self._children())
        if self._current is None and self._fresh is None and now >= self._next_start:
            self._start(now)
        return True

    def _pause(self) -> float | None:
        """Return how many seconds may pass before something is due, or None for any number."""
        due = [child.kill_at for child in self._children() if child.kill_at is not None]
        if self._current is None and self._fresh is None and not self._stopping:
            due.append(self._next_start)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _hear(self) -> None:
        """Take notice of who is ready."""
        for pid in self._notices.ready():
            for child in self._children():
                if child.pid == pid and not child.ready:
                    child.ready, child.kill_at = True, None
                    if child is self._current and not self._stopping:
                        self._say(RUNNING, "")
                    elif child is self._fresh:
                        self._promote(child)

    def _obey(self, number: int) -> None:
        now = time.monotonic()
        if number in (signal.SIGTERM, signal.SIGINT):
            patience_s = 0.0 if self._stopping else self._limits.stop_s
            self._stopping = True
            self._say(STOPPING, "")
            for child in self._children():
                child.end(now, patience_s)
        elif self._stopping:
            return
        elif number == signal.SIGUSR1:
            self._swap(now)
        elif number == signal.SIGHUP:
            self._restart(now)

    def _restart(self, now: float) -> None:
        self._restarting = True
        self._failures = 0
        self._next_start = now
        for child in self._children():
            child.end(now, self._limits.stop_s)

    def _swap(self, now: float) -> None:
        """Start a process that takes over once it is ready."""
        if self._fresh is not None or self._leaving is not None:
            # Whoever asked first is gone, and the files may have changed since.
            self._swap_again = True
            return
        if self._current is None or self._address is None:
            self._restart(now)
            self._end_swap("")
            return
        self._fresh_log.unlink(missing_ok=True)
        try:
            self._fresh = self._new_child(RotatingLog(self._fresh_log, self._limits.log_bytes))
        except CannotStart as problem:
            self._end_swap(str(problem))
            return
        self._note(f"process {self._fresh.pid} is to take over")

    def _promote(self, fresh: Child) -> None:
        """Let the fresh process be the gateway, and the one before finish its answers."""
        old, self._current, self._fresh = self._current, fresh, None
        self._log.take_in(self._fresh_log)  # its start: what it said about its database, say
        fresh.log = self._log
        self._failures = 0
        self._note(f"process {fresh.pid} took over")
        if old is None:
            self._end_swap("")
            return
        self._leaving = old
        old.end(time.monotonic(), self._limits.stop_s)
        self._say(RUNNING, "")

    def _end_swap(self, failure: str) -> None:
        if failure:
            self._note(f"the fresh process does not take over: {failure}")
        if self._swap_again and not self._stopping:
            self._swap_again = False
            self._swap(time.monotonic())
            return
        self._swaps_done += 1
        self._swap_failure = failure
        ready = self._current is not None and self._current.ready
        self._say(STOPPING if self._stopping else RUNNING if ready else STARTING, "")

    def _new_child(self, log: RotatingLog) -> Child:
        """Start a process with the files as they are now.

        Raises:
            CannotStart: A file is missing or malformed, the port is taken, or the program cannot
                be run.
        """
        spec = Spec.read(self._spec)
        if spec.listen is not None and self._listener is None:
            self._listener = open_listener(spec.listen)
            self._address = spec.listen
        listener = self._listener if spec.listen is not None else None
        child = Child(spec, listener, self._notices, log)
        if not child.ready:
            child.kill_at = child.started_at + self._limits.ready_s
        return child

    def _start(self, now: float) -> None:
        self._restarts_done += int(self._restarting)
        self._restarting = False
        self._say(STARTING, "")
        try:
            self._current = self._new_child(self._log)
        except CannotStart as problem:
            self._back_off(str(problem), now)
            return
        self._note(f"started as process {self._current.pid}")
        self._say(RUNNING if self._current.ready else STARTING, "")

    def _bury(self, child: Child, now: float) -> None:
        how = child.bury()
        if child is self._leaving:
            self._leaving = None
            self._note(f"process {child.pid} finished its answers ({how})")
            self._end_swap("")
            return
        if child is self._fresh:
            self._fresh = None
            self._end_swap(how)
            if self._current is not None or self._stopping or self._restarting:
                return
        self._current = None
        if self._stopping or self._restarting:
            self._note(f"stopped ({how})")
            return
        if now - child.started_at >= self._limits.steady_s:
            self._failures = 0
        self._back_off(how, now)

    def _back_off(self, why: str, now: float) -> None:
        doubled = self._limits.backoff_first_s * 2 ** min(self._failures, _MOST_DOUBLINGS)
        pause = min(doubled, self._limits.backoff_most_s)
        self._failures += 1
        self._next_start = now + pause
        self._note(f"{why}; starts again in {pause:g} s")
        self._say(BACKOFF, why)

    def _note(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._log.write(f"{stamp} keyturn: the gateway: {text}\n".encode())

    def _say(self, phase: str, detail: str) -> None:
        child = self._current.identity if self._current else None
        state = SupervisorState(
            self._me, child, phase, detail, self._restarts_done, self._address,
            self._swaps_done, self._swap_failure,
        )  # fmt: skip
        with suppress(OSError):  # a full disk must not end the gateway
            write_state(self._status, state)


def main(argv: Sequence[str]) -> int:
    """Detach, and supervise. Returns ALREADY_SUPERVISED where another supervisor is in charge."""
    spec, state_dir, limits = Path(argv[1]), Path(argv[2]), Limits.from_text(argv[3])
    os.umask(0o077)
    reserve_first_fd()
    lock = os.open(state_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ALREADY_SUPERVISED
    # Whoever started us must not have to wait for us; the lock goes on in the child.
    if os.fork():
        os._exit(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the keys
    Supervisor(spec, state_dir, limits).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
