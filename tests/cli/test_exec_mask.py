"""`keyturn exec --mask`: what a program prints, without the secrets in it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.exec_runs import KEYTURN, environment, is_gone, run_exec, start_exec
from support.sops_lab import SopsLab, make_lab
from support.waiting import until

pytestmark = pytest.mark.integration

NAME = "LITELLM_MASTER_KEY"
KEY = "sk-test-mask-0123456789abcdefghij"
OTHER = "sk-test-mask-9876543210zyxwvutsrq"


@pytest.fixture
def lab(home: Path, tmp_path: Path) -> SopsLab:
    lab = make_lab(tmp_path / "lab", home)
    lab.put({NAME: KEY})
    (lab.root / "lab.toml").write_text("version = 1\n")
    return lab


def printed(lab: SopsLab, script: str) -> str:
    ran = run_exec("--mask", "--", "sh", "-c", script, cwd=lab.root)
    assert ran.status == 0, ran.err
    return ran.out


def test_a_program_that_prints_its_environment_shows_no_key(lab: SopsLab) -> None:
    assert f"{NAME}=<{NAME}>\n" in printed(lab, "env; env >&2")


def test_standard_error_is_masked_too(lab: SopsLab) -> None:
    ran = run_exec("--mask", "--", "sh", "-c", f"echo ${NAME} >&2", cwd=lab.root)
    assert (ran.out, ran.err) == ("", f"<{NAME}>\n")


def test_a_pause_inside_the_secret_lets_no_piece_out(lab: SopsLab) -> None:
    script = f"printf %s ${{{NAME}%%abc*}}; sleep 0.2; printf %s ${{{NAME}##*789}}"
    assert printed(lab, script) == f"<{NAME}>"


def test_what_is_no_secret_is_there_at_once(lab: SopsLab) -> None:
    words = ["--mask", "--", "sh", "-c", "printf 'Continue? '; read answer; echo $answer"]
    process = subprocess.Popen(
        [str(KEYTURN), "exec", *words], cwd=lab.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(10) == b"Continue? "
        process.stdin.write(b"yes\n")
        process.stdin.flush()
        assert process.stdout.read() == b"yes\n"


def test_binary_output_passes_byte_for_byte(lab: SopsLab, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "data").write_bytes(data)
    command = [str(KEYTURN), "exec", "--mask", "--", "cat", str(tmp_path / "data")]
    ended = subprocess.run(command, cwd=lab.root, capture_output=True, timeout=60)
    assert ended.stdout == data


def test_lines_of_two_streams_with_one_destination_keep_their_order(lab: SopsLab) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done"
    ended = subprocess.run(
        [str(KEYTURN), "exec", "--mask", "--", "sh", "-c", script],
        cwd=lab.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert ended.stdout == "".join(f"out {i}\nerr {i}\n" for i in range(1, 10))


def test_while_a_rotation_is_in_flight_both_keys_are_masked(lab: SopsLab) -> None:
    lab.put({NAME: KEY, f"{NAME}_KEYTURN_ROTATION": OTHER})
    assert printed(lab, f"echo ${NAME} {OTHER}") == f"<{NAME}> <{NAME}>\n"


def test_the_mask_is_off_where_everything_goes_to_a_terminal(lab: SopsLab) -> None:
    code = (
        "import os, pty, sys\n"
        "status = pty.spawn(sys.argv[1:])\n"
        "sys.exit(os.waitstatus_to_exitcode(status))\n"
    )
    words = [str(KEYTURN), "exec", "--mask", "--", "sh", "-c", f"echo ${NAME}; echo $PPID >&2"]
    ended = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=lab.root,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert KEY in ended.stdout
    assert ended.returncode == 0


def test_everything_is_written_when_it_has_ended(lab: SopsLab, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        command = [str(KEYTURN), "exec", "--mask", "--", "sh", "-c", f"seq 100000; echo ${NAME}"]
        subprocess.run(command, cwd=lab.root, stdout=file, check=True, timeout=60)
    lines = log.read_text().splitlines()
    assert lines[-2:] == ["100000", f"<{NAME}>"]


def test_killing_it_leaves_no_orphan(lab: SopsLab, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    words = ["--mask", "--", "sh", "-c", f"echo $$ > {note}; exec sleep 300"]
    process = start_exec(words, cwd=lab.root, env=environment())
    until(lambda: note.exists() and note.read_text().endswith("\n"))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # returns when the filters have ended too
    until(lambda: is_gone(int(note.read_text())))


def test_a_terminated_program_is_waited_for(lab: SopsLab) -> None:
    script = (
        f"trap 'sleep 0.2; echo late ${NAME}; exit 3' TERM; echo up; while :; do sleep 0.05; done"
    )
    with start_exec(["--mask", "--", "sh", "-c", script], cwd=lab.root, env=environment()) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "up\n"
        time.sleep(0.1)
        run.send_signal(signal.SIGTERM)
        assert run.stdout.read() == f"late <{NAME}>\n"
    assert run.returncode == 3
