"""Run the tests of the real gateway with each LiteLLM version: for the table in docs/litellm.md.

    .venv/bin/python benchmarks/versions.py [--write] [VERSION ...]

Without a VERSION: those of the table. `--write` puts the rows of those that were run into it. The
versions whose row says `yes` three times are LITELLM_TESTED of bootstrap/domain/lab.py; a unit test
compares. Each takes five minutes, and 700 MB below `.tools/` (or KEYTURN_TEST_CACHE) that stay.

keyturn's own installer installs them. Where the package index lacks a package that a version asks
for, uv is told to take the next older one it has (UV_OVERRIDE); the last column names those.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / part) for part in ("tests", ".")]

from support.version_table import PAGE, rows_of, with_rows

FILES = ("test_real_guard.py", "test_real_litellm.py", "test_real_restarts.py")
INSTALL = "from support.litellm import real_litellm; print(real_litellm())"
CACHE = Path(os.environ.get("KEYTURN_TEST_CACHE") or ROOT / ".tools")
# uv: there is no version of NAME==1.2 / only NAME<=1.1 is available and X depends on NAME>=1.2
LACKS = re.compile(
    r"there is no version of ([\w.-]+)==([\w.]+)|only ([\w.-]+)<=[\w.]+ is available"
)
ATTEMPTS = 5


def main() -> int:
    """Run it; 1 where a version is not whole."""
    parser = argparse.ArgumentParser(description="Test LiteLLM versions.")
    parser.add_argument("--write", action="store_true", help="put the rows into docs/litellm.md")
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    given = parser.parse_args()
    page = ROOT / PAGE
    rows = []
    for version in given.versions or [row[0] for row in rows_of(page.read_text())]:
        rows.append(row_of(version))
        print(*rows[-1], sep=" | ", flush=True)
        if given.write:
            page.write_text(with_rows(page.read_text(), rows))
    return int(any(set(row[1:4]) != {"yes"} for row in rows))


def row_of(version: str) -> tuple[str, ...]:
    """Install a version and run the files with it; return its row of the table."""
    program = install(version)
    if program is None:
        return (version, *("not run" for _ in FILES), "it cannot be installed")
    results = ["yes" if run_tests(version, name) else "no" for name in FILES]
    return (version, *results, ", ".join(older(program)) or "as it asks")


def install(version: str) -> Path | None:
    """Return the program, installed with as few packages older than it asks as it takes."""
    overrides: list[str] = []
    with tempfile.NamedTemporaryFile("w+", suffix=".txt") as file:
        for _ in range(ATTEMPTS):
            more = {"UV_OVERRIDE": file.name} if overrides else {}
            ended = subprocess.run(
                [sys.executable, "-c", INSTALL],
                env={**os.environ, **more, "LITELLM_VERSION": version, "PYTHONPATH": "tests"},
                cwd=ROOT,
                capture_output=True,
                text=True,
            )
            if ended.returncode == 0:
                return Path(ended.stdout.splitlines()[-1])
            lacks = LACKS.findall(" ".join((CACHE / "install.log").read_text().split()))
            if not lacks:
                break
            exact, pin, floored = lacks[-1]
            overrides.append(f"{exact}<={pin}" if exact else floored)
            file.seek(0)
            file.write("\n".join(overrides))
            file.flush()
    print(*ended.stderr.splitlines()[-1:], file=sys.stderr)
    return None


def run_tests(version: str, name: str) -> bool:
    """Run a file of tests with a version; its output goes where ours does."""
    command = [sys.executable, "-m", "pytest", "-q", f"tests/scenarios/{name}"]
    environment = {**os.environ, "LITELLM_VERSION": version}
    return subprocess.run(command, env=environment, cwd=ROOT, stdout=sys.stderr).returncode == 0


def older(program: Path) -> Iterable[str]:
    """Yield `NAME VERSION` of what is installed other than LiteLLM asks for."""
    folders = [str(path) for path in program.parent.parent.glob("lib/python3*/site-packages")]
    found = {_name(each.name): each for each in distributions(path=folders)}
    litellm: Distribution = found["litellm"]
    for text in litellm.requires or ():
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": "proxy"}):
            continue
        has = found.get(_name(wanted.name))
        if has is not None and not wanted.specifier.contains(
            Version(has.version), prereleases=True
        ):
            yield f"{wanted.name} {has.version}"


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    raise SystemExit(main())
