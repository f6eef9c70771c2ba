"""Run a program to its end as if it had replaced this process.

It has our process group, terminal and standard streams; what a signal or Ctrl-Z does to us it does
to the program; our exit status, or the signal that we end by, is the program's. If we are killed,
it is killed. For the few runs that leave something to be done afterwards; every other run becomes
the program (`bootstrap.adapters.become`).
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

from bootstrap.adapters.become import become
from bootstrap.domain.errors import LabError
from bootstrap.domain.secret import Secret

_prctl = ctypes.CDLL(None).prctl  # looked up here, since a fork is no place to load anything
_PR_SET_PDEATHSIG = 1
_LOOK_AGAIN_S = 1.0
_SI_KERNEL = 0x80
_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGWINCH,
)
_WAITED_FOR = frozenset((*_FORWARDED, signal.SIGCHLD))
# A terminal sends these to the whole process group: the program has had them from there.
_FROM_TERMINAL = frozenset(
    (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP, signal.SIGWINCH, signal.SIGCONT)
)


def supervise(
    argv: Sequence[str], environment: Mapping[str, str], issued: tuple[Secret, ...] = ()
) -> int:
    """Run the program and return its exit status; minus N where signal N ended it.

    Args:
        argv: The program and its arguments.
        environment: Its variables.
        issued: Keys made for it; of no use here, since nothing it prints is looked at.

    Raises:
        LabError: The program cannot be run, with the exit code that `become` gives it.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # a warning that nobody takes is no reason not to run it
            stream.flush()
    reader, writer = os.pipe()  # an exec closes it: then the program runs
    # Ours until it is put back. SIGCHLD must have an effect, else the kernel takes the status.
    child_handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
    try:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, child_handler)
            _start(argv, environment, parent, writer, mask)
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            problem = pipe.read()
        if problem:
            os.waitpid(pid, 0)
            code, what, why, fix = json.loads(problem)
            error = LabError(what, why=why, fix=fix)
            error.exit_code = code
            raise error
        return _wait(pid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGCHLD, child_handler)


def with_secrets(environment: Mapping[str, str], secrets: Mapping[str, Secret]) -> dict[str, str]:
    """Return the variables and those that carry a key, for a program that is given it."""
    return {**environment, **{name: secret.reveal() for name, secret in secrets.items()}}


def end_like(status: int) -> int:
    """End by the signal that `status` (of `supervise`) names; return it where there is none."""
    if status >= 0:
        return status
    number = -status
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))  # the program wrote one, if any
    with suppress(OSError, ValueError):
        signal.signal(number, signal.SIG_DFL)  # not possible, nor needed, for SIGKILL
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    return 128 + number  # the first process of a container does not die of its own signals


def _start(
    argv: Sequence[str],
    environment: Mapping[str, str],
    parent: int,
    writer: int,
    mask: set[int | signal.Signals],
) -> NoReturn:
    """Become the program in the forked process, or say through the pipe why not."""
    try:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it was killed before we said that we die with it
            os.kill(os.getpid(), signal.SIGKILL)
        for number in _FORWARDED:  # as exec does: what comes before it must not run our handlers
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        become(argv, environment)
    except LabError as error:
        os.write(writer, json.dumps([error.exit_code, error.what, error.why, error.fix]).encode())
    finally:
        os._exit(125)


def _wait(pid: int) -> int:
    while True:
        # Where there is another thread, the kernel may give it the one SIGCHLD that we wait for.
        found = signal.sigtimedwait(_WAITED_FOR, _LOOK_AGAIN_S)
        if found is not None and found.si_signo != signal.SIGCHLD:
            if found.si_code != _SI_KERNEL or found.si_signo not in _FROM_TERMINAL:
                _send(pid, found.si_signo)
            continue
        ended, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
        if not ended:
            continue
        if os.WIFSTOPPED(status):
            # Whoever started us must see the job stop, and continues both of us.
            os.kill(os.getpid(), signal.SIGSTOP)
            _send(pid, signal.SIGCONT)
            continue
        return os.waitstatus_to_exitcode(status)


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
