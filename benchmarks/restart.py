"""Restart the real LiteLLM under load, in several ways, and count what is lost: a markdown table.

    .venv/bin/python benchmarks/restart.py [--restarts N] [--rate N]

The load: short requests, half on a connection each and half on reused ones that ask once more
where the server closed theirs, and two clients with 4 s streams one after the other. Takes about
five minutes with the default of two restarts a row; needs root for its `systemd --user` session.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / part) for part in ("tests", ".")]

from support.load import Load, Tally, load_on
from support.real_labs import MODEL, RealLab, real_lab
from support.unit_labs import UNIT, UnitLab

HEAD = (
    "| manager | how | new connections: lost/sent | reused: lost/sent (second tries) "
    "| streams: lost/sent | longest wait | seconds a restart |"
)
NEVER = 'socket = "never"'
PAUSE_S = 3.0  # after each restart, so that one does not meet what waits for the one before


def by_apply(real: RealLab, gateway: str) -> None:
    """Change the configuration, and let keyturn put it in force."""
    real.change(gateway)
    real.lab.ok("apply")


def by_hand(real: RealLab, gateway: str) -> None:
    """Restart the unit as people do."""
    lab = real.lab
    assert isinstance(lab, UnitLab)
    lab.systemd.systemctl("restart", UNIT, check=True, timeout=300)


Way = tuple[str, str, str, Callable[[RealLab, str], None]]
WAYS: tuple[Way, ...] = (
    ("systemd", "LiteLLM opens the port itself, keyturn apply", NEVER, by_apply),
    ("systemd", "socket unit, systemctl restart by hand", "", by_hand),
    ("systemd", "socket unit, keyturn apply", "", by_apply),
    ("supervisor", "LiteLLM opens the port itself, keyturn apply", NEVER, by_apply),
    ("supervisor", "supervisor's socket, keyturn apply", "", by_apply),
)


@contextmanager
def home() -> Iterator[tuple[Path, Path]]:
    """Give an empty folder and an empty home, and live there."""
    with tempfile.TemporaryDirectory(prefix="restart-") as name:
        folder, own = Path(name, "labs"), Path(name, "home")
        folder.mkdir()
        own.mkdir(mode=0o700)
        os.environ["HOME"] = str(own)
        for name in [name for name in os.environ if name.startswith(("XDG_", "DBUS_"))]:
            del os.environ[name]
        yield folder, own


def measure(way: Way, restarts: int, rate: float) -> str:
    """Return one row of the table."""
    kind, words, gateway, restart = way
    with home() as (folder, own), real_lab(folder, own, kind, gateway) as real:
        lab, spent = real.lab, 0.0
        with load_on(lab.port, lab.key, MODEL, rate=rate) as load:
            for _ in range(restarts):
                began = time.monotonic()
                restart(real, gateway)
                spent += time.monotonic() - began
                time.sleep(PAUSE_S)
    print(f"{kind}, {words}: {load.problems()}", file=sys.stderr)
    return f"| {kind} | {words} | {_cells(load)} | {spent / restarts:.1f} |"


def _cells(load: Load) -> str:
    def lost(tally: Tally) -> str:
        return f"{tally.lost}/{tally.sent}"

    longest = max(load.fresh.longest_s, load.kept.longest_s)
    kept = f"{lost(load.kept)} ({load.kept.resets})"
    return f"{lost(load.fresh)} | {kept} | {lost(load.streams)} | {longest:.1f} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--restarts", type=int, default=2, help="restarts in each row")
    parser.add_argument("--rate", type=float, default=50.0, help="short requests a second")
    given = parser.parse_args()
    print(HEAD)
    print("|---" * (HEAD.count("|") - 1) + "|", flush=True)
    for way in WAYS:
        print(measure(way, given.restarts, given.rate), flush=True)


if __name__ == "__main__":
    main()
