"""Kill, interrupt and starve a rotation at every one of its file-changing system calls.

    python benchmarks/crash.py [--jobs 2] [--kinds kill,fail,onwards,term,int,sops,power,recover]

A real lab: real sops and age, our supervisor, the guard's keyset, other people's content in the
shared files; the gateway is the stand-in of the tests. After each point `keyturn recover` runs,
and then exactly one key must be in force, everywhere; see tests/support/crash.py. `power` takes
away what was not fsynced after each call, of a rotation that goes well and of those in which an
fsync or a rename fails, and `recover` of the recovery from a `kill -9` after each step; see
tests/support/power.py. Prints one line per kind, and every point that did not survive. Exits 1 if
there is one. Needs strace.
"""

import argparse
import collections
import itertools
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from bootstrap.domain.errors import LabError
from support import crash, homes, labs

KINDS = ("kill", "fail", "onwards", "term", "int", "sops", "power", "recover")
SOPS_CALLS = 6
SOPS_MODES = ("before", "empty", "after")
Survive = Callable[[crash.Crash], str]


def points(kind: str, lab: crash.Crash) -> Iterator[tuple[str, Survive]]:
    """Yield a name and a way to survive it for every point of one kind."""
    if kind == "sops":
        rows = itertools.product(range(1, SOPS_CALLS + 1), SOPS_MODES, (True, False))
        for at, mode, alone in rows:
            name = f"sops call {at} dies {mode}{'' if alone else ', keyturn too'}"
            yield (
                name,
                lambda c, at=at, mode=mode, alone=alone: c.survive_sops(at, mode, alone=alone),
            )
        return
    if kind == "power":
        yield from power_failures(lab)
        return
    calls = lab.calls()
    if kind == "recover":
        yield from recoveries(lab, calls)
        return
    if kind == "fail":
        found = crash.failures(calls)
    elif kind == "onwards":
        found = (
            crash.Point(call, f"error={error}", onwards=True)
            for call in calls
            for error in crash.FAILURES.get(call.name, ())
            if call.name in ("fsync", "rename", "link")
        )
    else:
        found = crash.signals(calls, kind.upper())
    for point in found:
        yield str(point), lambda c, point=point: c.survive(point)


def power_failures(lab: crash.Crash) -> Iterator[tuple[str, Survive]]:
    """Yield the power failures of a good rotation, and those after each failure of others."""
    syncs = [call for call in lab.calls() if call.name in ("fsync", "rename", "renameat2")]
    for point in (None, *(crash.Point(call, "error=EIO") for call in syncs)):
        failures = lab.power_failures(point)
        for state in failures.states:
            if point is None or state.failed:
                yield f"{point}: {state.at}", lambda c, f=failures, s=state: f.survive(s)


def recoveries(lab: crash.Crash, calls: list[crash.Call]) -> Iterator[tuple[str, Survive]]:
    """Yield the power failures of every recovery of a rotation that was killed after a step."""
    for call in crash.steps(calls):
        failures = lab.power_failures_of_recovery(crash.Point(call, "signal=KILL"))
        for state in failures.states:
            yield f"{call}: {state.at}", lambda c, f=failures, s=state: f.survive(s)


def run(job: tuple[str, int, int]) -> tuple[str, collections.Counter[str], list[str]]:
    """Try every `count`th point of a kind, from number `part` on, in a lab of its own."""
    kind, part, count = job
    statuses: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="keyturn-crash-") as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        for name in [name for name in os.environ if homes.is_foreign(name)]:
            del os.environ[name]
        os.environ["HOME"] = str(home)
        with labs.stopped_after(crash.make(Path(folder), home)) as made:
            lab = crash.Crash(made)
            for name, survive in itertools.islice(points(kind, lab), part, None, count):
                try:
                    statuses[survive(lab)] += 1
                except (AssertionError, LabError) as failure:
                    failures.append(f"{name}\n    {str(failure)[:600]}")
                    made.said.clear()
                    if kind in ("power", "recover"):
                        lab.start_over()
                        continue
                    made.call("recover", "-q")
                    lab.key = made.key
            lab.close()
    return kind, statuses, failures


def main() -> int:
    """Run all kinds, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    given = parser.parse_args()
    began = time.monotonic()
    jobs = [
        (kind, part, given.jobs) for kind in given.kinds.split(",") for part in range(given.jobs)
    ]
    totals: dict[str, collections.Counter[str]] = {}
    bad: list[str] = []
    with multiprocessing.get_context("spawn").Pool(given.jobs, maxtasksperchild=1) as pool:
        for kind, statuses, failures in pool.imap(run, jobs, chunksize=1):
            totals.setdefault(kind, collections.Counter()).update(statuses)
            bad += failures
    for kind, statuses in totals.items():
        shown = ", ".join(f"{n} x exit {code}" for code, n in sorted(statuses.items()))
        print(f"{kind:8} {statuses.total():4} points survived: {shown}")
    print(f"{len(bad)} failed; {time.monotonic() - began:.0f} s", *bad, sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
