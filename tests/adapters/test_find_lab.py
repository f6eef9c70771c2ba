"""Which lab a command is about, and that nobody can plant one."""

import errno
import os
from pathlib import Path

import pytest

from bootstrap.adapters.find_lab import find_lab, no_lab, read_lab
from bootstrap.domain.errors import ConfigError

SOMEBODY = 12345


@pytest.fixture
def labs(tmp_path: Path) -> Path:
    """A folder with the labs given, variable, above/here and default, and a registration."""
    for name in ("given", "variable", "above", "default"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lab.toml").write_text(f"# {name}\n")
    (tmp_path / "above/here/deep").mkdir(parents=True)
    (tmp_path / "registered").write_text(f"{tmp_path}/default\n")
    return tmp_path


def found(labs: Path, given: str | None = None) -> str | None:
    """Return the name of the lab that is found."""
    folder = find_lab(given, str(labs / "registered"))
    return folder if folder is None else str(Path(folder).relative_to(labs))


def test_the_order_is_option_variable_upwards_registered(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(labs / "above/here/deep")
    monkeypatch.setenv("KEYTURN_LAB", str(labs / "variable"))
    assert found(labs, str(labs / "given")) == "given"
    assert found(labs) == "variable"
    monkeypatch.setenv("KEYTURN_LAB", "")
    assert found(labs) == "above"
    monkeypatch.chdir("/")
    assert found(labs) == "default"
    (labs / "registered").unlink()
    assert found(labs) is None


@pytest.mark.parametrize("words", ["given", "./given/", "given/lab.toml", "../{name}/given"])
def test_a_lab_is_named_by_its_folder_or_its_file(
    labs: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(labs)
    assert found(labs, words.format(name=labs.name)) == "given"


def test_a_tilde_is_the_home(labs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(labs))
    assert found(labs, "~/given") == "given"


def test_a_folder_that_is_no_lab_is_refused_and_not_passed_over(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(labs / "above")
    with pytest.raises(ConfigError, match="--lab names no lab") as caught:
        found(labs, str(labs))
    assert caught.value.fix == f"keyturn init {labs}"
    monkeypatch.setenv("KEYTURN_LAB", str(labs / "nowhere"))
    with pytest.raises(ConfigError, match="KEYTURN_LAB names no lab"):
        found(labs)


def test_a_folder_that_may_not_be_looked_into_is_not_called_empty(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigError) as caught:
        found(labs, str(labs))
    assert caught.value.why == f"you may not look into {labs}"
    assert caught.value.fix == f"ls -ld {labs}"


def test_a_working_directory_that_is_gone_hides_no_other_way_to_a_lab(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(labs / "above/here/deep")
    (labs / "above/here/deep").rmdir()
    assert found(labs) == "default"
    assert found(labs, str(labs / "given")) == "given"
    with pytest.raises(ConfigError, match=r"--lab names no lab: .*this folder is gone"):
        found(labs, "given")


@pytest.mark.parametrize("text", [b"", b"\n", b"no/such\n", b"default\n", b"\xff\n"])
def test_a_registration_that_leads_nowhere_counts_as_none(
    labs: Path, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.chdir("/")
    (labs / "registered").write_bytes(text)
    assert found(labs) is None


def test_a_registered_lab_that_is_gone_is_named(labs: Path) -> None:
    file = labs / "registered"
    file.write_text(f"{labs}/gone\n")
    error = no_lab(str(file))
    assert f"the registered one, {labs}/gone, is gone" in error.why
    assert "keyturn --lab DIR bootstrap" in error.fix
    file.unlink()
    assert no_lab(str(file)).why.endswith("none registered")


def test_the_lab_file_is_read(labs: Path) -> None:
    assert read_lab(str(labs / "given")) == "# given\n"


def test_a_lab_file_that_cannot_be_read_is_explained(
    labs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="the lab has gone"):
        read_lab(str(labs))
    (labs / "given/lab.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="it is not UTF-8"):
        read_lab(str(labs / "given"))
    (labs / "lab.toml").mkdir()
    with pytest.raises(ConfigError, match=os.strerror(errno.EISDIR).lower()):
        read_lab(str(labs))


@pytest.mark.integration
class TestOtherUsers:
    """These give files away, so they need root."""

    def test_a_lab_that_another_user_put_above_us_is_refused(
        self, labs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.chown(labs / "above/lab.toml", SOMEBODY, SOMEBODY)
        monkeypatch.chdir(labs / "above/here")
        with pytest.raises(ConfigError, match="belongs to another user") as caught:
            found(labs)
        assert caught.value.why == f"uid {SOMEBODY} could have planted it"

    def test_a_link_of_ours_to_another_users_lab_file_is_refused(self, labs: Path) -> None:
        (labs / "given/lab.toml").rename(labs / "theirs")
        os.chown(labs / "theirs", SOMEBODY, SOMEBODY)
        (labs / "given/lab.toml").symlink_to(labs / "theirs")
        with pytest.raises(ConfigError, match="belongs to another user"):
            read_lab(str(labs / "given"))


def test_a_pipe_in_the_place_of_the_lab_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lab.toml")
    with pytest.raises(ConfigError, match="is not a file"):
        read_lab(str(tmp_path))
