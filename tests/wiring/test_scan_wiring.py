"""Which paths `keyturn scan` takes."""

import os
from pathlib import Path

import pytest

from bootstrap.adapters.scan_files import FolderHaystack, Start
from bootstrap.domain.errors import ConfigError, UsageError
from bootstrap.wiring.scan import existing


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    for name in ("~nobody-of-that-name/x", str(tmp_path / "none")):
        with pytest.raises(UsageError, match=r"none|nobody"):
            existing(name)


def test_a_folder_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="this folder is gone"):
        existing("x")
    os.chdir(tmp_path)


def test_a_named_mount_without_files_is_said() -> None:
    haystack = FolderHaystack([Start(Path("/proc"), asked=True)])
    assert list(haystack.items()) == []
    assert haystack.left_out == [(b"/proc", "what is mounted there holds no files")]
