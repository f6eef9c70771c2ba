"""A path is used only where nobody else could put something else in its place."""

import errno
import os
from pathlib import Path

import pytest

from bootstrap.adapters.trust import real_path
from bootstrap.domain.errors import TargetError

SOMEBODY = 12345


def refused(path: Path) -> TargetError:
    """Return the error that the path gets."""
    with pytest.raises(TargetError) as caught:
        real_path(path)
    return caught.value


def test_a_plain_path_is_itself_whether_it_is_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file", tmp_path / "no" / "such" / "file", Path("/")):
        assert real_path(path) == path


def test_symlinks_of_the_users_own_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "dotfiles/factory").mkdir(parents=True)
    (tmp_path / "one").symlink_to("dotfiles")
    (tmp_path / "two").symlink_to(tmp_path / "one" / "factory")
    (tmp_path / "dotfiles/factory/up").symlink_to("../other/./file")
    assert real_path(tmp_path / "two/up") == tmp_path / "dotfiles/other/file"


def test_a_loop_of_symlinks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert refused(tmp_path / "a").why == "its symlinks form a loop"


def test_a_path_through_a_file_is_refused_and_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(tmp_path / "file" / "below").why == f"{tmp_path / 'file'} is not a folder"


def test_a_folder_that_anybody_may_write_in_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    error = refused(tmp_path / "open" / "file")
    assert error.why == f"anybody may write in {tmp_path / 'open'}"
    assert error.fix == f"chmod o-w {tmp_path / 'open'}"


def test_a_folder_like_tmp_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    assert real_path(tmp_path / "sticky" / "file") == tmp_path / "sticky" / "file"


def test_a_path_that_may_not_be_looked_at_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.lstat

    def lstat(path: Path) -> os.stat_result:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "no")
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    error = refused(tmp_path / "closed")
    assert str(error) == f"{tmp_path / 'closed'} cannot be read: permission denied"
    assert error.fix == f"ls -ld {tmp_path}"


@pytest.mark.integration
class TestOtherUsers:
    """These give files away, so they need root."""

    def test_a_file_of_another_user_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "settings.json"
        path.write_text("{}")
        os.chown(path, SOMEBODY, SOMEBODY)
        error = refused(path)
        assert error.why == f"{path} belongs to another user (uid {SOMEBODY})"
        assert "chown" in error.fix

    def test_a_folder_of_another_user_anywhere_above_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "theirs/mine").mkdir(parents=True)
        os.chown(tmp_path / "theirs", SOMEBODY, SOMEBODY)
        assert str(tmp_path / "theirs") in refused(tmp_path / "theirs/mine/file").why

    def test_a_symlink_of_another_user_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("")
        (tmp_path / "link").symlink_to("mine")
        os.chown(tmp_path / "link", SOMEBODY, SOMEBODY, follow_symlinks=False)
        assert "link belongs to another user" in refused(tmp_path / "link").why

    def test_a_link_of_another_user_behind_one_of_ours_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "mine").write_text("")
        (tmp_path / "planted").symlink_to("mine")
        os.chown(tmp_path / "planted", SOMEBODY, SOMEBODY, follow_symlinks=False)
        (tmp_path / "link").symlink_to("planted")
        assert "planted belongs to another user" in refused(tmp_path / "link").why

    def test_what_root_made_is_accepted_for_every_user(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
        assert real_path(tmp_path / "file") == tmp_path / "file"
        os.chown(tmp_path / "file", SOMEBODY, SOMEBODY)
        assert real_path(tmp_path / "file") == tmp_path / "file"
