"""A private file for one run: closed to others, gone afterwards, swept by the next run if not."""

from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.runtime_file import RuntimeFile, runtime_folder
from bootstrap.domain.content import Content
from bootstrap.domain.errors import TargetError

CONTENT = Content(b"{}\n")


def test_it_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    file = RuntimeFile(tmp_path / "run", "droid", CONTENT)
    assert file.path.read_bytes() == b"{}\n"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert file.path.name.startswith("droid-")


def test_removing_it_twice_is_removing_it_once(tmp_path: Path) -> None:
    file = RuntimeFile(tmp_path, "droid", CONTENT)
    file.remove()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_leftover_goes_with_the_next_run_and_a_file_in_use_stays(tmp_path: Path) -> None:
    (tmp_path / "droid-0123456789ab.json").write_text("left over")
    (tmp_path / "other.txt").write_text("not ours")
    used = RuntimeFile(tmp_path, "droid", CONTENT)
    second = RuntimeFile(tmp_path, "droid", CONTENT)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["other.txt", used.path.name, second.path.name]
    )


def test_a_file_whose_folder_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TargetError) as caught:
        RuntimeFile(tmp_path / "file" / "run", "droid", CONTENT)
    assert "file" in caught.value.what


def test_a_file_that_is_swept_again_and_again_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = "bootstrap.adapters.runtime_file.fcntl.flock"

    def sweep(handle: int, flags: int) -> None:
        Path(f"/proc/self/fd/{handle}").readlink().unlink()

    monkeypatch.setattr(lock, sweep)
    with pytest.raises(TargetError):
        RuntimeFile(tmp_path, "droid", CONTENT)


def test_the_runtime_folder_counts_where_it_is_private(tmp_path: Path) -> None:
    state = PurePath("/home/someone/.local/state")
    private, shared = tmp_path / "private", tmp_path / "shared"
    private.mkdir(mode=0o700)
    shared.mkdir(mode=0o755)
    assert runtime_folder({"XDG_RUNTIME_DIR": str(private)}, state) == private / "keyturn" / "run"
    for value in (str(shared), str(tmp_path / "absent"), "", "relative"):
        folder = runtime_folder({"XDG_RUNTIME_DIR": value}, state)
        assert folder == Path("/home/someone/.local/state/keyturn/run")
    assert runtime_folder({}, state) == Path("/home/someone/.local/state/keyturn/run")
