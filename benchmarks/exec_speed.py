"""What benchmarks/exec runs: hyperfine, the tables, and the limits.

Every group is measured in rounds, each of which runs every command of the group, so that what else
the machine does hits all of them alike. Minimum and median are over all rounds.
"""

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import exec_peers
from exec_lab import KEY, NAME, ROOT, RUNS, STORE, Bench, Row

DOCUMENT = ROOT / "docs" / "exec.md"
BEGIN, END = "<!-- benchmarks/exec begins -->\n", "<!-- benchmarks/exec ends -->\n"
MOST_MB = 25
FROM_VARIABLE = f"exec --secret {NAME}=env:CI_KEY -- true"
GIVEN = {"CI_KEY": KEY}


@dataclass(frozen=True)
class Group:
    """Commands that are measured together.

    Attributes:
        title: Above their table.
        rows: The first is what the others are compared with.
        limit: How many times the first one's time keyturn may take, in minimum and median.
        rounds: How often.
    """

    title: str
    rows: list[Row]
    limit: float
    rounds: int = 40


def table(rows: list[Row], times: list[list[float]]) -> Iterator[str]:
    """Yield a table; the first row is what the others are compared with."""
    least, middle = min(times[0]), statistics.median(times[0])
    yield "| | min ms | median ms | x min | x median |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row, found in zip(rows, times, strict=True):
        low, half = min(found), statistics.median(found)
        yield f"| {row.title} | {low:.1f} | {half:.1f} | {low / least:.2f} | {half / middle:.2f} |"


def missed(group: Group, times: list[list[float]]) -> Iterator[str]:
    """Yield a line for each row of keyturn that takes longer than it may."""
    for row, found in zip(group.rows[1:], times[1:], strict=True):
        for name, ratio in (
            ("minimum", min(found) / min(times[0])),
            ("median", statistics.median(found) / statistics.median(times[0])),
        ):
            if "keyturn" in row.title and ratio > group.limit:
                yield f"{group.title}, {row.title}: {name} x {ratio:.2f}, limit {group.limit}"


def limit_of(group: Group) -> str:
    """Return the limit in words, where the group has a row of keyturn that it is for."""
    if not any("keyturn" in row.title for row in group.rows[1:]):
        return ""
    return f" (limit: {group.limit:g} times the first line)"


def groups(bench: Bench) -> list[Group]:
    """Return what is measured, ready to run."""
    keyturn = bench.install()

    def rows(arguments: str, cwd: Path, env: Mapping[str, str]) -> list[Row]:
        return [
            Row(f"**keyturn exec** ({how})", f"{path} {arguments}", cwd, env)
            for how, path in keyturn.items()
        ]

    sops = Row("sops exec-env", f"{bench.sops} exec-env {bench.lab / STORE} true", bench.lab, {})
    same = {"KEYTURN_SOPS": str(bench.sops)}
    python = f"{bench.base}/pip/bin/python3 -I -S -c pass"
    lookup = f"secret-tool lookup service keyturn username {NAME}"
    models = [
        Row(
            f"keyturn exec, {models} models",
            f"{keyturn['pip']} exec -- true",
            bench.base / folder,
            same,
        )
        for models, folder in (("10", "models10"), ("10,000", "models10000"))
    ]
    peers = exec_peers.install(bench)
    return [
        Group("From a sops file", [sops, *rows("exec -- true", bench.lab, same)], 1.5),
        # Apart from those above, which they would take the processor's caches from.
        Group("Its peers", [sops, *peers], 1.5, rounds=6),
        Group(
            "From a variable (`env:`)",
            [
                Row("python3 -I -S -c pass", python, bench.base, {}),
                *rows(FROM_VARIABLE, bench.base, GIVEN),
            ],
            1.3,
        ),
        Group(
            "From the keyring",
            [
                Row("secret-tool lookup", lookup, bench.base, {}),
                *rows("exec -- true", bench.base / "keyring", {}),
            ],
            3,
        ),
        Group("Models in the catalogue", models, 1.1),
    ]


def report(bench: Bench, problems: list[str]) -> Iterator[str]:
    """Yield the lines for docs/exec.md, and put limits that are not kept into `problems`."""
    bench.make_lab()
    found = groups(bench)
    for row in (row for group in found for row in group.rows):
        for _ in range(3):  # byte code, and what the first run remembers
            bench.run(*row.command.split(), cwd=row.cwd, env=row.env)
    version = ".".join(map(str, sys.version_info[:3]))
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    rounds = found[0].rounds
    yield f"hyperfine, child `true`, {rounds} rounds of {RUNS} runs each, Python {version}, "
    yield f"{os.cpu_count()} cores, {load}{', real-time priority' if bench.realtime else ''}; "
    yield f"the peers {min(group.rounds for group in found)} rounds."
    for group in found:
        yield ""
        yield f"**{group.title}**{limit_of(group)}"
        yield ""
        times = bench.measure(group.rows, group.rounds)
        problems += missed(group, times)
        yield from table(group.rows, times)
    yield ""
    peak = bench.peak(Row("", f"{bench.base}/pip/bin/keyturn {FROM_VARIABLE}", bench.base, GIVEN))
    if peak > MOST_MB:
        problems.append(f"peak memory {peak:.1f} MB, limit {MOST_MB}")
    when = "before the program takes over, from a variable"
    yield f"Peak memory {when}: {peak:.1f} MB (limit: {MOST_MB})."
    left_out = "; ".join(f"{name} ({why})" for name, why in exec_peers.ABSENT.items())
    yield f"Left out: {left_out}."


def main() -> int:
    """Measure, and print or write the tables; 1 where a limit is not kept."""
    base = Path(tempfile.mkdtemp(prefix="keyturn-bench-"))
    problems: list[str] = []
    try:
        bench = Bench(base, realtime="--realtime" in sys.argv[1:])
        text = "\n".join(report(bench, problems)) + "\n"
    finally:
        shutil.rmtree(base)
    print(text)
    if "--write" in sys.argv[1:]:
        document = DOCUMENT.read_text()
        before, _, rest = document.partition(BEGIN)
        DOCUMENT.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])
    for problem in problems:
        print(f"limit not kept: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
