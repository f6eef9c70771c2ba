"""Whatever stands in the way, looking at it ends with an answer."""

import os
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import looking
from bootstrap.adapters.looking import installations, listed, look_at
from bootstrap.adapters.project_settings import project_folders


def test_a_file_is_seen_with_its_mode_also_behind_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("text")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    found = look_at(PurePath(tmp_path / "link"))
    assert found.state is not None
    assert (found.data, found.state.mode, found.problem) == (b"text", 0o640, "")


def test_nothing_there_is_no_problem(tmp_path: Path) -> None:
    found = look_at(PurePath(tmp_path / "no" / "file"))
    assert (found.state, found.problem) == (None, "")


def test_what_cannot_be_read_has_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x" * 20)
    os.mkfifo(tmp_path / "pipe")
    assert look_at(PurePath(tmp_path)).problem == "a folder, a pipe or a device stands there"
    assert (
        look_at(PurePath(tmp_path / "pipe")).problem == "a folder, a pipe or a device stands there"
    )
    assert "symbolic links" in look_at(PurePath(tmp_path / "loop")).problem
    assert look_at(PurePath(tmp_path / "file" / "below")).problem == "not a directory"
    monkeypatch.setattr(looking, "_MOST_BYTES", 10)
    assert "16 MiB" in look_at(PurePath(tmp_path / "file")).problem


def test_a_folder_that_cannot_be_listed_is_empty(tmp_path: Path) -> None:
    assert listed(PurePath(tmp_path / "none"), "*") == []


def test_a_project_reaches_up_to_its_git_root_and_never_to_the_home(tmp_path: Path) -> None:
    deep = tmp_path / "repo" / "a"
    deep.mkdir(parents=True)
    assert project_folders(PurePath(deep), PurePath(tmp_path)) == [deep]
    (tmp_path / "repo" / ".git").mkdir()
    assert project_folders(PurePath(deep), PurePath(tmp_path)) == [deep, tmp_path / "repo"]
    (tmp_path / ".git").mkdir()
    (tmp_path / "repo" / ".git").rmdir()
    assert project_folders(PurePath(deep), PurePath(tmp_path)) == [deep, tmp_path / "repo"]
    assert project_folders(PurePath(tmp_path), PurePath(tmp_path)) == []
    assert project_folders(PurePath("/"), PurePath("/")) == []


def test_programs_are_found_in_the_order_of_path_with_their_packages_version(
    tmp_path: Path,
) -> None:
    for name, package in (("a", '{"version": "1.2.3"}'), ("b", "[]"), ("c", '{"version": 3}')):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "package.json").write_text(package)
        program = tmp_path / name / "bin" / "droid"
        program.touch(mode=0o755)
    (tmp_path / "c" / "bin" / "droid").chmod(0o644)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "droid").symlink_to(tmp_path / "a" / "bin" / "droid")
    folders = [tmp_path / "d", tmp_path / "b" / "bin", tmp_path / "c" / "bin", "relative", ""]
    path = ":".join(map(str, [*folders, tmp_path / "d"]))
    found = installations("droid", {"PATH": path})
    assert [(item.path.parent.name, item.version) for item in found] == [
        ("d", "1.2.3"),
        ("bin", ""),
    ]
    assert found[0].real == tmp_path / "a" / "bin" / "droid"


def test_a_process_that_cannot_be_read_has_no_variables() -> None:
    assert looking.environment_of(2**22) == {}
