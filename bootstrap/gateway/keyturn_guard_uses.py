"""Written by keyturn. Counts inside LiteLLM which key was used when, and by which program.

`keyturn-uses.json` beside the keyset holds the counts, by the first 8 digits of a key's digest:

    {"version": 1, "keys": {"3fd0aa91": {"count": 12, "last_seen": 1800000000, "refused": 0,
                            "last_refused": 0, "programs": {"claude-cli": [12, 1800000000]}}}}

No key is in it, nor anything else that a client sends but the name of its program.
`keyturn_guard.py` loads this file from its own folder.
"""

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_USES = 256
MAX_PROGRAMS = 8
MAX_BYTES = 256 * 1024
FLUSH_S = 2.0
UNNAMED = "unnamed"
# Without digits and short, so that a key which somebody sends as the name is not kept.
_PROGRAM = re.compile(r"[A-Za-z][A-Za-z_-]{0,23}")
_LATEST_USE = 4_102_444_800  # the year 2100: a later use was noted by mistake
_SETTLED_NS = 50_000_000  # more than one tick of the clock that stamps files
_FIELDS = ("count", "last_seen", "refused", "last_refused")
_UNSOUND = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_log = logging.getLogger("keyturn.guard")
# Of one key: the fields of _FIELDS, and `programs`: name -> [count, last seen].
Use = dict[str, Any]
Counts = dict[str, Use]


def read_trusted(path: Path) -> tuple[bytes, tuple[int, ...] | None]:
    """Return what a file holds, and its signature; None where a change could not be seen from it.

    Raises:
        OSError: It cannot be read, or is a symlink.
        ValueError: It is no regular file, not ours, writable by others, or too long.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise ValueError("it is no regular file of the user that LiteLLM runs as")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError("others may write it")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError("it is too long")
    recent = 0 <= time.time_ns() - found.st_ctime_ns < _SETTLED_NS
    return data, None if recent else signature(found)


def signature(found: os.stat_result) -> tuple[int, ...]:
    """Return what changes when a file does."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def program_of(agents: Sequence[str]) -> str:
    """Return the program that a User-Agent names, without its version."""
    name = re.split(r"[/ ]", agents[0][:64], maxsplit=1)[0] if agents else ""
    return name if _PROGRAM.fullmatch(name) else UNNAMED


def add_use(counts: Counts, fingerprint: str, use: Mapping[str, Any]) -> None:
    """Add the counts of `use` to those of a fingerprint, and keep the later times."""
    added = {field: int(use.get(field, 0)) for field in _FIELDS}
    named = {str(name): (int(row[0]), int(row[1])) for name, row in use.get("programs", {}).items()}
    mine = counts.setdefault(fingerprint, {**dict.fromkeys(_FIELDS, 0), "programs": {}})
    for field, value in added.items():
        mine[field] = max(mine[field], value) if "last" in field else mine[field] + value
    programs = mine["programs"]
    for name, (count, last) in named.items():
        before = programs.get(name, (0, 0))
        programs[name] = [before[0] + count, max(before[1], last)]
    if len(programs) > MAX_PROGRAMS:
        kept = sorted(programs, key=lambda name: programs[name][1])[-MAX_PROGRAMS:]
        mine["programs"] = {name: programs[name] for name in kept}


def latest(counts: Counts) -> Counts:
    """Return the MAX_USES entries that were seen last."""
    oldest_first = sorted(
        counts, key=lambda f: max(counts[f]["last_seen"], counts[f]["last_refused"])
    )
    return {fingerprint: counts[fingerprint] for fingerprint in oldest_first[-MAX_USES:]}


def last_use(uses_file: Path) -> float:
    """Return when the last noted use was, so that a clock set back since then is not believed."""
    with contextlib.suppress(*_UNSOUND):
        rows = json.loads(read_trusted(uses_file)[0])["keys"].values()
        times = [int(row.get(name, 0)) for row in rows for name in ("last_seen", "last_refused")]
        seen = 1.0 + max(at for at in times if at < _LATEST_USE)
        if seen > time.time() + 60:
            _log.warning("keyturn: the clock is behind %s, whose times count instead", uses_file)
        return seen
    return 0.0


class Uses:
    """How often and when each known key was used, by the first 8 digits of its digest.

    Written at most every FLUSH_S seconds and at exit, by adding to what the file holds, so that
    several workers share it. A process that a signal ends at once (uvicorn's way) can lose the
    counts of its last FLUSH_S seconds. Nothing in here raises.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._counts: Counts = {}
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, digest: str, now: float, program: str = UNNAMED, *, accepted: bool) -> None:
        """Count one request with a known key; one that is past its time counts as refused."""
        fields = ("count", "last_seen") if accepted else ("refused", "last_refused")
        use: Use = dict(zip(fields, (1, int(now)), strict=True))
        add_use(self._counts, digest[:8], {**use, "programs": {program: (1, int(now))}})
        self._arm()

    def flush(self) -> None:
        """Write what was counted since the last time; keep it where that fails."""
        self._timer, self._due = None, time.monotonic() + FLUSH_S
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            with _locked(self._path.parent):
                self._write(counts)
        except (OSError, ValueError):
            self._counts = latest(counts)
            self._arm()

    def _arm(self) -> None:
        if self._timer is None:
            with contextlib.suppress(RuntimeError):  # no event loop: the exit writes it
                wait = max(0.0, self._due - time.monotonic())
                self._timer = asyncio.get_running_loop().call_later(wait, self.flush)

    def _write(self, counts: Counts) -> None:
        total: Counts = {}
        with contextlib.suppress(*_UNSOUND):
            for fingerprint, use in json.loads(read_trusted(self._path)[0])["keys"].items():
                add_use(total, fingerprint, use)
        for fingerprint, use in counts.items():
            add_use(total, fingerprint, use)
        text = json.dumps({"version": 1, "keys": latest(total)})
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        temporary.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
            file.write(text)
        temporary.replace(self._path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other workers; never waits, since all requests would wait too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
