"""Durations as people write them: 90s, 10m, 8h, 2d, 0."""

import re

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> float | None:
    """Return the seconds that `text` spells, or None if it is no duration."""
    parts = re.findall(r"(\d{1,9})([smhd]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(int(number) * _UNITS[unit] for number, unit in parts))


def show_duration(seconds: float) -> str:
    """Return seconds as a person says them, rounded: 45 s, 10 min, 8 h."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def show_ago(seconds: float) -> str:
    """Return how long ago something was; a clock that was set back makes it now."""
    return f"{show_duration(seconds)} ago" if seconds >= 1 else "just now"
