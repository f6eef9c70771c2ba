"""Whether there is room for a rotation, and whether a store can be replaced."""

import os
import posix
from pathlib import Path
from types import SimpleNamespace

import pytest

from bootstrap.adapters.disk import no_room
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.errors import ProviderUnavailableError

MB = 1024 * 1024


def disk(monkeypatch: pytest.MonkeyPatch, free: int, files: int = 1000, all_files: int = 1) -> None:
    found = SimpleNamespace(f_bavail=free // 512, f_frsize=512, f_favail=files, f_files=all_files)
    monkeypatch.setattr(os, "statvfs", lambda path: found)


def test_a_disk_with_room_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert no_room([tmp_path / "not/there/yet"]) is None
    disk(monkeypatch, 2 * MB, files=0, all_files=0)  # btrfs counts no files
    assert no_room([tmp_path]) is None


def test_a_disk_without_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 12 * 1024)
    found = no_room([tmp_path / "a", tmp_path])
    assert found == f"{tmp_path} has 12 KiB left, and 1024 may be needed"
    disk(monkeypatch, 2 * MB, files=3)
    assert no_room([tmp_path]) == f"{tmp_path} has room for 3 more files, not for 64"


def test_a_disk_that_cannot_be_asked_is_left_to_whoever_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "statvfs", fail)
    assert no_room([tmp_path]) is None


def test_a_store_that_is_read_only_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "a.enc.env"
    provider = SopsProvider(tmp_path, {})
    provider.check_place("a.enc.env")  # one that is not there yet will be made
    store.touch()
    provider.check_place("a.enc.env")
    for read_only in (store, tmp_path):
        monkeypatch.setattr(
            posix, "access", lambda path, mode, ro=read_only: mode != os.W_OK or path != str(ro)
        )
        with pytest.raises(ProviderUnavailableError) as caught:
            provider.check_place("a.enc.env")
        assert (caught.value.what, caught.value.why) == (
            f"cannot write {store}",
            f"{read_only} is read-only",
        )
