"""How a long command says what it is doing: a spinner on a terminal, plain lines elsewhere.

Everything here goes to standard error, so that standard output stays the command's result.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from rich.console import Console
from rich.text import Text


class Terminal(Console):
    """A console that says when its reader has gone; rich would end the program instead."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


class Quiet:
    """Says nothing."""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Run the block."""
        yield

    def note(self, text: str) -> None:
        """Say nothing."""


class Plain:
    """One line when a step begins, for logs and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say `text` and run the block."""
        self.note(f"{text} …")
        yield

    def note(self, text: str) -> None:
        """Say something that stays."""
        _say(self._console, text)


class Spinner:
    """A spinner while a step runs, a tick and its time when it took long enough to matter."""

    WORTH_A_LINE_S = 0.5

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show `text` while the block runs."""
        started = time.monotonic()
        status = self._console.status(Text(text), spinner="dots")
        with suppress(OSError):
            status.start()
        try:
            yield
        finally:
            with suppress(OSError):
                status.stop()
        took = time.monotonic() - started
        if took >= self.WORTH_A_LINE_S:
            line = Text.assemble(("✓ ", "green"), text, (f" {took:.1f} s", "dim"))
            _say(self._console, line)

    def note(self, text: str) -> None:
        """Say something that stays."""
        _say(self._console, text)


def _say(console: Console, text: str | Text) -> None:
    # A reader that has gone must not stop the work in the middle.
    with suppress(OSError):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
