"""Signals that arrive before the program has started."""

import os
import signal
import sys
import weakref
from collections.abc import Iterator

import pytest

from bootstrap.adapters import ending
from bootstrap.adapters.ending import ENDING, end_on_signals, raise_what_arrived, restore_signals
from bootstrap.domain.errors import Interrupted


@pytest.fixture(autouse=True)
def _handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(ending, "_arrived", [])
    numbers = [*ENDING, signal.SIGPIPE, signal.SIGXFSZ]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_that_would_end_us_is_an_interruption(number: int) -> None:
    end_on_signals()
    with pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.signal_number == number


def test_where_python_ignores_the_interruption_it_comes_before_the_program(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Thing:
        pass

    end_on_signals()
    thing = Thing()
    watch = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing  # its callback is interrupted, as one of an import may be
    assert watch() is None
    end_on_signals()  # forgets nothing
    for step in (raise_what_arrived, restore_signals):
        with pytest.raises(Interrupted):
            step()
    assert capsys.readouterr().err == ""
    end_on_signals()
    restore_signals()


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_on_signals()
    os.kill(os.getpid(), signal.SIGHUP)
    restore_signals()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_the_program_finds_every_handler_gone() -> None:
    end_on_signals()
    restore_signals()
    for number in (*ENDING, signal.SIGPIPE, signal.SIGXFSZ):
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_handler_that_is_not_ours_is_left_alone() -> None:
    def theirs(number: int, frame: object) -> None:
        raise AssertionError

    signal.signal(signal.SIGUSR1, theirs)
    end_on_signals()
    restore_signals()
    assert signal.getsignal(signal.SIGUSR1) is theirs
