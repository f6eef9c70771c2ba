"""Every module of tests is in one of the parts that processes run side by side."""

from pathlib import Path

import pytest

from support.homes import REPOSITORY
from support.parts import modules_below, part_of

MODULES = modules_below(REPOSITORY / "tests")


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_the_parts_are_all_there_is_and_nothing_twice(parts: int) -> None:
    assert Path(__file__) in MODULES
    found = [path for n in range(parts) for path in part_of(MODULES, f"{n + 1}/{parts}")]
    assert sorted(found) == list(MODULES)


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b"])
def test_what_is_no_part_is_refused(part: str) -> None:
    with pytest.raises(ValueError, match=r"part|int|unpack"):
        part_of(MODULES, part)
