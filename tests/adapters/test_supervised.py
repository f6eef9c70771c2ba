"""A supervised program behaves as if it had replaced us, and what follows it always happens."""

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters.supervised import end_like, supervise, with_secrets
from bootstrap.domain.errors import LabError
from bootstrap.domain.secret import Secret
from support.exec_runs import is_gone
from support.homes import REPOSITORY, environment
from support.waiting import until

pytestmark = pytest.mark.integration

RUN = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from bootstrap.adapters.aftermath import afterwards
from bootstrap.adapters.supervised import end_like, supervise
import os
mark = Path(sys.argv[1])
with afterwards(lambda: mark.with_suffix(".done").touch()):
    status = supervise(sys.argv[2:], dict(os.environ))
sys.exit(end_like(status))
"""


def start(mark: Path, *argv: str, **options: Any) -> "subprocess.Popen[bytes]":
    home = Path(os.environ["HOME"])
    command = [sys.executable, "-c", RUN, str(mark), *argv]
    process: subprocess.Popen[bytes] = subprocess.Popen(command, env=environment(home), **options)
    return process


def shell(mark: Path, script: str, **options: Any) -> "subprocess.Popen[bytes]":
    """Start `sh -c script`, which says its process id in MARK first."""
    program = f'echo "$$" >"{mark}.new"; mv "{mark}.new" "{mark}"; {script}'
    return start(mark, "sh", "-c", program, **options)


def pid_in(mark: Path) -> int:
    until(mark.exists, "the program's start")
    return int(mark.read_text())


def state_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "mark"


def done(mark: Path) -> bool:
    return mark.with_suffix(".done").exists()


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_the_exit_status_is_the_programs(mark: Path, code: int) -> None:
    assert shell(mark, f"exit {code}").wait(30) == code
    assert done(mark), "it is over before what follows has been done"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGSEGV])
def test_we_end_by_the_signal_that_ended_the_program(mark: Path, number: signal.Signals) -> None:
    assert shell(mark, f"kill -{number} $$; sleep 60").wait(30) == -number
    assert done(mark)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_reaches_the_program(mark: Path, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    process = shell(mark, "while :; do sleep 0.05; done")
    ours = pid_in(mark)
    process.send_signal(number)
    assert process.wait(30) == -number
    assert is_gone(ours)
    caught = mark.with_name("second")
    process = shell(
        caught, f"trap 'exit 42' {name}; echo >{caught}.t; while :; do sleep 0.05; done"
    )
    until(Path(f"{caught}.t").exists)
    process.send_signal(number)
    assert process.wait(30) == 42


def test_an_ignored_signal_stays_ignored(mark: Path) -> None:
    process = shell(
        mark,
        "kill -HUP $$; exit 7",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    pid_in(mark)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 7


def test_the_program_has_our_process_group_session_and_streams(mark: Path) -> None:
    script = "cat; ps -o pgid=,sid= -p $$ 2>/dev/null || cut -d' ' -f5,6 /proc/$$/stat"
    process = shell(mark, script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(b"piped\n", 30)
    assert out.split() == [b"piped", str(os.getpgid(0)).encode(), str(os.getsid(0)).encode()]


def test_killing_us_kills_the_program_and_the_rest_is_done_all_the_same(mark: Path) -> None:
    process = shell(mark, "while :; do sleep 0.05; done")
    program = pid_in(mark)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    until(lambda: is_gone(program), "the end of the program")
    until(lambda: done(mark), "what follows")


def test_killing_the_whole_process_group_still_leaves_nothing_undone(mark: Path) -> None:
    process = shell(mark, "while :; do sleep 0.05; done", start_new_session=True)
    pid_in(mark)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    until(lambda: done(mark), "what follows")


def test_killing_the_program_is_its_end(mark: Path) -> None:
    process = shell(mark, "while :; do sleep 0.05; done")
    os.kill(pid_in(mark), signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL
    assert done(mark)


def test_nobody_waits_for_a_pipe_that_only_the_tidying_process_holds(mark: Path) -> None:
    """`keyturn exec … | head -1` ends when the program closes its output."""
    process = shell(mark, "exec >&-; while :; do sleep 0.05; done", stdout=subprocess.PIPE)
    pid_in(mark)
    process.kill()
    assert process.stdout is not None
    assert process.stdout.read() == b""
    process.stdout.close()
    process.wait(30)


@pytest.fixture
def terminal(mark: Path) -> Iterator[tuple[int, int]]:
    """A supervised shell in the foreground of a new terminal: (our process id, the terminal)."""
    pid, master = pty.fork()
    if pid == 0:
        script = f'trap "echo INT >>{mark}.int" INT; echo $$ >"{mark}.n"; mv "{mark}.n" "{mark}";'
        script += f' while [ ! -e "{mark}.stop" ]; do sleep 0.05; done; exit 5'
        argv = [sys.executable, "-c", RUN, str(mark), "sh", "-c", script]
        os.execve(sys.executable, argv, environment(Path(os.environ["HOME"])))  # noqa: S606
    yield pid, master
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(master)


def test_ctrl_c_reaches_the_program_once_and_does_not_end_us(
    terminal: tuple[int, int], mark: Path
) -> None:
    pid, master = terminal
    pid_in(mark)
    caught = Path(f"{mark}.int")
    os.write(master, b"\x03")
    until(lambda: caught.exists() and caught.read_text(), "the program's handler")
    Path(f"{mark}.stop").touch()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5
    assert caught.read_text() == "INT\n"


def test_ctrl_z_stops_both_and_the_shell_continues_both(
    terminal: tuple[int, int], mark: Path
) -> None:
    pid, master = terminal
    program = pid_in(mark)
    until(lambda: termios.tcgetattr(master))
    # The leader of an orphaned process group is not stopped by Ctrl-Z, so send what it stands for.
    os.kill(program, signal.SIGSTOP)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(pid, signal.SIGCONT)
    until(lambda: state_of(program) in "SR", "the program going on")
    Path(f"{mark}.stop").touch()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 5


def test_a_key_is_handed_over_in_the_environment(tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = ["sh", "-c", f'printf %s "$A$B" >{out}']
    given = {"A": "a", "PATH": os.environ["PATH"]}
    assert supervise(argv, with_secrets(given, {"B": Secret("sk-test-b")})) == 0
    assert out.read_text() == "ask-test-b"


@pytest.mark.parametrize(
    ("name", "code"), [("absent-program", 127), ("plain.txt", 126), ("with\0nul", 125)]
)
def test_what_cannot_be_run_is_an_error_with_the_usual_code(
    tmp_path: Path, name: str, code: int
) -> None:
    (tmp_path / "plain.txt").write_text("text")
    with pytest.raises(LabError) as caught:
        supervise([str(tmp_path / name)], dict(os.environ))
    assert caught.value.exit_code == code
    assert caught.value.why


def test_a_status_that_is_no_signal_is_returned() -> None:
    assert end_like(3) == 3


def test_where_a_signal_does_not_end_us_its_number_is_in_the_status() -> None:
    """The first process of a container does not die of its own; this one is harmless."""
    assert end_like(-signal.SIGURG) == 128 + signal.SIGURG


def test_signals_and_handlers_are_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGCHLD)
    supervise(["true"], dict(os.environ))
    after = signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.getsignal(signal.SIGCHLD)
    assert after == before


def test_a_thread_that_takes_the_message_of_its_end_keeps_nobody_waiting(
    mark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = signal.sigtimedwait

    def wait_late(*given: Any) -> "signal.struct_siginfo | None":
        until(lambda: state_of(pid_in(mark)) in "Z", "the program's end")
        return wait(*given)

    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    monkeypatch.setattr(signal, "sigtimedwait", wait_late)
    try:
        assert supervise(["sh", "-c", f'echo "$$" >{mark}; exit 3'], dict(os.environ)) == 3
    finally:
        over.set()
        other.join()
