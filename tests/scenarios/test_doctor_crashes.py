"""`doctor --fix` and `--undo`, killed: every file is old or new, and comes back.

It was killed by hand at each rename, unlink, mkdir and rmdir, with five files, on a disk that got
full at each of its writes as well. Here are a point before the first file changes, one between two
files, one while they are put back, and one while the copies are thrown away.
"""

import subprocess
from pathlib import Path

import pytest

from support import homes
from support.doctor import KEY, OLD_KEY, Patient, droid_entry, patient
from support.labs import MODULE

pytestmark = pytest.mark.faults

Files = dict[Path, tuple[bytes, int]]


@pytest.fixture
def sick(home: Path) -> Patient:
    made = patient(home)
    made.settings(droid_entry(apiKey=OLD_KEY))
    made.write(".bashrc", f"export ANTHROPIC_AUTH_TOKEN={KEY}\n", mode=0o644)
    return made


def run(sick: Patient, *words: str, kill: tuple[str, int] | None = None) -> int:
    """Run doctor, killed at its Nth call of a kind if that is given; return its status."""
    traced: list[str] = []
    if kill is not None:
        name, number = kill
        traced = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}"]
        traced += ["-e", f"inject={name}:signal=KILL:when={number}", "--"]
    ended = subprocess.run(
        [*traced, *MODULE, "doctor", *words],
        cwd=sick.cwd,
        env=homes.environment(sick.home, KEYTURN_LAB=str(sick.lab), PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        timeout=60,
    )
    assert b"Traceback" not in ended.stderr
    assert KEY.encode() not in ended.stdout + ended.stderr
    return ended.returncode


def files(sick: Patient) -> Files:
    """Return the files of the home, without doctor's own."""
    return {
        path: (path.read_bytes(), path.stat().st_mode)
        for path in sick.home.rglob("*")
        if path.is_file() and not path.is_relative_to(sick.home / ".local")
    }


def copies(sick: Patient) -> list[Path]:
    """Return what doctor keeps, but for the lock."""
    kept = sick.home / ".local/state/keyturn/doctor"
    return [path for path in kept.rglob("*") if path.is_file() and path.name != "lock"]


@pytest.mark.parametrize("kill", [("rename", 2), ("renameat2", 2)])
def test_a_killed_fix_is_taken_back_and_leaves_nothing(
    sick: Patient, kill: tuple[str, int]
) -> None:
    before = files(sick)
    assert run(sick, "--fix", kill=kill) == -9
    assert run(sick, "--undo") in (0, 2)
    assert files(sick) == before
    assert copies(sick) == []


@pytest.mark.parametrize("kill", [("renameat2", 2), ("unlinkat", 1)])
def test_a_killed_undo_goes_on(sick: Patient, kill: tuple[str, int]) -> None:
    before = files(sick)
    assert run(sick, "--fix") == 0
    assert files(sick) != before
    assert run(sick, "--undo", kill=kill) == -9
    assert run(sick, "--undo") in (0, 2)
    assert files(sick) == before
    assert copies(sick) == []
