"""One keyturn at a time: the lock of a lab, across processes and after a crash."""

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bootstrap.adapters.lock import LOCK_FILE, is_held, lab_lock
from bootstrap.domain.errors import ExitCode, LockedError, TargetError
from support.sessions import TOOLS
from support.waiting import until

pytestmark = pytest.mark.integration

REPOSITORY = TOOLS.parent.parent
HOLDER = """
import pathlib, sys
from bootstrap.adapters.lock import lab_lock
sys.argv = ["/x/bootstrap/__main__.py", "rotate", "sk-test-typed-on-the-command-line"]
with lab_lock(pathlib.Path(sys.stdin.readline().strip())):
    print("held", flush=True)
    sys.stdin.readline()
"""


def hold(state_dir: Path) -> "subprocess.Popen[str]":
    """Start another process that holds the lock until its stdin is closed."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=REPOSITORY,
    )  # fmt: skip
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"{state_dir}\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_lock_that_somebody_holds_names_its_process_and_command(tmp_path: Path) -> None:
    with hold(tmp_path / "state") as holder:
        with pytest.raises(LockedError) as caught, lab_lock(tmp_path / "state"):
            pass
        holder.communicate()
    error = caught.value
    assert error.exit_code == ExitCode.LOCKED
    assert f"keyturn rotate (process {holder.pid})" in error.why
    assert f"kill {holder.pid}" in error.fix
    with lab_lock(tmp_path / "state"):
        pass


def test_no_argument_that_could_be_a_secret_is_written_into_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        assert (tmp_path / LOCK_FILE).read_text() == f"{holder.pid} keyturn rotate"
        holder.communicate()
    assert (tmp_path / LOCK_FILE).read_text() == ""


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        holder.kill()
        holder.communicate()
    with lab_lock(tmp_path):
        assert (tmp_path / LOCK_FILE).read_text().startswith(f"{os.getpid()} ")


def test_a_command_can_wait_for_the_one_before_it(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        entered = threading.Event()

        def wait_for_it() -> None:
            with lab_lock(tmp_path, wait_s=60):
                entered.set()

        waiter = threading.Thread(target=wait_for_it)
        waiter.start()
        assert not entered.is_set()
        holder.communicate()
        waiter.join()
    assert entered.is_set()


def test_a_failure_inside_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lab_lock(tmp_path):
        raise ZeroDivisionError
    with lab_lock(tmp_path):
        pass


def test_programs_started_meanwhile_do_not_keep_the_lock(tmp_path: Path) -> None:
    with lab_lock(tmp_path):
        child = subprocess.Popen(["/bin/sleep", "3600"], close_fds=False)
    try:
        # The kernel may close the child's copy a moment after the child runs.
        with lab_lock(tmp_path, wait_s=30):
            pass
    finally:
        child.kill()
        child.wait()


def test_a_holder_that_gave_no_name_is_still_a_holder(tmp_path: Path) -> None:
    with lab_lock(tmp_path):
        (tmp_path / LOCK_FILE).write_text("")
        with pytest.raises(LockedError, match="gave no name"), lab_lock(tmp_path):
            pass


def test_the_lock_is_private(tmp_path: Path) -> None:
    with lab_lock(tmp_path / "state"):
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "state" / LOCK_FILE).stat().st_mode) == 0o600


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(TargetError) as caught, lab_lock(tmp_path / "state"):
        pass
    assert str(tmp_path / "state") in caught.value.fix


def test_waiting_ends_at_its_limit(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        with pytest.raises(LockedError), lab_lock(tmp_path, wait_s=0.12):
            pass
        holder.communicate()
    until(lambda: holder.returncode is not None)


def test_who_holds_it_is_known_without_taking_it(tmp_path: Path) -> None:
    assert not is_held(tmp_path)
    with lab_lock(tmp_path):
        assert is_held(tmp_path)
    assert not is_held(tmp_path)
    for left in ("", "no number keyturn", "999999999999999999999 keyturn", "-"):
        (tmp_path / LOCK_FILE).write_text(left)
        assert not is_held(tmp_path)


def test_a_holder_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                           capture_output=True, text=True, check=True)  # fmt: skip
    (tmp_path / LOCK_FILE).write_text(f"{ended.stdout.strip()} keyturn rotate")
    assert not is_held(tmp_path)


def test_a_full_disk_is_no_reason_not_to_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with (
            lab_lock(tmp_path),
            pytest.raises(LockedError, match="gave no name"),
            lab_lock(tmp_path),
        ):
            pass
