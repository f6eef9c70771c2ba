"""Start a program without the `subprocess` module, which takes 12 ms to load.

`bootstrap.adapters.process` is the way to run one; `bootstrap.adapters.ahead` starts one early.
"""

import _signal
import posix
import time

from bootstrap.adapters.ending import IGNORED_BY_PYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHUNK = 65536
_MOST_BYTES = 64 * 1024 * 1024
_TOO_LONG = 27  # EFBIG; the module errno has the name
_REAP_S = 5.0


def can_spawn(program: str, cwd: str | None) -> bool:
    """Tell whether `Child` can start `program`: named by a path, and to run here."""
    return cwd is None and "/" in program and hasattr(posix, "posix_spawn")


class Child:
    """A program that runs in a session of its own, once it is started.

    Making and starting it are two steps: whoever keeps it in between can end it however early a
    signal comes.

    Args:
        argv: Its path and its arguments.
        stdin: What it reads; None for nothing at all.
        env: Its variables.
    """

    __slots__ = ("_argv", "_env", "_err", "_in", "_left", "_out", "_pid", "_reads")
    _end = staticmethod(posix.killpg)

    def __init__(
        self, argv: "Sequence[str]", stdin: bytes | None, env: "Mapping[str, str]"
    ) -> None:
        self._argv, self._env = argv, env
        self._pid = 0
        self._in = self._out = self._err = -1
        self._reads, self._left = stdin is not None, memoryview(stdin or b"")

    def start(self) -> None:
        """Start it.

        Raises:
            OSError: It cannot be started.
        """
        try:
            self._spawn(self._open_pipes())
            if self._reads:
                self._feed()
        except BaseException:
            self.kill()
            raise

    def run(self, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Start it and wait for its end, see `start` and `finish`."""
        try:
            self.start()
            return self.finish(timeout_s)
        except BaseException:
            self.kill()
            raise

    def finish(self, timeout_s: float) -> tuple[int, bytes, bytes]:
        """Wait for its end; return its status (-N for signal N), output and complaints.

        Args:
            timeout_s: Seconds until it, and what it started, is killed.

        Raises:
            TimeoutError: It did not end in time.
            OSError: It printed more than 64 MiB.
        """
        deadline = time.monotonic() + timeout_s
        try:
            output = self._talk(deadline)
            return self._status(deadline), *output
        except BaseException:
            self.kill()
            raise
        finally:
            self._close()

    def kill(self) -> None:
        """End the program and its children. It holds nothing that could need tidying."""
        try:
            if self._pid:
                self._end(self._pid, _signal.SIGKILL)
                self._status(time.monotonic() + _REAP_S)
        except (ProcessLookupError, TimeoutError):
            pass
        finally:
            self._close()

    def _spawn(self, theirs: list[int]) -> None:
        # A signal between the start and our knowing the number would leave a child behind.
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        try:
            self._pid = posix.posix_spawn(
                self._argv[0],
                list(self._argv),
                self._env,
                file_actions=[(posix.POSIX_SPAWN_DUP2, end, n) for n, end in enumerate(theirs)],
                setsid=True,
                setsigmask=before,
                setsigdef=IGNORED_BY_PYTHON,
            )
        finally:
            for end in theirs:
                posix.close(end)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)  # one that waited arrives here

    def _open_pipes(self) -> list[int]:
        """Make our ends, and return the child's stdin, stdout and stderr."""
        if self._reads:
            read_in, self._in = posix.pipe()
            posix.set_blocking(self._in, False)
        else:
            read_in, self._in = posix.open("/dev/null", posix.O_RDONLY | posix.O_CLOEXEC), -1
        self._out, write_out = posix.pipe()
        self._err, write_err = posix.pipe()
        return [read_in, write_out, write_err]

    def _talk(self, deadline: float) -> tuple[bytes, bytes]:
        """Feed the child and collect what it says until it has closed both outputs."""
        import select

        said: dict[int, list[bytes]] = {end: [] for end in (self._out, self._err) if end >= 0}
        waiting = select.poll()
        for end in said:
            waiting.register(end, select.POLLIN)
        if self._in >= 0:
            waiting.register(self._in, select.POLLOUT)
        open_ends, room = len(said), _MOST_BYTES
        while open_ends:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise TimeoutError
            for end, _ in waiting.poll(remaining * 1000):
                if end == self._in:
                    waiting.unregister(end)
                    if self._feed():
                        waiting.register(end, select.POLLOUT)
                elif data := posix.read(end, _CHUNK):
                    said[end].append(data)
                    room -= len(data)
                    if room < 0:
                        raise OSError(_TOO_LONG, "it prints without an end")
                else:
                    waiting.unregister(end)
                    open_ends -= 1
        return b"".join(said[self._out]), b"".join(said.get(self._err, ()))

    def _feed(self) -> bool:
        """Write what the pipe takes; close it at the end, or where nobody reads any more."""
        try:
            self._left = self._left[posix.write(self._in, self._left) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self._left = self._left[:0]
        if self._left:
            return True
        posix.close(self._in)
        self._in = -1
        return False

    def _status(self, deadline: float) -> int:
        """Wait for the child's end, which is near: it has closed its outputs."""
        delay = 0.00001
        while True:
            try:
                ended, status = posix.waitpid(self._pid, posix.WNOHANG)
            except ChildProcessError:  # SIGCHLD is ignored here, so the kernel kept no status
                self._pid = 0
                return 0
            if ended:
                self._pid = 0
                return posix.waitstatus_to_exitcode(status)
            if time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(delay)
            delay = min(delay * 2, 0.05)

    def _close(self) -> None:
        for name in ("_in", "_out", "_err"):
            end = getattr(self, name)
            setattr(self, name, -1)
            if end >= 0:
                posix.close(end)


class StartedChild(Child):
    """A child of ours that somebody else started, in our own session, with its output in a pipe.

    Args:
        pid: Its number.
        output: Our end of the pipe, closed with it.
    """

    __slots__ = ()

    def __init__(self, pid: int, output: int) -> None:
        super().__init__((), None, {})
        self._pid, self._out = pid, output

    @staticmethod
    def _end(pid: int, number: int) -> None:
        """End it alone, if it is still ours: a shell may have reaped it, and its number be free."""
        try:
            ended, _ = posix.waitpid(pid, posix.WNOHANG)
        except ChildProcessError:
            return
        if not ended:
            posix.kill(pid, number)
