"""Something that has to happen when a program has ended, however it and we ended.

A process of its own waits for the end of this one: a pipe tells it, which the kernel closes even
where this process is killed with SIGKILL. It is in no process group, session or terminal of ours,
so that what ends all of these does not end it.
"""

import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

PATIENCE_S = 10.0
_FAILED = 1
_PATIENT = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)


@contextmanager
def afterwards(action: Callable[[], None]) -> Iterator[None]:
    """Do `action` when the block ends, or when this process does, in whatever way.

    It runs in a fork of this process, as it is now, and must be safe to repeat. The way out of the
    block waits for it, for PATIENCE_S at most; after that it goes on by itself. Where that process
    cannot do it, this one tries.
    """
    reader, writer = os.pipe()  # closed by an exec
    done, doing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _wait_and_do(reader, doing, (writer, done), action)
    os.close(reader)
    os.close(doing)
    os.read(done, 1)  # from here on nothing that ends us ends it
    try:
        yield
    finally:
        os.close(writer)
        ended, _, _ = select.select([done], [], [], PATIENCE_S)
        os.close(done)
        if ended and os.waitstatus_to_exitcode(_reap(pid)) != 0:
            action()


def _wait_and_do(
    reader: int, doing: int, theirs: tuple[int, ...], action: Callable[[], None]
) -> NoReturn:
    """Never return: whoever called `afterwards` must not run twice."""
    code = _FAILED
    with suppress(BaseException):
        for end in theirs:
            os.close(end)
        os.setsid()
        for number in _PATIENT:
            signal.signal(number, signal.SIG_IGN)
        _let_go()
        os.write(doing, b".")
        while os.read(reader, 1):
            pass
        action()
        code = 0
    os._exit(code)


def _let_go() -> None:
    """Hold neither the terminal nor a pipe whose reader waits for its end."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    os.chdir("/")


def _reap(pid: int) -> int:
    """Return the wait status; a failure where somebody else took it."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return _FAILED << 8
