"""Signals that end this process, while `keyturn exec` is not yet the program.

Uses `_signal`, a part of the interpreter: the `signal` module takes 5 ms to load.
"""

import _signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

ENDING = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGTERM,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGALRM,
)
# What Python itself ignores from its start; a program expects the default.
IGNORED_BY_PYTHON = (_signal.SIGPIPE, _signal.SIGXFSZ)
_arrived: "list[int]" = []


def end_on_signals() -> None:
    """From now on a signal that would end this process raises Interrupted, so children end too.

    What was ignored when we were started (`nohup`) stays ignored.
    """
    if not any(_signal.getsignal(number) is _interrupt for number in ENDING):
        _arrived.clear()
    for number in ENDING:
        if _signal.getsignal(number) in (_signal.SIG_DFL, _signal.default_int_handler):
            _signal.signal(number, _interrupt)


def _interrupt(number: int, frame: object) -> "NoReturn":
    from bootstrap.domain.base_errors import Interrupted

    # Where Python runs a callback of its own, as importing does, it ignores what is raised, and
    # says so; then `raise_what_arrived` raises it again.
    _arrived.append(number)
    sys.unraisablehook = _complain
    raise Interrupted(number)


def _complain(ignored: "sys.UnraisableHookArgs") -> None:
    if getattr(ignored.exc_value, "signal_number", None) is None:
        sys.__unraisablehook__(ignored)


def restore_signals() -> None:
    """Give signals that we handle, and those that Python ignores, their default action.

    While that happens none is delivered, so that none falls between our handler and the default.

    Raises:
        Interrupted: One arrived before.
    """
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ENDING)
    try:
        for number in ENDING:
            if _signal.getsignal(number) is _interrupt:
                _signal.signal(number, _signal.SIG_DFL)
        for number in IGNORED_BY_PYTHON:
            _signal.signal(number, _signal.SIG_DFL)
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
    raise_what_arrived()


def raise_what_arrived() -> None:
    """Raise Interrupted where a signal has arrived and Python ignored what that raised."""
    if _arrived:
        from bootstrap.domain.base_errors import Interrupted

        raise Interrupted(_arrived[0])
