"""Which settings files a client would read because of where it is started."""

import os
from pathlib import Path

import pytest

from bootstrap.adapters.project_settings import project_settings, settings_file
from bootstrap.domain.errors import ConfigError

NAMES = (".tool/settings.json", ".mcp.json")


def found(folder: Path, home: Path) -> list[str]:
    return [path.name + ":" + data.decode() for path, data in project_settings(folder, home, NAMES)]


def write(folder: Path, text: str) -> None:
    (folder / ".tool").mkdir(parents=True, exist_ok=True)
    (folder / ".tool" / "settings.json").write_text(text)


def test_inside_a_work_tree_all_folders_up_to_its_root_count(tmp_path: Path, home: Path) -> None:
    root, deep = tmp_path / "repo", tmp_path / "repo" / "a" / "b"
    deep.mkdir(parents=True)
    (root / ".git").write_text("gitdir: elsewhere")
    write(tmp_path, "outside")
    write(root, "root")
    write(root / "a", "middle")
    (deep / ".mcp.json").write_text("here")
    assert found(deep, home) == [".mcp.json:here", "settings.json:middle", "settings.json:root"]


def test_outside_of_git_only_the_folder_itself_counts(tmp_path: Path, home: Path) -> None:
    write(tmp_path, "above")
    (tmp_path / "here").mkdir()
    assert found(tmp_path / "here", home) == []
    assert found(tmp_path, home) == ["settings.json:above"]


def test_the_users_own_settings_are_no_projects(home: Path) -> None:
    write(home, "mine")
    assert found(home, home) == []


def test_what_cannot_be_read_is_refused(tmp_path: Path, home: Path) -> None:
    (tmp_path / ".mcp.json").mkdir()
    with pytest.raises(ConfigError) as caught:
        found(tmp_path, home)
    assert "--trust-project" in caught.value.fix
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    with pytest.raises(ConfigError):
        list(settings_file(big))


def test_a_pipe_in_its_place_does_not_make_us_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert list(settings_file(tmp_path / "pipe")) == [(tmp_path / "pipe", b"")]


def test_a_file_where_the_folder_would_be_is_no_settings_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert list(settings_file(tmp_path / "file" / "settings.json")) == []


def test_a_folder_above_that_may_not_be_looked_into_is_passed_over(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "closed" / "here"
    write(here, "mine")
    look = Path.exists

    def exists(path: Path) -> bool:
        if path == tmp_path / "closed" / ".git":
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "exists", exists)
    assert found(here, home) == ["settings.json:mine"]
