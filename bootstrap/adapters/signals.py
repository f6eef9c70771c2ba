"""Turn termination signals into an exception, so that undoing runs."""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from bootstrap.domain.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Once:
    """A handler that raises for the first signal it gets and only takes note of later ones."""

    def __init__(self) -> None:
        self._raised = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._raised:
            self._raised = True
            raise Interrupted(number)


@contextmanager
def termination_raises() -> Iterator[None]:
    """Inside the block the first SIGINT, SIGTERM or SIGHUP raises Interrupted; later ones wait.

    Later signals must not cut off the undoing that the first one started. A signal that was
    ignored before (`nohup`) stays ignored. Handlers are put back on every way out: one left behind
    would make the process deaf. Without effect in a thread other than the main one, which gets no
    signals, and inside another such block, whose first signal counts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    once = _Once()
    before = {}
    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            # None is a handler that was not set from Python: it could not be put back.
            if handler in (None, signal.SIG_IGN) or isinstance(handler, _Once):
                continue
            before[number] = handler
            signal.signal(number, once)
        yield
    finally:
        try:
            _restore(before)
        finally:  # the first signal may have come in the middle of that
            _restore(before)


def _restore(handlers: Mapping[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
