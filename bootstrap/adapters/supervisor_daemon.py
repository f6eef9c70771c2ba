"""The process that keeps the gateway running where there is no systemd.

    python -m bootstrap.adapters.supervisor_daemon SPEC STATE_FOLDER LIMITS

Started by `bootstrap.adapters.supervisor`, detached from every terminal. SIGHUP restarts the
gateway at once, SIGTERM stops it and ends this process, a second SIGTERM cuts the waiting short.
Reads the spec and the env file anew at each start of the gateway. Writes no secret anywhere: the
env file's values go into the gateway's environment and nowhere else.
"""

import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootstrap.adapters.dotenv import read_env_file
from bootstrap.adapters.process_identity import ProcessIdentity
from bootstrap.adapters.supervisor_log import RotatingLog
from bootstrap.adapters.supervisor_state import (
    ALREADY_SUPERVISED,
    BACKOFF,
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
from bootstrap.domain.errors import LabError
from bootstrap.domain.secret import Secret

_PR_SET_PDEATHSIG = 1  # prctl(2)
_INHERITED = ("PATH", "HOME", "LANG")
_READ_BYTES = 65536
_MOST_DOUBLINGS = 16
_libc = ctypes.CDLL(None)


class _CannotStart(Exception):
    """The gateway cannot be started now; the text says why, without any value of a file."""


class Supervisor:
    """Starts the gateway, starts it again when it ends, and stops it when told.

    Args:
        spec: The JSON file that `supervisor/service.json.j2` renders.
        state_dir: Where the status file and the log are.
        limits: How patient to be.
    """

    def __init__(self, spec: Path, state_dir: Path, limits: Limits) -> None:
        self._spec = spec
        self._status = state_dir / STATUS_FILE
        self._limits = limits
        self._log = RotatingLog(state_dir / LOG_FILE, limits.log_bytes)
        self._me = ProcessIdentity.own()
        self._child: subprocess.Popen[bytes] | None = None
        self._child_identity: ProcessIdentity | None = None
        self._output, self._output_end = _pipe()
        self._started_at = 0.0
        self._next_start: float = 0.0
        self._kill_at: float | None = None
        self._failures = 0
        self._stopping = False
        self._restarting = False
        self._restarts_done = 0

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; on return the gateway has ended."""
        wakeup, wakeup_end = _pipe()
        os.set_blocking(wakeup_end, False)
        signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
        for handled in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(handled, lambda *_: None)
        while self._advance():
            ready, _, _ = select.select([self._output, wakeup], [], [], self._pause())
            self._copy_output()
            if wakeup in ready:
                for number in os.read(wakeup, _READ_BYTES):
                    self._obey(number)
        while self._copy_output():
            pass
        self._say(STOPPED, "")

    def _advance(self) -> bool:
        """Do what is due; return False once there is nothing left to do."""
        now = time.monotonic()
        if self._child is not None and _has_ended(self._child.pid):
            self._bury(self._child, now)
        if self._child is not None and self._kill_at is not None and now >= self._kill_at:
            self._kill_at = None
            self._note("it did not stop in time and is killed")
            self._child.kill()
        if self._child is None:
            if self._stopping:
                return False
            if now >= self._next_start:
                self._start(now)
        return True

    def _pause(self) -> float | None:
        """Return how many seconds may pass before something is due, or None for any number."""
        due = self._next_start if self._child is None else self._kill_at
        return None if due is None else max(0.0, due - time.monotonic())

    def _obey(self, number: int) -> None:
        now = time.monotonic()
        if number in (signal.SIGTERM, signal.SIGINT):
            if self._stopping:
                self._kill_at = now
            self._stopping = True
            self._say(STOPPING, "")
            self._end_child(now)
        elif number == signal.SIGHUP and not self._stopping:
            self._restarting = True
            self._failures = 0
            self._next_start = now
            self._end_child(now)

    def _end_child(self, now: float) -> None:
        if self._child is not None and self._kill_at is None:
            self._kill_at = now + self._limits.stop_s
            self._child.terminate()

    def _start(self, now: float) -> None:
        self._say(STARTING, "")
        done = int(self._restarting)
        self._restarting = False
        self._restarts_done += done
        try:
            self._child = _start_child(self._spec, self._output_end)
        except _CannotStart as problem:
            self._back_off(str(problem), now)
            return
        self._started_at = now
        self._child_identity = ProcessIdentity.of(self._child.pid)
        self._note(f"started as process {self._child.pid}")
        self._say(RUNNING, "")

    def _bury(self, child: "subprocess.Popen[bytes]", now: float) -> None:
        # What it left behind goes too. As long as it is not waited for, its number is not given
        # out again, so the group is surely its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
        how = f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
        self._child = self._child_identity = self._kill_at = None
        if self._stopping or self._restarting:
            self._note(f"stopped ({how})")
            return
        if now - self._started_at >= self._limits.steady_s:
            self._failures = 0
        self._back_off(how, now)

    def _back_off(self, why: str, now: float) -> None:
        doubled = self._limits.backoff_first_s * 2 ** min(self._failures, _MOST_DOUBLINGS)
        pause = min(doubled, self._limits.backoff_most_s)
        self._failures += 1
        self._next_start = now + pause
        self._note(f"{why}; starts again in {pause:g} s")
        self._say(BACKOFF, why)

    def _copy_output(self) -> bool:
        """Move what the gateway printed into the log; return whether there was anything."""
        try:
            data = os.read(self._output, _READ_BYTES)
        except BlockingIOError:
            return False
        self._log.write(data)
        return True

    def _note(self, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._log.write(f"{stamp} keyturn: the gateway: {text}\n".encode())

    def _say(self, phase: str, detail: str) -> None:
        state = SupervisorState(
            self._me, self._child_identity, phase, detail, self._restarts_done
        )  # fmt: skip
        with suppress(OSError):  # a full disk must not end the gateway
            write_state(self._status, state)


def _start_child(spec: Path, output: int) -> "subprocess.Popen[bytes]":
    """Start the gateway with the files as they are now.

    Raises:
        _CannotStart: A file is missing or malformed, or the program cannot be run.
    """
    try:
        values: Any = json.loads(spec.read_bytes())
        argv: list[str] = values["argv"]
        program = argv[0]
        environment = clean_environment() | values["environment"]
        env_file = values["env_file"]
    except (OSError, ValueError, LookupError, TypeError):
        raise _CannotStart(f"{spec} is missing or malformed") from None
    try:
        environment |= _read_env_file(Path(env_file))
    except LabError as error:
        raise _CannotStart(str(error)) from None
    me = os.getpid()

    def die_with_me() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:  # we were killed before the kernel knew
            os._exit(1)

    try:
        return subprocess.Popen(
            argv, env=environment, cwd="/", umask=0o077, process_group=0, preexec_fn=die_with_me,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise _CannotStart(f"{program} cannot be run ({type(error).__name__})") from None


def clean_environment() -> dict[str, str]:
    """Return what a service inherits from us: nothing that redirects it, and no secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith("XDG_")
    }


def _read_env_file(path: Path) -> dict[str, str]:
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in read_env_file(path).items()
    }


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _pipe() -> tuple[int, int]:
    """Return both ends of a pipe that is never waited for when read."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    return reading, writing


def main(argv: Sequence[str]) -> int:
    """Detach, and supervise. Returns ALREADY_SUPERVISED where another supervisor is in charge."""
    spec, state_dir, limits = Path(argv[1]), Path(argv[2]), Limits.from_text(argv[3])
    os.umask(0o077)
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
