"""Versions of programs, as their packages give them."""

import pytest

from bootstrap.domain.versions import as_numbers


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.1.197", (2, 1, 197)), ("2.1-beta", ()), ("", ()), ("1.\u00b2", ()), ("1..2", ())],
)
def test_a_version_is_numbers_or_nothing(version: str, numbers: tuple[int, ...]) -> None:
    assert as_numbers(version) == numbers
