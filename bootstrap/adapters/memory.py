"""How much memory a further process can have here (Linux: /proc/meminfo, the cgroup's limit)."""

from contextlib import suppress
from pathlib import Path

MEBIBYTE = 1 << 20
# A LiteLLM takes 340 MiB (seen with 1.106.2); the rest is left to the machine.
FOR_SECOND = 700 * MEBIBYTE
_MEMINFO = Path("/proc/meminfo")
# In a container this is the container's own group; version 2, then version 1.
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def available() -> int | None:
    """Return how many bytes are free or can be freed without swapping; None where it is unknown."""
    known = [amount for amount in (_of_machine(), *map(_of_group, _LIMITS)) if amount is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    with suppress(OSError, ValueError):
        fields = _fields(_MEMINFO)
        return fields["MemAvailable"] * 1024 if "MemAvailable" in fields else None
    return None


def _of_group(names: tuple[str, str, str, str]) -> int | None:
    """Return what the group's limit leaves, not counting file pages that can be dropped."""
    limit, used, statistics, droppable = names
    with suppress(OSError, ValueError):  # no such group, or `max`: no limit
        most = int((_CGROUP / limit).read_text())
        now = int((_CGROUP / used).read_text())
        return most - now + _fields(_CGROUP / statistics).get(droppable, 0)
    return None


def _fields(path: Path) -> dict[str, int]:
    rows = (line.replace(":", " ").split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) > 1}


def hindrance(needed: int) -> str | None:
    """Return why a process that needs so many bytes should not be started, or None."""
    free = available()
    if free is None or free >= needed:
        return None
    have, want = free // MEBIBYTE, needed // MEBIBYTE
    return f"only {have} MiB of memory are free, and a second one needs {want}"
