"""A small file that is kept between runs: whatever stands there, no command ends because of it."""

import os
from pathlib import Path

import pytest

from bootstrap.adapters.json_file import JsonFile
from bootstrap.domain.errors import TargetError


def test_what_was_saved_is_loaded_and_the_same_is_not_written_again(tmp_path: Path) -> None:
    file = JsonFile(tmp_path / "new" / "rows.json")
    assert file.load() is None
    file.save({"b": [1], "a": None})
    path = tmp_path / "new" / "rows.json"
    before = path.stat()
    assert before.st_mode & 0o777 == 0o600
    file.save({"a": None, "b": [1]})
    assert path.stat() == before
    assert JsonFile(path).load() == {"a": None, "b": [1]}
    file.save([])
    assert file.load() == []


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_does_not_parse_counts_as_nothing_and_is_replaced(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(data)
    assert JsonFile(path).load() is None
    JsonFile(path).save({})
    assert JsonFile(path).load() == {}


def test_what_is_no_file_counts_as_nothing_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    os.mkfifo(path)
    assert JsonFile(path).load() is None
    with pytest.raises(TargetError, match=r"rows\.json"):
        JsonFile(path).save({})
    assert path.is_fifo()
