"""Durations as people write them: 90s, 10m, 8h, 2d, 0. Times as our own files spell them."""

import re
from typing import Any

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
# A hundred years: the guard takes no keyset whose times a clock cannot show.
_LONGEST_S = 36525 * 86400
_LATEST_S = 253402128000  # in the year 9999, in every time zone


def parse_duration(text: str) -> float | None:
    """Return the seconds that `text` spells, or None if it is none, or longer than 100 years."""
    parts = re.findall(r"(\d{1,9})([smhd]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    seconds = sum(int(number) * _UNITS[unit] for number, unit in parts)
    return float(seconds) if seconds <= _LONGEST_S else None


def as_time(value: Any) -> float:
    """Return the seconds since 1970 that a value read from a file stands for.

    Raises:
        ValueError: It is none that a clock can show.
    """
    if not isinstance(value, int | float) or not 0 <= value <= _LATEST_S:  # NaN, too
        raise ValueError("it is no time")
    return float(value)


def show_duration(seconds: float) -> str:
    """Return seconds as a person says them, rounded: 45 s, 10 min, 8 h."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def show_ago(seconds: float) -> str:
    """Return how long ago something was; a clock that was set back makes it now."""
    return f"{show_duration(seconds)} ago" if seconds >= 1 else "just now"
