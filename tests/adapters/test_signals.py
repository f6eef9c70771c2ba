"""The first termination signal raises, later ones wait, and handlers are put back."""

import signal
import threading
from collections.abc import Iterator

import pytest

from bootstrap.adapters.signals import SIGNALS, termination_raises
from bootstrap.domain.errors import Interrupted


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """Every test leaves the handlers as it found them, and starts from the defaults."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    after = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        signal.signal(number, handler)
    assert after == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_termination_signal_becomes_an_exception(number: signal.Signals) -> None:
    with pytest.raises(Interrupted) as caught, termination_raises():
        signal.raise_signal(number)
    assert caught.value.signal_number == number


def test_undoing_runs_to_its_end_however_often_we_are_asked_to_stop() -> None:
    undone = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            for number in (*SIGNALS, *SIGNALS):
                signal.raise_signal(number)
                undone.append(number)

    with pytest.raises(Interrupted) as caught, termination_raises():
        work()
    assert len(undone) == 6
    assert caught.value.signal_number == signal.SIGTERM


def test_a_block_inside_another_does_not_raise_again() -> None:
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            with termination_raises():
                signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as caught, termination_raises():
        work()
    assert not isinstance(caught.value.__context__, Interrupted)


def test_handlers_are_put_back_after_success_and_after_failure() -> None:
    def own(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGTERM, own)
    try:
        with termination_raises():
            assert signal.getsignal(signal.SIGTERM) is not own
        assert signal.getsignal(signal.SIGTERM) is own
        with pytest.raises(ZeroDivisionError), termination_raises():
            raise ZeroDivisionError
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with termination_raises():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_the_block_has_no_effect() -> None:
    seen = []

    def run() -> None:
        with termination_raises():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
