"""Every module of tests is in one of the parts that processes run side by side."""

from pathlib import Path

import pytest

from support.parts import part_of

WEIGHTS = {Path(f"test_{n}.py"): n % 7 for n in range(40)}


@pytest.mark.parametrize("parts", [1, 2, 3, 8, 50])
def test_the_parts_are_all_there_is_and_nothing_twice(parts: int) -> None:
    found = [path for n in range(parts) for path in part_of(WEIGHTS, f"{n + 1}/{parts}")]
    assert sorted(found) == sorted(WEIGHTS)


def test_they_weigh_about_the_same() -> None:
    loads = [sum(map(WEIGHTS.__getitem__, part_of(WEIGHTS, f"{n}/3"))) for n in (1, 2, 3)]
    assert max(loads) - min(loads) <= 1


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b"])
def test_what_is_no_part_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match=r"part|int|unpack"):
        part_of(WEIGHTS, part)
