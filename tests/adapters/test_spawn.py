"""Starting a program without `subprocess`: what it gets, what comes back, what is left."""

import os
import posix
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters.process import run
from bootstrap.adapters.spawn import Child, StartedChild, can_spawn
from bootstrap.domain.errors import Interrupted
from support.waiting import until

pytestmark = pytest.mark.integration

SH = "/bin/sh"
ENV = {"PATH": os.environ["PATH"], "GIVEN": "yes"}


def finish(
    script: str, stdin: bytes | None = None, timeout_s: float = 30
) -> tuple[int, bytes, bytes]:
    return Child((SH, "-c", script), stdin, ENV).run(timeout_s)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_status_and_both_outputs_come_back() -> None:
    assert finish("cat; echo $GIVEN; echo bad >&2; exit 3", b"in ") == (3, b"in yes\n", b"bad\n")
    assert finish("kill -9 $$")[0] == -9


def test_without_input_it_reads_nothing() -> None:
    assert finish("cat")[1] == b""


def test_much_input_and_output_pass() -> None:
    data = os.urandom(1_000_000)
    assert finish("cat", data) == (0, data, b"")


def test_input_that_nobody_reads_is_no_failure() -> None:
    assert finish("exec 0<&-; sleep 0.1", b"x" * 1_000_000)[0] == 0


def test_it_has_a_session_of_its_own_and_default_signals() -> None:
    said = finish("cut -d' ' -f6,7 /proc/self/stat; grep SigIgn /proc/self/status")[1]
    session, terminal = said.splitlines()[0].split()
    assert int(session) != os.getsid(0)
    assert terminal == b"0"
    ignored = int(said.splitlines()[1].split()[1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_a_program_that_is_not_there_leaves_no_pipe_open() -> None:
    before = open_files()
    with pytest.raises(FileNotFoundError):
        Child(("/no/such/program",), b"", ENV).start()
    with pytest.raises(ValueError, match="null"):
        Child((SH,), None, {"A": "\0"}).start()
    assert open_files() == before


@pytest.mark.parametrize(
    "script", ["sleep 300 & echo $! > {}; wait", "echo $$ > {}; exec >&- 2>&-; exec sleep 300"]
)
def test_one_that_takes_too_long_is_killed_with_all_it_started(tmp_path: Path, script: str) -> None:
    note = tmp_path / "pid"
    with pytest.raises(TimeoutError):
        finish(script.format(note), timeout_s=1)
    pid = until(lambda: note.exists() and note.read_text().strip())
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_the_shared_runner_uses_it_and_names_the_program(tmp_path: Path) -> None:
    assert run((SH, "-c", "echo ok"), timeout_s=30).stdout == b"ok\n"
    with pytest.raises(TimeoutError, match=r"^/bin/sh did not end within 0\.2 s$"):
        run((SH, "-c", "sleep 300"), timeout_s=0.2)


def test_an_interruption_kills_it(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def interrupt(number: int, frame: object) -> None:
        if note.exists():
            raise Interrupted(number)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3, 0.1)
    try:
        with pytest.raises(Interrupted):
            finish(f"echo $$ > {note}; exec sleep 300")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    pid = until(lambda: note.read_text().strip())
    until(lambda: not Path(f"/proc/{pid}").exists())


def test_a_signal_that_comes_while_it_starts_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    spawn = posix.posix_spawn

    def spawn_and_signal(*words: Any, **options: Any) -> int:
        started.append(spawn(*words, **options))
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # no other thread's
        return started[0]

    def interrupt(number: int, frame: object) -> None:
        raise Interrupted(number)

    monkeypatch.setattr(posix, "posix_spawn", spawn_and_signal)
    before = signal.signal(signal.SIGUSR1, interrupt)
    child = Child((SH, "-c", "sleep 300"), None, ENV)
    try:
        with pytest.raises(Interrupted):
            child.start()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not Path(f"/proc/{started[0]}").exists()


def test_killing_it_twice_is_no_failure() -> None:
    child = Child((SH, "-c", "sleep 300"), None, ENV)
    child.start()
    child.kill()
    child.kill()


def test_where_the_kernel_keeps_no_status_the_output_still_comes() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert finish("echo ok") == (0, b"ok\n", b"")
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_a_program_that_will_not_die_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child((SH, "-c", "sleep 0.5"), None, ENV)
    child.start()
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(posix, "killpg", lambda pid, number: None)
    child.kill()


def test_only_what_is_named_by_a_path_and_runs_here_is_started_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert can_spawn("/bin/sh", None)
    assert not can_spawn("sh", None)
    assert not can_spawn("/bin/sh", "/")
    monkeypatch.delattr(posix, "posix_spawn")
    assert not can_spawn("/bin/sh", None)


def test_one_that_a_shell_started_is_ended_alone_and_only_while_it_is_ours() -> None:
    for ours in (True, False):
        read, write = os.pipe()
        process = subprocess.Popen(["sleep", "300"], stdout=write)
        os.close(write)
        if not ours:  # its number may be somebody else's by now; here it is one of another process
            process.kill()
            process.wait()
        child = StartedChild(process.pid if ours else os.getpid(), read)
        child.kill()
        child.kill()
        if ours:
            assert not Path(f"/proc/{process.pid}").exists()
            process.returncode = 0
