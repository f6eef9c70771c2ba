"""What a terminal gets: colours, and a spinner while a step runs.

Apart from `bootstrap.cli.progress`, since rich takes as long to load as a short command takes.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from rich.console import Console
from rich.text import Text

from bootstrap.cli.progress import Plain


class Terminal(Console):
    """A console that says when its reader has gone; rich would end the program instead."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise BrokenPipeError."""
        raise BrokenPipeError


class Spinner(Plain):
    """A spinner while a step runs, a tick and its time when it took long enough to matter."""

    WORTH_A_LINE_S = 0.5

    def __init__(self, console: Terminal) -> None:
        super().__init__(console)
        self._console = console

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show `text` while the block runs."""
        started = time.monotonic()
        status = self._console.status(Text(text), spinner="dots")
        try:  # around the start as well: Ctrl-C in it would leave a spinner that turns for ever
            with suppress(OSError):
                status.start()
            yield
        finally:
            with suppress(OSError):
                status.stop()
        took = time.monotonic() - started
        if took >= self.WORTH_A_LINE_S:
            line = Text.assemble(("✓ ", "green"), text, (f" {took:.1f} s", "dim"))
            self.say(line)
