"""Signals that arrive before the program has started."""

import os
import signal
from collections.abc import Iterator

import pytest

from bootstrap.adapters.ending import ENDING, end_on_signals, restore_signals
from bootstrap.domain.errors import Interrupted


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
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
