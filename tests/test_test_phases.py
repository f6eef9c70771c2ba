"""`scripts/test.sh` runs again, alone, what failed among thousands, and says so."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.homes import REPOSITORY

pytestmark = pytest.mark.slow

PLANTED = """
import pytest
from pathlib import Path

@pytest.mark.there
def test_good(): pass

@pytest.mark.there
def test_that_needs_a_second_try():
    tried = Path(__file__).with_name("tried")
    before = tried.exists()
    tried.touch()
    assert before
"""
BROKEN = """
@pytest.mark.there
def test_broken(): assert False
"""
DEADLY = """
import os
from pathlib import Path
import pytest

@pytest.mark.there
def test_that_ends_its_worker_once():
    tried = Path(__file__).with_name("ended")
    before = tried.exists()
    tried.touch()
    if not before:
        os._exit(9)
"""
PHASES = """
set -euo pipefail
run() { "$PYTHON" -m pytest $OPTIONS -p no:cov -p no:hypothesispytest "$@"; }
. "$1"
for marks in "${@:2}"; do phase -m "$marks"; done
closing_line
rm -f -- "$phases_log"
exit "$status"
"""


def phases(
    folder: Path, tests: str, *marks: str, options: str = "-p no:xdist"
) -> "subprocess.CompletedProcess[str]":
    """Run a phase for each of `marks` over a file of tests of its own."""
    (folder / "test_planted.py").write_text(tests)
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = -ra\nmarkers =\n    there\n    nowhere\n"
    )
    return subprocess.run(
        ["bash", "-c", PHASES, "_", REPOSITORY / "scripts" / "lib" / "phases.sh", *marks],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHON": sys.executable,
            "TMPDIR": str(folder),
            "OPTIONS": options,
        },
        capture_output=True,
        text=True,
    )


def test_what_passes_alone_is_no_failure_and_is_named(tmp_path: Path) -> None:
    done = phases(tmp_path, PLANTED, "there", "nowhere")
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[-1] == "2 passed, 0 failed"
    named = [line for line in said if line.startswith("failed at first:")]
    assert [line.split(" - ")[0].split("::")[-1] for line in named] == [
        "test_that_needs_a_second_try"
    ]


def test_what_fails_twice_fails_and_is_counted_once(tmp_path: Path) -> None:
    done = phases(tmp_path, PLANTED + BROKEN, "there")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "2 passed, 1 failed"
    assert done.stdout.count("failed at first:") == 2


def test_what_cannot_even_be_collected_fails(tmp_path: Path) -> None:
    done = phases(tmp_path, "import no_such_module", "there")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_a_part_whose_worker_died_is_run_again_whole_and_once(tmp_path: Path) -> None:
    workers = "-n 2 --max-worker-restart=0"
    done = phases(tmp_path, DEADLY + PLANTED, "there", options=workers)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[-1] == "3 passed, 0 failed"
    (named,) = (line for line in said if line.startswith("died at first:"))
    assert "test_that_ends_its_worker_once" in named
    always = DEADLY.replace("if not before:", "if True:")
    done = phases(tmp_path, always, "there", options=workers)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"
