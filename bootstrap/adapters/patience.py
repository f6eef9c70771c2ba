"""Wait for a program that hangs once, however often a command has to ask it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bootstrap.adapters import process


class Patience:
    """Which command lines did not end in time; these are given no further time.

    Who asks one again is told at once what was said before, that it does not end. A program that
    would answer by then is believed to hang nevertheless, so this is for a few seconds.
    """

    def __init__(self) -> None:
        self._hung: set[tuple[str, ...]] = set()
        self._running: list[tuple[str, ...]] = []

    @contextmanager
    def asking(self, argv: Sequence[str]) -> Iterator[None]:
        """Surround a run of a program.

        Raises:
            TimeoutError: It hung before, or does so now.
        """
        words = tuple(argv)
        if words in self._hung:
            raise TimeoutError(f"{argv[0]} did not end in time before")
        self._running.append(words)
        try:
            yield
        except TimeoutError:
            self._hung.add(words)
            raise
        finally:
            self._running.remove(words)

    def lose(self) -> None:
        """Take what still runs, on behalf of somebody who has been given up, as hung."""
        self._hung.update(tuple(self._running))


@contextmanager
def waiting_once() -> Iterator[None]:
    """Remember within the block what hangs."""
    process.patience = Patience()
    try:
        yield
    finally:
        process.patience = None


def give_up_what_runs() -> None:
    """Within `waiting_once`, count as hung what a look that is over has left running."""
    if process.patience is not None:
        process.patience.lose()
