"""The journal is on disk before the next step begins, and survives being cut off."""

import errno
import json
import math
import os
import stat
from pathlib import Path

import pytest

from bootstrap.adapters.journal import FileJournal
from bootstrap.domain.errors import RecoveryNeededError, TargetError
from bootstrap.domain.rotation import Record, Step

BEGUN = Record(Step.BEGUN, "KEY", "11111111", "22222222", "sops:a.env#KEY", 1.5, ("keyring:k#KEY",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "state"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def journal(folder: Path) -> FileJournal:
    return FileJournal(folder)


def file_of(folder: Path) -> Path:
    return folder / "rotation.journal"


def test_without_a_rotation_it_is_empty(journal: FileJournal) -> None:
    assert journal.records() == []


def test_lines_come_back_as_they_were_written(journal: FileJournal, folder: Path) -> None:
    journal.begin(BEGUN)
    journal.add(BEGUN.then(Step.CREATED, 2.0))
    assert FileJournal(folder).records() == [BEGUN, BEGUN.then(Step.CREATED, 2.0)]


def test_a_new_rotation_replaces_the_one_before(journal: FileJournal, folder: Path) -> None:
    journal.begin(BEGUN)
    journal.add(BEGUN.then(Step.UNDONE, 2.0))
    again = BEGUN.then(Step.BEGUN, 3.0)
    journal.begin(again)
    assert journal.records() == [again]
    assert [path.name for path in folder.iterdir()] == ["rotation.journal"]


def test_what_a_killed_beginning_left_is_no_obstacle(journal: FileJournal, folder: Path) -> None:
    (folder / ".rotation.journal.tmp").write_text("half a li")
    journal.begin(BEGUN)
    assert journal.records() == [BEGUN]


def test_only_its_owner_can_read_it(journal: FileJournal, folder: Path) -> None:
    journal.begin(BEGUN)
    assert stat.S_IMODE(file_of(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_does_not_count(journal: FileJournal, folder: Path, cut: int) -> None:
    journal.begin(BEGUN)
    journal.add(BEGUN.then(Step.CREATED, 2.0))
    os.truncate(file_of(folder), file_of(folder).stat().st_size - cut)
    assert journal.records() == [BEGUN]


def test_the_next_line_takes_the_place_of_a_torn_one(journal: FileJournal, folder: Path) -> None:
    journal.begin(BEGUN)
    with file_of(folder).open("a") as file:
        file.write('{"step": "crea')
    journal.add(BEGUN.then(Step.UNDONE, 2.0))
    assert journal.records() == [BEGUN, BEGUN.then(Step.UNDONE, 2.0)]


@pytest.mark.parametrize(
    "damage",
    [
        b"\n",
        b"no JSON\n",
        b"[]\n",
        b"[" * 100_000 + b"\n",
        b'{"step": "begun"}\n',
        b"\xff\xfe\n",
        b"\0\0\0\0\n",
        json.dumps(BEGUN.to_dict() | {"at": 1e300}).encode() + b"\n",
        json.dumps(BEGUN.to_dict() | {"retire_at": math.nan}).encode() + b"\n",
    ],
)
def test_damage_elsewhere_is_told_with_a_way_out(
    journal: FileJournal, folder: Path, damage: bytes
) -> None:
    journal.begin(BEGUN)
    file_of(folder).write_bytes(damage + file_of(folder).read_bytes())
    with pytest.raises(RecoveryNeededError) as caught:
        journal.records()
    assert caught.value.exit_code == 6
    assert "mv " in caught.value.fix


def test_a_folder_in_its_place_is_damage(journal: FileJournal, folder: Path) -> None:
    file_of(folder).mkdir()
    with pytest.raises(RecoveryNeededError):
        journal.records()


def test_a_symlink_that_somebody_planted_is_not_written_through(
    journal: FileJournal, folder: Path, tmp_path: Path
) -> None:
    file_of(folder).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetError):
        journal.add(BEGUN)
    assert not (tmp_path / "elsewhere").exists()


def test_where_it_cannot_be_written_the_error_says_where(tmp_path: Path) -> None:
    journal = FileJournal(tmp_path / "missing")
    for write in (journal.begin, journal.add):
        with pytest.raises(TargetError) as caught:
            write(BEGUN)
        assert str(tmp_path / "missing") in caught.value.what
        assert caught.value.why == "no such file or directory"


def test_one_that_cannot_be_begun_leaves_the_last_one_and_nothing_beside(
    journal: FileJournal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "")

    journal.begin(BEGUN)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetError):
        journal.begin(BEGUN.then(Step.CREATED, 2.0))
    assert list(folder.iterdir()) == [file_of(folder)]
    assert journal.records() == [BEGUN]
