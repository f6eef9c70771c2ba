"""What the guard counted: which key was used when, and by which program.

The file is written by `bootstrap/gateway/keyturn_guard_uses.py`, inside LiteLLM. A key stands there
by its fingerprint, a program by the name that its User-Agent gives, without digits: enough to find
the one that still holds an old key, and too little to hold a key.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

USES_FILE = "keyturn-uses.json"
MAX_BYTES = 256 * 1024
# How keyturn's own questions to the gateway are counted.
OURS = "keyturn"
UNNAMED = "unnamed"
_FIELDS = ("count", "last_seen", "refused", "last_refused")
_FINGERPRINT = re.compile("[0-9a-f]{8}")
_PROGRAM = re.compile(r"[A-Za-z][A-Za-z_-]{0,23}")
_LATEST = 10**12  # seconds; later ones have no date
# The year 2100: no use is noted there but by mistake, and no key may live until then for it.
_LATEST_USE = 4_102_444_800


@dataclass(frozen=True)
class ProgramUse:
    """What one program did with one key.

    Attributes:
        program: The name that it gives itself, or UNNAMED.
        count: How often it sent the key.
        last_seen: When it did so last, in seconds since 1970.
    """

    program: str
    count: int
    last_seen: int

    @property
    def requests(self) -> str:
        """How many requests, in words."""
        return "1 request" if self.count == 1 else f"{self.count} requests"


@dataclass(frozen=True)
class KeyUse:
    """How a key was used, as the guard counted. Times are seconds since 1970, 0 for never.

    Attributes:
        count: Requests that it opened.
        last_seen: When the last one of them was.
        refused: Requests refused because it was past its time.
        last_refused: When the last one of them was.
        programs: Who sent it, the latest first.
    """

    count: int = 0
    last_seen: int = 0
    refused: int = 0
    last_refused: int = 0
    programs: tuple[ProgramUse, ...] = ()

    def users(self, since: float, following: Collection[str] = ()) -> tuple[ProgramUse, ...]:
        """Return the programs that sent it after `since`, but for keyturn, the latest first.

        Args:
            since: Seconds since 1970.
            following: Names of programs that take a new key by themselves.
        """
        left_out = {OURS, *following}
        return tuple(
            use for use in self.programs if use.last_seen > since and use.program not in left_out
        )

    def last_by_others(self) -> int:
        """Return when anybody but keyturn sent it last; 0 for never."""
        if not self.programs:  # counted by an older guard, which did not tell programs apart
            return max(self.last_seen, self.last_refused)
        return max((use.last_seen for use in self.users(0)), default=0)


@dataclass(frozen=True)
class Counters:
    """All that the guard has counted.

    Attributes:
        keys: By fingerprint.
        problem: Why the counts are not known, one clause; empty where they are.
    """

    keys: Mapping[str, KeyUse] = field(default_factory=dict)
    problem: str = ""

    def of(self, fingerprint: str) -> KeyUse:
        """Return how the key was used; never, where nothing was counted."""
        return self.keys.get(fingerprint, KeyUse())


def read_counters(data: bytes) -> Counters:
    """Return what a file of counts holds, or what is wrong with it."""
    if len(data) > MAX_BYTES:
        return Counters(problem="it is too long")
    try:
        keys = json.loads(data)["keys"]
        return Counters({f: _use(use) for f, use in keys.items() if _FINGERPRINT.fullmatch(f)})
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
        return Counters(problem="it is damaged")


def last_use(data: bytes) -> float:
    """Return the latest time in a file of counts as the guard takes it at its start.

    Seconds since 1970; 0 where it believes none: a file that is damaged, or a time after 2100.
    """
    if len(data) > MAX_BYTES:
        return 0.0
    try:
        rows = json.loads(data)["keys"].values()
        times = [int(row.get(name, 0)) for row in rows for name in ("last_seen", "last_refused")]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
        return 0.0
    return float(max((at for at in times if 0 <= at < _LATEST_USE), default=0))


def _use(use: Mapping[str, Any]) -> KeyUse:
    programs = [
        ProgramUse(name if _PROGRAM.fullmatch(name) else UNNAMED, *map(_number, row[:2]))
        for name, row in use.get("programs", {}).items()
    ]
    latest_first = tuple(sorted(programs, key=lambda p: (-p.last_seen, p.program)))
    count, seen, refused, last_refused = (_number(use.get(name, 0)) for name in _FIELDS)
    return KeyUse(count, seen, refused, last_refused, latest_first)


def _number(value: Any) -> int:
    number = int(value)
    if not 0 <= number < _LATEST:
        raise ValueError("it is no count and no time")
    return number
