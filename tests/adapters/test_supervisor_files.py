"""What the supervisor writes and by what it finds a process again."""

import errno
import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from bootstrap.adapters import process_identity
from bootstrap.adapters.process_identity import ProcessIdentity, stat_of
from bootstrap.adapters.supervisor_log import RotatingLog, last_lines, older
from bootstrap.adapters.supervisor_state import Limits, SupervisorState, read_state, write_state


def test_a_log_keeps_two_files_of_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    log = RotatingLog(path, 100)
    for number in range(50):
        log.write(b"line %02d\n" % number)
    assert sorted(tmp_path.iterdir()) == [path, older(path)]
    assert all(file.stat().st_size <= 100 for file in tmp_path.iterdir())
    assert last_lines(path, 3) == ["line 47", "line 48", "line 49"]


def test_the_last_lines_go_on_in_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    older(path).write_bytes(b"one\ntwo \xff\n")
    path.write_text("three\n")
    assert last_lines(path, 2) == ["two \ufffd", "three"]
    assert last_lines(tmp_path / "none", 2) == []


def test_a_log_is_private_even_if_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    path.touch(mode=0o644)
    RotatingLog(path, 100).write(b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_chunk_larger_than_the_limit_is_kept_whole(tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    RotatingLog(path, 10).write(b"x" * 50)
    assert path.stat().st_size == 50


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    RotatingLog(tmp_path / "gone" / "gateway.log", 10).write(b"x")
    assert not list(tmp_path.iterdir())


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.json"
    own = ProcessIdentity.own()
    for child in (own, None):
        state = SupervisorState(own, child, "running", "", 3)
        write_state(path, state)
        assert read_state(path) == state
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_cannot_be_put_in_place_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.json"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_state(path, SupervisorState(ProcessIdentity.own(), None, "running", "", 0))
    assert list(tmp_path.iterdir()) == [path]


def test_a_state_that_nobody_wrote_is_none(tmp_path: Path) -> None:
    path = tmp_path / "supervisor.json"
    daemon = '{"daemon": {"pid": %d, "start": 1, "boot": "b"}, "child": null, "phase": "running", '
    for damage in (
        "[" * 100_000,
        daemon % 10**30 + '"detail": "", "restarts_done": 0}',
        "{}",
        "\0",
    ):
        path.write_text(damage)
        assert read_state(path) is None


def test_limits_travel_on_a_command_line() -> None:
    limits = Limits(stop_s=1.5, log_bytes=7)
    assert Limits.from_text(limits.to_text()) == limits


def test_a_process_is_told_apart_from_an_earlier_one_with_its_number() -> None:
    own = ProcessIdentity.own()
    assert own.alive()
    assert not ProcessIdentity(own.pid, own.start - 1, own.boot).alive()
    assert not ProcessIdentity(own.pid, own.start, "another boot").alive()


@pytest.mark.integration
def test_a_process_that_ended_is_not_alive_even_before_it_is_waited_for() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "read x"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity is not None
        assert identity.alive()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert not identity.alive()
        identity.send(signal.SIGTERM)
    assert ProcessIdentity.of(child.pid) is None
    identity.send(signal.SIGTERM)


@pytest.mark.integration
@pytest.mark.parametrize("sandboxed", [False, True])
def test_only_the_very_process_gets_a_signal(
    sandboxed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(pid: int) -> int:
        raise OSError(errno.ENOSYS, "Function not implemented")

    if sandboxed:
        monkeypatch.setattr(os, "pidfd_open", refuse)
    with subprocess.Popen(["/bin/sleep", "3600"]) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity is not None
        ProcessIdentity(identity.pid, identity.start - 1, identity.boot).send(signal.SIGKILL)
        assert child.poll() is None
        identity.send(signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM


@pytest.mark.integration
def test_a_program_name_with_spaces_and_parentheses_is_no_trouble(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "3600"]) as child:
        found = stat_of(child.pid)
        child.kill()
    assert found is not None
    assert found.parent == os.getpid()


def test_without_proc_there_is_no_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_identity, "_PROC", tmp_path)
    with pytest.raises(FileNotFoundError):
        ProcessIdentity.own()
