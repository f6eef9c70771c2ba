"""One process of the gateway under our supervisor: how it is started, heard and ended."""

import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bootstrap.adapters.dotenv import read_env_file
from bootstrap.adapters.paths import is_void, without_waiting
from bootstrap.adapters.process_identity import ProcessIdentity
from bootstrap.adapters.supervisor_log import RotatingLog
from bootstrap.domain.errors import LabError
from bootstrap.domain.secret import Secret

FIRST_FD = 3  # sd_listen_fds(3)
_PR_SET_PDEATHSIG = 1  # prctl(2)
_INHERITED = ("PATH", "HOME", "LANG")
_READ_BYTES = 65536
# Only the process itself knows its number before the program that must be told it begins.
_TELL_PID = 'export LISTEN_PID=$$; exec "$@"'
_libc = ctypes.CDLL(None)


class CannotStart(Exception):
    """The gateway cannot be started now; the text says why, without any value of a file."""


@dataclass(frozen=True)
class Spec:
    """What `supervisor/service.json.j2` renders.

    Attributes:
        argv: The program and its arguments.
        env_file: Where its secrets are.
        environment: Its other variables.
        listen: The address that the supervisor opens for it, for example `127.0.0.1:4000`; the
            program then says when it is ready. None where it opens its port itself.
    """

    argv: tuple[str, ...]
    env_file: Path
    environment: dict[str, str]
    listen: str | None

    @classmethod
    def read(cls, path: Path) -> "Spec":
        """Return what the file at `path` says.

        Raises:
            CannotStart: It is missing or malformed.
        """
        try:
            with open(path, "rb", opener=without_waiting) as file:
                values: Any = json.load(file)
            argv, environment = tuple(values["argv"]), dict(values["environment"])
            listen = values.get("listen")
            if not argv or not isinstance(listen, str | None):
                raise ValueError
            return cls(argv, Path(values["env_file"]), environment, listen)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise CannotStart(f"{path} is missing or malformed") from None


class Notices:
    """Where processes say READY=1, as sd_notify(3) does."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind("")  # the kernel picks a name outside of the file system
        self.address = "@" + self.socket.getsockname()[1:].decode()

    def ready(self) -> set[int]:
        """Return the processes that have said that they are ready since the last call."""
        found = set()
        with suppress(BlockingIOError):
            while True:
                data, rows, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(12))
                for _, kind, sender in rows:
                    if kind == socket.SCM_CREDENTIALS and b"READY=1" in data.split(b"\n"):
                        found.add(struct.unpack("3i", sender)[0])
        return found


class Child:
    """A running process of the gateway.

    Args:
        spec: What to run.
        listener: The socket to pass to it as descriptor 3, or None.
        notices: Where it says that it is ready.
        log: Where its output goes.

    Attributes:
        identity: The process.
        ready: Whether it answers requests, as far as anybody can know.
        started_at: time.monotonic() of its start.
        kill_at: When it is killed unless it has ended; None for never.

    Raises:
        CannotStart: Its env file cannot be read, or its program not be run.
    """

    def __init__(
        self, spec: Spec, listener: socket.socket | None, notices: Notices, log: RotatingLog
    ) -> None:
        self.log = log
        self.ready = listener is None
        self.started_at = time.monotonic()
        self.kill_at: float | None = None
        # Our own copy of the other end stays open: else a program that closes its output would
        # make this one readable for ever.
        self.output, self._output_end = pipe()
        try:
            self._process = _start(spec, listener, notices, self._output_end)
        except BaseException:
            self._close_output()
            raise
        self.pid = self._process.pid
        self.identity = ProcessIdentity.of(self.pid)

    def copy_output(self) -> bool:
        """Move what it printed into its log; return whether there was anything."""
        try:
            data = os.read(self.output, _READ_BYTES)
        except BlockingIOError:
            return False
        self.log.write(data)
        return True

    def end(self, now: float, patience_s: float) -> None:
        """Ask it to end, and have it killed when it takes longer than `patience_s`."""
        if self.kill_at is None or self.kill_at > now + patience_s:
            self.kill_at = now + patience_s
        # Not by Popen, which waits for a process that it finds ended: `bury` would miss it then.
        os.kill(self.pid, signal.SIGTERM)
        os.kill(self.pid, signal.SIGCONT)  # one that somebody stopped has to see it

    def kill(self) -> None:
        """Kill it."""
        self.kill_at = None
        os.kill(self.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Tell whether it has ended; `bury` must follow."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def bury(self) -> str:
        """End what it left behind, and return how it ended."""
        # As long as it is not waited for, its number is not given out again, so the group is
        # surely its own.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        while self.copy_output():
            pass
        self._close_output()
        return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"

    def _close_output(self) -> None:
        os.close(self.output)
        os.close(self._output_end)


def _start(
    spec: Spec, listener: socket.socket | None, notices: Notices, output: int
) -> "subprocess.Popen[bytes]":
    """Start the process with the files as they are now."""
    try:
        environment = clean_environment() | spec.environment | _read_env_file(spec.env_file)
    except LabError as error:
        raise CannotStart(str(error)) from None
    argv = spec.argv
    kept: tuple[int, ...] = ()
    if listener is not None:
        if not os.access(argv[0], os.X_OK):
            raise CannotStart(f"{argv[0]} cannot be run (it is missing or no program)")
        argv, kept = ("/bin/sh", "-c", _TELL_PID, "sh", *argv), (FIRST_FD,)
        environment |= {"LISTEN_FDS": "1", "NOTIFY_SOCKET": notices.address}
    me = os.getpid()

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != me:  # we were killed before the kernel knew
            os._exit(1)
        if listener is not None:
            os.dup2(listener.fileno(), FIRST_FD)

    try:
        return subprocess.Popen(
            argv, env=environment, cwd="/", umask=0o077, process_group=0, preexec_fn=prepare,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=kept,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise CannotStart(f"{spec.argv[0]} cannot be run ({type(error).__name__})") from None


def open_listener(address: str) -> socket.socket:
    """Return a socket that listens at `address`, `127.0.0.1:4000` or `[::1]:4000`.

    Raises:
        CannotStart: Another program holds it, or it is no address of this machine.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((host.strip("[]"), int(port)))
        opened.listen(socket.SOMAXCONN)
    except (OSError, ValueError, OverflowError) as error:
        opened.close()
        raise CannotStart(f"{address} cannot be opened ({type(error).__name__})") from None
    return opened


def reserve_first_fd() -> None:
    """Keep descriptor 3 from being anything that a child must not lose when it gets its socket."""
    with suppress(OSError):
        os.fstat(FIRST_FD)
        return
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    if null != FIRST_FD:
        os.dup2(null, FIRST_FD, inheritable=False)
        os.close(null)


def clean_environment() -> dict[str, str]:
    """Return what a service inherits from us: nothing that redirects it, and no secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or (name.startswith("XDG_") and not is_void(name, value))
    }


def _read_env_file(path: Path) -> dict[str, str]:
    return {
        name: value.reveal() if isinstance(value, Secret) else value
        for name, value in read_env_file(path).items()
    }


def pipe() -> tuple[int, int]:
    """Return both ends of a pipe that is never waited for when read."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    return reading, writing


def wakeup_by_signals(numbers: Iterable[signal.Signals]) -> int:
    """Return a descriptor from which the numbers of the signals that arrive can be read."""
    wakeup, end = pipe()
    os.set_blocking(end, False)
    signal.set_wakeup_fd(end, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return wakeup
