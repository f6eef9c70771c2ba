"""For how long a key that was replaced is still accepted."""

from dataclasses import dataclass

from bootstrap.domain.duration import parse_duration

UNTIL_UNUSED = "until-unused"
# Without a request for so long a key counts as unused.
IDLE_S = 600.0
# `until-unused` alone ends after this time at the latest.
MOST_S = 86400.0
# What keyturn chooses by itself where a program is seen to hold the old key.
HELD_S = 3600.0


@dataclass(frozen=True)
class Grace:
    """How long a replaced key is accepted.

    Attributes:
        seconds: At the most; 0 for not at all. The guard enforces it.
        idle_s: It ends earlier once nobody has used the key for so many seconds; None for not.
    """

    seconds: float = 0.0
    idle_s: float | None = None


def parse_grace(text: str) -> Grace | None:
    """Return what `10m`, `0`, `until-unused` or `until-unused:8h` says; None for anything else."""
    word, colon, rest = text.partition(":")
    if word != UNTIL_UNUSED:
        seconds = parse_duration(text)
        return None if seconds is None else Grace(seconds)
    most = parse_duration(rest) if colon else MOST_S
    return Grace(most, min(IDLE_S, most)) if most else None
