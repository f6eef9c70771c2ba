"""Which lab a command is about."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from bootstrap.adapters.find_lab import find_lab, open_lab, read_lab, registry, stat_lab
from bootstrap.domain.errors import ConfigError


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    root = tmp_path / "lab"
    (root / "deep/er").mkdir(parents=True)
    (root / "lab.toml").write_text("version = 1\n")
    return root


def default_file() -> str:
    return registry(os.environ)


def refusal(given: str | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        find_lab(given, default_file())
    return caught.value


def test_the_nearest_lab_above_counts(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (lab, lab / "deep", lab / "deep/er"):
        monkeypatch.chdir(folder)
        assert find_lab(None, default_file()) == str(lab)
    monkeypatch.chdir("/")
    assert find_lab(None, default_file()) is None


def test_the_option_then_the_variable_then_the_folder(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "lab.toml").write_text("")
    monkeypatch.chdir(lab)
    monkeypatch.setenv("KEYTURN_LAB", str(other / "lab.toml"))
    assert find_lab(None, default_file()) == str(other)
    assert find_lab(".", default_file()) == str(lab)
    monkeypatch.setenv("KEYTURN_LAB", "../other")
    assert find_lab(None, default_file()) == str(other)


def test_the_registered_lab_is_last(lab: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    file = home / ".config/keyturn/default-lab"
    file.parent.mkdir(parents=True)
    file.write_text(f"{lab}\n")
    assert find_lab(None, default_file()) == str(lab)
    for text in ("relative\n", "/gone\n", ""):
        file.write_text(text)
        assert find_lab(None, default_file()) is None
    file.write_bytes(b"\xff")
    assert find_lab(None, default_file()) is None
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert default_file() == f"{home}/elsewhere/keyturn/default-lab"


def test_a_folder_without_a_lab_file_is_refused(tmp_path: Path) -> None:
    error = refusal(str(tmp_path))
    assert error.what == "--lab names no lab"
    assert error.fix == f"keyturn init {tmp_path}"


def test_a_working_folder_that_is_gone_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_lab(None, default_file()) is None
    assert "this folder is gone" in refusal("relative").why
    monkeypatch.chdir(tmp_path)


def test_a_lab_of_another_user_is_refused(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab)
    with suppress(PermissionError):  # root's own files are trusted
        os.chown(lab / "lab.toml", 65534, -1)
    monkeypatch.setattr("posix.geteuid", lambda: 4711)
    assert "belongs to another user" in refusal().what
    for look in (stat_lab, open_lab):
        with pytest.raises(ConfigError, match="another user"):
            look(str(lab))


def test_the_text_and_the_state_of_the_file_come_back(lab: Path) -> None:
    text, state = open_lab(str(lab))
    assert text == read_lab(str(lab)) == "version = 1\n"
    assert state.st_ino == stat_lab(str(lab)).st_ino == (lab / "lab.toml").stat().st_ino


def test_a_file_that_cannot_be_read_is_explained(lab: Path) -> None:
    file = lab / "lab.toml"
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not text"):
        read_lab(str(lab))
    file.unlink()
    for look in (read_lab, stat_lab):
        with pytest.raises(ConfigError, match="there is no"):
            look(str(lab))
    file.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_lab(str(lab))
