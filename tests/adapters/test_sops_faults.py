"""Whatever happens while a store is written, the old or the new one stands there, whole.

A process of its own writes, see `support.sops_lab`; strace makes system calls fail or kills it.
"""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.sops_lab import (
    REAL_SOPS,
    SopsLab,
    fake_sops,
    make_lab,
    writer_argv,
    writer_environment,
)

pytestmark = pytest.mark.faults

KEY = "sk-test-sops-0123456789"
OTHER = "sk-test-other-9876543210"
NEXT = "sk-test-next-1111111111"
OLD_VALUES = {"KEY": KEY, "OTHER": OTHER}
NEW_VALUES = {"KEY": NEXT, "OTHER": OTHER}


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> SopsLab:
    """A lab whose store holds KEY and OTHER."""
    made = make_lab(tmp_path / "lab", home)
    made.put({"KEY": KEY, "OTHER": OTHER})
    return made


def write(
    lab: SopsLab,
    *,
    name: str = "KEY",
    fault: str = "",
    before: Callable[[], None] | None = None,
    environ: dict[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Let another process write NEXT, with a fault that strace injects into its system calls."""
    argv = writer_argv(lab.root, name)
    if fault:
        call = fault.split(":")[0]
        options = ["-e", f"trace={call}", "-e", f"inject={fault}"]
        argv = ["strace", "-f", "-qq", "-o", os.devnull, *options, *argv]
    return subprocess.run(
        argv,
        input=NEXT,
        env=writer_environment() | (environ or {}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=before,
    )


def test_without_faults_the_writer_writes(lab: SopsLab) -> None:
    ended = write(lab)
    assert (ended.stdout, ended.stderr) == ("stored\n", "")
    assert lab.values() == NEW_VALUES


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("fsync:error=EIO:when=1", "input/output error"),
        ("fsync:error=ENOSPC:when=1", "no space left on device"),
        ("rename:error=EACCES", "permission denied"),
        ("fchmod:error=EPERM", "operation not permitted"),
        ("flock:error=ENOLCK", "no locks available"),
    ],
)
def test_a_disk_that_refuses_leaves_the_old_store(lab: SopsLab, fault: str, why: str) -> None:
    before = lab.store.read_bytes()
    ended = write(lab, fault=fault)
    assert ended.stdout == f"SecretError: {why}\n"
    assert lab.store.read_bytes() == before
    assert lab.scratch_files() == []


def test_a_folder_that_cannot_be_flushed_does_not_undo_what_is_in_force(lab: SopsLab) -> None:
    assert write(lab, fault="fsync:error=EINVAL:when=2").stdout == "stored\n"
    assert lab.values() == NEW_VALUES


@pytest.mark.parametrize(
    ("more", "why"), [(-200, "file too large"), (40, "it would be larger than the limit for files")]
)
def test_a_full_disk_leaves_the_old_store(lab: SopsLab, more: int, why: str) -> None:
    """First our copy does not fit, then what sops adds to it."""
    size = lab.store.stat().st_size + more
    before = lab.store.read_bytes()

    def fill_the_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    ended = write(lab, name="NEW", before=fill_the_disk)
    assert ended.stdout == f"SecretError: {why}\n"
    assert NEXT not in ended.stdout + ended.stderr
    assert lab.store.read_bytes() == before
    assert lab.scratch_files() == []


@pytest.mark.parametrize(
    "fault", ["rename:signal=KILL", "fsync:signal=KILL:when=1", "fchmod:signal=KILL"]
)
def test_a_kill_before_the_rename_leaves_the_old_store(lab: SopsLab, fault: str) -> None:
    before = lab.store.read_bytes()
    assert write(lab, fault=fault).stdout == ""
    assert lab.store.read_bytes() == before
    assert len(lab.scratch_files()) == 1
    assert write(lab).stdout == "stored\n"  # the next one tidies up, and the lock is free
    assert lab.scratch_files() == []


def test_a_kill_after_the_rename_leaves_the_new_store(lab: SopsLab) -> None:
    write(lab, fault="fsync:signal=KILL:when=2")
    assert lab.values() == NEW_VALUES
    assert lab.scratch_files() == []


def test_a_kill_of_sops_while_it_writes_leaves_the_old_store(lab: SopsLab, tmp_path: Path) -> None:
    """`sops set` truncates what it writes: that must be a scratch file."""
    before = lab.store.read_bytes()
    script = f"""
[ "$1" = set ] || exec {REAL_SOPS} "$@"
for word; do scratch=$last; last=$word; done
strace -f -qq -o /dev/null -P "$scratch" -e trace=write -e inject=write:signal=KILL {REAL_SOPS} "$@"
code=$?
wc -c < "$scratch" > {tmp_path}/size
exit $code"""
    ended = write(lab, environ={"KEYTURN_SOPS": fake_sops(tmp_path / "sops", script)})
    assert ended.stdout.startswith("SecretError: ")
    assert (tmp_path / "size").read_text().strip() == "0"
    assert lab.store.read_bytes() == before
    assert lab.scratch_files() == []


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_store(lab: SopsLab) -> None:
    for turn in range(20):
        value = f"sk-test-turn-{turn:04}"
        old = lab.values()["KEY"]
        child = subprocess.Popen(
            writer_argv(lab.root, "KEY"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=writer_environment(),
            start_new_session=True,
        )
        assert child.stdin is not None
        child.stdin.write(value.encode())
        child.stdin.close()
        time.sleep(turn * 0.025)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        found = lab.values()
        assert found["KEY"] in (old, value)
        assert found["OTHER"] == OTHER
    assert write(lab).stdout == "stored\n"
    assert lab.values() == NEW_VALUES
    assert lab.scratch_files() == []
