"""Paths without `os.path` give what `os.path` gives."""

import os
from pathlib import Path

import pytest

from bootstrap.adapters.paths import absolute, folder_of, is_file, is_folder, is_program


@pytest.mark.parametrize(
    "path", ["a", "a/b", "./a", "../a", "a//b", "a/", "/x/y", "/x//y/../z", "/", "~/a"]
)
@pytest.mark.parametrize("start", [None, "/lab", "/lab/sub dir"])
def test_a_path_becomes_absolute_and_normal(path: str, start: str | None) -> None:
    wanted = os.path.join(start or Path.cwd(), os.path.expanduser(path))  # noqa: PTH111, PTH118
    assert absolute(path, start) == os.path.normpath(wanted)


def test_the_folder_of_a_path_at_the_top_is_the_top() -> None:
    assert (folder_of("/a/b"), folder_of("/a"), folder_of("/")) == ("/a", "/", "/")


def test_kinds_of_entries_are_told_apart_through_links(tmp_path: Path) -> None:
    file, link, none = tmp_path / "file", tmp_path / "link", tmp_path / "none"
    file.touch(mode=0o600)
    link.symlink_to(tmp_path)
    for path, kinds in ((file, (True, False)), (link, (False, True)), (none, (False, False))):
        assert (is_file(str(path)), is_folder(str(path))) == kinds
    assert not is_file("nul\0byte")
    assert not is_folder("nul\0byte")
    assert not is_program(str(file))
    file.chmod(0o700)
    assert is_program(str(file))
    assert not is_program(str(tmp_path))
