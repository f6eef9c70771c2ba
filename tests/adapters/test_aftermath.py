"""What has to follow does, in whatever way the block ends."""

import os
import signal
import threading
from pathlib import Path

import pytest

from bootstrap.adapters import aftermath
from bootstrap.adapters.aftermath import afterwards
from support.waiting import until

pytestmark = pytest.mark.integration


def test_it_follows_the_block_in_another_process(tmp_path: Path) -> None:
    note = tmp_path / "note"

    def write() -> None:
        note.write_text(f"{os.getpid()} {os.getsid(0)}")

    with afterwards(write):
        assert not note.exists()
    pid, session = note.read_text().split()
    assert pid == session != str(os.getpid())


def test_it_follows_an_error_too(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with pytest.raises(ValueError, match="inside"), afterwards(note.touch):
        raise ValueError("inside")
    assert note.exists()


def test_where_that_process_fails_this_one_does_it(tmp_path: Path) -> None:
    note, ours = tmp_path / "note", os.getpid()

    def only_here() -> None:
        if os.getpid() != ours:
            raise RuntimeError
        note.touch()

    with afterwards(only_here):
        pass
    assert note.exists()


def test_where_that_process_was_killed_this_one_does_it(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with afterwards(note.touch):
        children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
        os.kill(int(children.split()[-1]), signal.SIGKILL)
    assert note.exists()


def test_where_somebody_else_reaped_that_process_this_one_does_it_again(tmp_path: Path) -> None:
    note = tmp_path / "note"
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with afterwards(note.touch):
            pass
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert note.exists()


def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aftermath, "PATIENCE_S", 0.01)
    gate, note = tmp_path / "gate", tmp_path / "note"

    def slow() -> None:
        until(gate.exists)
        note.touch()

    with afterwards(slow):
        pass
    assert not note.exists()
    gate.touch()
    until(note.exists)
    os.wait()
