"""Starting sops early: when, with what, and who may have it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.adapters import ahead, exec_cache, find_lab
from support.sops_lab import fake_sops
from support.waiting import until

pytestmark = pytest.mark.integration

DATA = b"A=ENC[x]\n"


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(exec_cache, "_RECENT_NS", -(10**15))
    monkeypatch.setattr(ahead, "end_on_signals", lambda: None, raising=False)
    monkeypatch.setattr("bootstrap.adapters.ending.end_on_signals", lambda: None)
    ahead.abandon()
    ahead._State.done = None
    yield
    ahead.abandon()
    ahead._State.done = None


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "lab"
    root.mkdir()
    (root / "lab.toml").write_text("version = 1\n")
    (root / "store.enc.env").write_bytes(DATA)
    monkeypatch.chdir(root)
    return root


def command(lab: Path, body: str = "cat; echo $SOPS_CONFIG") -> list[str]:
    """Return a command in place of sops, which is remembered for the lab."""
    argv = [fake_sops(lab.parent / "sops", f"echo run >> {lab.parent}/runs\n{body}"), "decrypt"]
    ahead.note(argv, "/rules/.sops.yaml", str(lab / "store.enc.env"), DATA)
    ahead.remember(str(lab))
    return argv


def runs(lab: Path) -> int:
    file = lab.parent / "runs"
    return file.read_text().count("\n") if file.exists() else 0


def test_the_next_run_does_what_the_last_one_did(lab: Path) -> None:
    argv = command(lab)
    ahead.start()
    assert ahead.take(argv, DATA, 30) == DATA + b"/rules/.sops.yaml\n"
    assert ahead.take(argv, DATA, 30) is None
    assert runs(lab) == 1


def test_it_is_for_that_file_and_that_command_only(lab: Path) -> None:
    argv = command(lab)
    ahead.start()
    assert ahead.take([*argv, "more"], DATA, 30) is None
    assert ahead.take(argv, b"B=ENC[y]\n", 30) is None
    assert ahead.take(argv, DATA, 30) is not None


def test_a_failure_is_left_to_the_usual_way(lab: Path) -> None:
    argv = command(lab, "exit 128")
    ahead.start()
    assert ahead.take(argv, DATA, 30) is None


def test_one_that_hangs_is_ended(lab: Path) -> None:
    argv = command(lab, "exec sleep 300")
    ahead.start()
    assert ahead.take(argv, DATA, 0.2) is None


def test_what_nobody_takes_is_ended(lab: Path) -> None:
    command(lab, f"echo $$ > {lab.parent}/pid; exec sleep 300")
    ahead.start()
    note = lab.parent / "pid"
    pid = until(lambda: note.exists() and note.read_text().strip())
    ahead.abandon()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    "change", ["path", "choice", "program", "lab", "store gone", "store empty"]
)
def test_after_a_change_nothing_is_started(
    lab: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    argv = command(lab)
    if change == "path":
        monkeypatch.setenv("PATH", f"/new:{os.environ['PATH']}")
    elif change == "choice":
        monkeypatch.setenv("KEYTURN_SOPS", argv[0])
    elif change == "program":
        os.utime(argv[0], ns=(1, 1))
    elif change == "lab":
        (lab / "lab.toml").write_text("version = 1\n\n")
    elif change == "store gone":
        (lab / "store.enc.env").unlink()
    else:
        (lab / "store.enc.env").write_bytes(b"")
    ahead.start()
    time.sleep(0.1)
    assert ahead.take(argv, DATA, 30) is None
    assert runs(lab) == 0


def test_a_changed_store_is_what_is_decrypted(lab: Path) -> None:
    argv = command(lab)
    (lab / "store.enc.env").write_bytes(b"A=ENC[new]\n")
    ahead.start()
    assert ahead.take(argv, DATA, 30) is None
    assert ahead.take(argv, b"A=ENC[new]\n", 30) is not None


def test_without_a_lab_or_a_memory_nothing_is_started(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead.start()
    monkeypatch.chdir("/")
    ahead.start()
    assert ahead._State.started is None


def test_a_lab_that_somebody_else_planted_starts_nothing(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(lab)
    monkeypatch.setattr("posix.geteuid", lambda: 4711)
    monkeypatch.setattr(find_lab, "_check_owner", refuse)
    ahead.start()
    assert ahead._State.started is None


def refuse(path: str, owner: int) -> None:
    raise find_lab._error(path, why="planted", fix="go away")


def test_a_program_that_cannot_be_started_is_left_to_the_usual_way(
    lab: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = lab.parent / "sops"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    ahead.note([str(program)], "/x", str(lab / "store.enc.env"), DATA)
    ahead.remember(str(lab))
    ahead.start()
    assert ahead._State.started is None
    monkeypatch.delattr("posix.posix_spawn")
    ahead.start()
    assert ahead._State.started is None


def test_a_program_that_has_gone_meanwhile_is_not_remembered(lab: Path) -> None:
    ahead.note(["/gone/sops", "decrypt"], "/x", str(lab / "store.enc.env"), DATA)
    ahead.remember(str(lab))
    ahead.start()
    assert ahead._State.started is None


def test_only_the_first_file_is_remembered_and_only_if_there_was_one(lab: Path) -> None:
    ahead.remember(str(lab))
    assert not (Path(os.environ["HOME"]) / ".cache").exists()
    argv = command(lab)
    ahead.note(["/other"], "/x", "/y", b"z")
    ahead.remember(str(lab))
    ahead.start()
    assert ahead.take(argv, DATA, 30) is not None


def test_a_path_with_a_newline_is_not_remembered(lab: Path) -> None:
    ahead.note([fake_sops(lab.parent / "sops", "true")], "/x\ny", str(lab / "store.enc.env"), DATA)
    ahead.remember(str(lab))
    ahead.start()
    assert ahead._State.started is None
