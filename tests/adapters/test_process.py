"""Running a program: limits, groups, and what it gets to know."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from bootstrap.adapters import spawn
from bootstrap.adapters.patience import Patience, give_up_what_runs, waiting_once
from bootstrap.adapters.process import Finished, run, scrubbed
from bootstrap.domain.errors import Interrupted
from support.waiting import until

pytestmark = pytest.mark.integration

SECRET = "sk-test-process-0123456789"


def wait_for(path: Path) -> int:
    """Return the process id that appears in a file."""
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def lives(pid: int) -> bool:
    """Tell whether a process runs, zombies not counted."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def assert_ends(pid: int) -> None:
    """Wait for a killed process to be gone."""
    until(lambda: not lives(pid), f"the end of process {pid}")


def test_a_program_gives_its_status_and_both_outputs() -> None:
    finished = run(("sh", "-c", "cat; echo bad >&2; exit 3"), stdin=b"in", timeout_s=30)
    assert (finished.returncode, finished.stdout, finished.stderr) == (3, b"in", b"bad\n")


def test_a_result_does_not_print_what_the_program_said() -> None:
    finished = Finished(1, SECRET.encode(), SECRET.encode())
    assert SECRET not in f"{finished} {finished!r} {[finished]}"
    assert repr(finished) == "Finished(1, stdout 26 bytes, stderr 26 bytes)"


def test_without_input_a_program_reads_nothing() -> None:
    assert run(("cat",), timeout_s=30).stdout == b""


def test_a_program_that_ignores_its_input_is_no_failure() -> None:
    assert run(("true",), stdin=b"x" * 1_000_000, timeout_s=30).returncode == 0


def test_a_program_has_no_terminal_to_prompt_on() -> None:
    finished = run(("sh", "-c", "exec 3</dev/tty"), timeout_s=30)
    assert finished.returncode != 0


def test_a_program_runs_where_it_is_told(tmp_path: Path) -> None:
    assert run(("pwd",), cwd=str(tmp_path), timeout_s=30).stdout == f"{tmp_path}\n".encode()


def test_age_identities_and_direnv_copies_are_not_passed_on() -> None:
    environ = {"PATH": os.environ["PATH"], "SOPS_AGE_KEY": SECRET, "DIRENV_DIFF": SECRET, "A": "1"}
    assert run(("env",), env=environ, timeout_s=30).stdout.count(SECRET.encode()) == 0
    assert scrubbed(environ) == {"PATH": os.environ["PATH"], "A": "1"}


def test_sops_may_keep_its_identities_but_not_direnvs_copies() -> None:
    environ = {"SOPS_AGE_KEY": SECRET, "DIRENV_DIFF": SECRET}
    assert scrubbed(environ, keep=("SOPS_AGE_",)) == {"SOPS_AGE_KEY": SECRET}


def test_our_own_variables_are_scrubbed_where_none_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOPS_AGE_KEY", SECRET)
    monkeypatch.setenv("PLAIN", "here")
    printed = run(("env",), timeout_s=30).stdout
    assert b"PLAIN=here" in printed
    assert SECRET.encode() not in printed


def test_a_program_that_does_not_start_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run((str(tmp_path / "none"),), timeout_s=30)


def test_a_program_that_takes_too_long_is_killed_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {note}; echo {SECRET}; wait"
    with pytest.raises(TimeoutError) as caught:
        run(("sh", "-c", script), stdin=b"x" * 200_000, timeout_s=2)
    assert str(caught.value) == "sh did not end within 2 s"
    assert caught.value.__suppress_context__
    assert_ends(wait_for(note))


@pytest.mark.parametrize("interruption", [Interrupted(signal.SIGTERM), KeyboardInterrupt()])
def test_an_interruption_kills_the_program_and_goes_on(
    tmp_path: Path, interruption: BaseException
) -> None:
    note = tmp_path / "pid"

    def interrupt(number: int, frame: object) -> None:
        raise interruption

    def interrupt_when_it_runs() -> None:
        wait_for(note)
        signal.pthread_kill(main, signal.SIGUSR1)  # another thread's would not end its waiting

    main = threading.get_ident()
    before = signal.signal(signal.SIGUSR1, interrupt)
    watcher = threading.Thread(target=interrupt_when_it_runs)
    watcher.start()
    try:
        with pytest.raises(type(interruption)) as caught:
            run(("sh", "-c", f"sleep 300 & echo $! > {note}; wait"), timeout_s=60)
    finally:
        watcher.join()
        signal.signal(signal.SIGUSR1, before)
    assert caught.value is interruption
    assert_ends(wait_for(note))


def test_a_program_that_hung_once_is_given_no_further_time_in_the_block(tmp_path: Path) -> None:
    count = tmp_path / "count"
    hanging = ("sh", "-c", f"echo >>{count}; sleep 300")
    with waiting_once():
        for words in ("within 0.5 s", "in time before"):
            with pytest.raises(TimeoutError, match=f"sh did not end {words}"):
                run(hanging, timeout_s=0.5)
        assert run(("sh", "-c", "exit 3"), timeout_s=60).returncode == 3
        assert len(count.read_text()) == 1
    with pytest.raises(TimeoutError, match=r"within 0.1 s"):
        run(hanging, timeout_s=0.1)


def test_what_a_look_that_is_over_left_running_counts_as_hung() -> None:
    give_up_what_runs()  # outside of the block nothing happens
    patience = Patience()
    with patience.asking(("sleep", "300")):
        patience.lose()
    with pytest.raises(TimeoutError), patience.asking(("sleep", "300")):
        pass
    with patience.asking(("sleep", "1")):
        pass


def test_importing_it_loads_no_subprocess_module() -> None:
    program = "import sys, bootstrap.adapters.process; print('subprocess' in sys.modules)"
    assert run((sys.executable, "-I", "-c", program), timeout_s=60).stdout == b"False\n"


@pytest.mark.parametrize("argv", [("/usr/bin/yes", SECRET), ("yes", SECRET)])
def test_a_program_that_prints_without_an_end_is_ended(
    argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spawn, "_MOST_BYTES", 1_000_000)
    with pytest.raises(OSError, match="prints without an end") as caught:
        run(argv, timeout_s=60)
    assert SECRET not in str(caught.value)
