"""Durations as people write them, and times as our own files spell them."""

import math

import pytest

from bootstrap.domain.duration import as_time, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("90s", 90),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("36525d", 36525 * 86400),
    ],
)
def test_numbers_with_their_units_are_a_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1w", "-1s", "1 h", "1.5h", "soon"])
def test_anything_else_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize("text", ["36526d", "999999999d", "999999999h"])
def test_more_than_a_hundred_years_would_shut_everybody_out(text: str) -> None:
    """The guard takes no keyset with a time like that, and then lets nobody in."""
    assert parse_duration(text) is None


@pytest.mark.parametrize("value", [0, 1.5, 1_795_000_000.25])
def test_a_time_is_seconds_since_1970(value: float) -> None:
    assert as_time(value) == value


@pytest.mark.parametrize("value", [-1, 1e12, 10**400, math.nan, math.inf, "5", None, [], {"at": 5}])
def test_what_no_clock_can_show_is_no_time(value: object) -> None:
    with pytest.raises(ValueError, match="no time"):
        as_time(value)
