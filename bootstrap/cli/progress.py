"""How a long command says what it is doing: nothing, or a line for each step.

Everything here goes to standard error, so that standard output stays the command's result. For a
terminal there is `bootstrap.cli.terminal`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TextIO


class Screen(Protocol):
    """What is printed on."""

    def print(self, text: Any = "", *, markup: bool = False) -> None:
        """Print a line, and have it on its way when this returns."""


class Paper:
    """A stream that is no terminal: nothing but the text.

    Args:
        stream: Returns it, as it is when something is printed.
    """

    def __init__(self, stream: Callable[[], TextIO]) -> None:
        self._stream = stream

    def print(self, text: object = "", *, markup: bool = False) -> None:
        """Print a line; OSError where it cannot be written."""
        stream = self._stream()
        stream.write(f"{text}\n")
        stream.flush()


class Quiet:
    """Says nothing."""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Run the block."""
        yield

    def note(self, text: str) -> None:
        """Say nothing."""


class Plain:
    """One line when a step begins, for logs and CI.

    Args:
        screen: Where to.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say `text` and run the block."""
        self.note(f"{text} …")
        yield

    def note(self, text: str) -> None:
        """Say something that stays."""
        self.say(text)

    def say(self, text: object) -> None:
        """Print a line; a reader that has gone must not stop the work in the middle."""
        with suppress(OSError):
            self._screen.print(text, markup=False)
