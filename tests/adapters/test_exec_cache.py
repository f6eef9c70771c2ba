"""What `keyturn exec` remembers of a lab file, and when it does not believe it."""

import os
import time
from pathlib import Path

import pytest

from bootstrap.adapters import exec_cache
from bootstrap.adapters.exec_cache import recall, remember

TEXT = "LITELLM_MASTER_KEY\nLITELLM_MASTER_KEY\t\tenv:A"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lab file that counts as old."""
    monkeypatch.setattr(exec_cache, "_RECENT_NS", -(10**15))
    file = tmp_path / "lab" / "lab.toml"
    file.parent.mkdir()
    file.write_text("version = 1\n")
    return file


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home")}


def put(lab: Path, environ: dict[str, str], text: str = TEXT) -> None:
    remember("exec", str(lab.parent), lab.stat(), text, environ)


def get(lab: Path, environ: dict[str, str]) -> str | None:
    return recall("exec", str(lab.parent), lab.stat(), environ)


def file_in(environ: dict[str, str]) -> Path:
    (found,) = Path(environ["HOME"], ".cache/keyturn").rglob("note")
    return found


def test_what_is_remembered_is_recalled(lab: Path, environ: dict[str, str]) -> None:
    assert get(lab, environ) is None
    put(lab, environ)
    assert get(lab, environ) == TEXT
    assert recall("ahead", str(lab.parent), lab.stat(), environ) is None


def test_only_the_user_can_read_it(lab: Path, environ: dict[str, str]) -> None:
    put(lab, environ)
    assert file_in(environ).stat().st_mode & 0o777 == 0o600
    folder = Path(environ["HOME"], ".cache/keyturn")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_any_change_of_the_lab_file_forgets_it(lab: Path, environ: dict[str, str]) -> None:
    put(lab, environ)
    before = lab.stat()
    lab.write_text("version = 2\n")
    os.utime(lab, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert get(lab, environ) is None


def test_another_keyturn_forgets_it(
    lab: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, environ)
    monkeypatch.setattr(exec_cache, "__version__", "99")
    assert get(lab, environ) is None


def test_what_others_could_have_written_is_not_believed(
    lab: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab, environ)
    file = file_in(environ)
    file.chmod(0o644)
    assert get(lab, environ) is None
    file.chmod(0o600)
    assert get(lab, environ) == TEXT
    moved = file.with_name("moved")
    file.rename(moved)
    file.symlink_to(moved)
    assert get(lab, environ) is None
    moved.replace(file)
    monkeypatch.setattr(exec_cache, "_MOST_BYTES", 10)
    assert get(lab, environ) is None
    monkeypatch.undo()
    assert get(lab, environ) == TEXT
    monkeypatch.setattr("posix.geteuid", lambda: 4711)
    assert get(lab, environ) is None


@pytest.mark.parametrize("keep", [0, 10, -1, -4])
def test_half_a_file_is_not_believed(lab: Path, environ: dict[str, str], keep: int) -> None:
    put(lab, environ)
    data = file_in(environ).read_bytes()
    file_in(environ).write_bytes(data[:keep])
    assert get(lab, environ) is None
    file_in(environ).write_bytes(b"\xff" + data)
    assert get(lab, environ) is None


def test_a_lab_file_that_changed_a_moment_ago_is_not_remembered(
    lab: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_cache, "_RECENT_NS", 60 * 10**9)
    lab.touch()
    assert time.time_ns() - lab.stat().st_mtime_ns < 60 * 10**9
    put(lab, environ)
    assert get(lab, environ) is None


def test_in_a_ci_job_nothing_is_written(lab: Path, environ: dict[str, str]) -> None:
    put(lab, environ | {"CI": "true"})
    assert list(Path(environ["HOME"]).iterdir()) == []


def test_the_users_cache_folder_is_respected(lab: Path, environ: dict[str, str]) -> None:
    environ["XDG_CACHE_HOME"] = f"{lab.parent}/cache"
    put(lab, environ)
    assert get(lab, environ) == TEXT
    assert list(Path(environ["HOME"]).iterdir()) == []


@pytest.mark.parametrize("home", ["", "relative"])
def test_without_a_home_nothing_is_remembered(lab: Path, home: str) -> None:
    put(lab, {"HOME": home})
    assert get(lab, {"HOME": home}) is None


def test_what_cannot_be_written_costs_only_time(lab: Path, environ: dict[str, str]) -> None:
    home = Path(environ["HOME"])
    home.rmdir()
    put(lab, environ)
    assert not home.exists()
    home.write_text("a file")
    put(lab, environ)
    assert get(lab, environ) is None
    put(lab, environ, "\udcff")
    home.unlink()
    home.mkdir()
    put(lab, environ)
    os.mkfifo(file_in(environ).with_name("pipe"))
    file_in(environ).with_name("pipe").replace(file_in(environ))
    assert get(lab, environ) is None
    put(lab, environ)
    target = file_in(environ)
    target.unlink()
    target.mkdir()
    put(lab, environ)
    assert [entry.name for entry in target.parent.iterdir()] == [target.name]
    assert get(lab, environ) is None
