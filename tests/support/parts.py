"""Which modules of tests one of several processes runs."""

from collections.abc import Mapping
from pathlib import Path


def part_of(weights: Mapping[Path, int], part: str) -> list[Path]:
    """Share modules out, the heaviest first, each to the part that has least; return one part.

    Args:
        weights: How long each module may take, in any unit.
        part: Which one, as `N/M`: the Nth of M.

    Raises:
        ValueError: The part is spelled otherwise, or there is no such part.
    """
    number, parts = map(int, part.split("/"))
    if not 1 <= number <= parts:
        raise ValueError(f"no part {part}")
    shares: list[list[Path]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for path in sorted(weights, key=lambda path: (-weights[path], path)):
        least = loads.index(min(loads))
        shares[least].append(path)
        loads[least] += weights[path]
    return shares[number - 1]
