"""Which modules of tests one of several processes runs."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path


@cache
def modules_below(folder: Path) -> tuple[Path, ...]:
    """Return all modules of tests, in the order of their paths."""
    return tuple(sorted(folder.rglob("test_*.py")))


@cache
def part_of(modules: Sequence[Path], part: str) -> frozenset[Path]:
    """Return every Mth of `modules`, beginning with the Nth, for a part spelled `N/M`.

    Neighbours, which are about the same and take about as long, come into different parts.

    Raises:
        ValueError: The part is spelled otherwise, or there is no such part.
    """
    number, parts = map(int, part.split("/"))
    if not 1 <= number <= parts:
        raise ValueError(f"no part {part}")
    return frozenset(modules[number - 1 :: parts])
