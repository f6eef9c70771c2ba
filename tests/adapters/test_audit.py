"""The audit record: private, bounded, and never more than a note when it cannot be kept."""

import errno
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.adapters.audit import AUDIT_FILE, MOST_LINES, FileAudit
from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.errors import TargetError
from bootstrap.domain.rotation import Part

PART = Part("KEY", "11111111", "22222222", "sops:a#KEY")
ENTRY = Entry(5.0, Event.ROTATED, (PART,))


def numbered(number: int) -> Entry:
    return replace(ENTRY, at=float(number), parts=(replace(PART, new=f"{number:08x}"),))


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert FileAudit(tmp_path).entries() == ([], 0)


def test_entries_come_back_in_order_from_a_private_file(tmp_path: Path) -> None:
    audit = FileAudit(tmp_path)
    old = os.umask(0)
    try:
        audit.add(numbered(1))
        audit.add(numbered(2))
    finally:
        os.umask(old)
    assert audit.entries() == ([numbered(1), numbered(2)], 0)
    assert stat.S_IMODE((tmp_path / AUDIT_FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [AUDIT_FILE]
    lines = (tmp_path / AUDIT_FILE).read_text().splitlines()
    assert [json.loads(line)["secrets"][0]["new"] for line in lines] == ["00000001", "00000002"]


def test_a_line_that_a_crash_makes_us_write_again_stands_there_once(tmp_path: Path) -> None:
    audit = FileAudit(tmp_path)
    audit.add(ENTRY)
    audit.add(replace(ENTRY, at=9.0))
    assert audit.entries() == ([ENTRY], 0)


def test_the_latest_stay_readable_however_long_the_lines_are(tmp_path: Path) -> None:
    long = replace(PART, store="sops:" + "x" * 500 + "#KEY")
    line = json.dumps(replace(ENTRY, parts=(long,) * 8).to_dict()) + "\n"
    (tmp_path / AUDIT_FILE).write_text(line * ((1 << 20) // len(line)))
    audit = FileAudit(tmp_path)
    for number in range(3):
        audit.add(numbered(number))
    entries, damaged = audit.entries()
    assert (entries[-3:], damaged) == ([numbered(0), numbered(1), numbered(2)], 0)


def test_only_the_latest_are_kept(tmp_path: Path) -> None:
    lines = [json.dumps(numbered(n).to_dict()) for n in range(MOST_LINES + 5)]
    (tmp_path / AUDIT_FILE).write_text("\n".join(lines) + "\n")
    FileAudit(tmp_path).add(ENTRY)
    entries, _ = FileAudit(tmp_path).entries()
    assert len(entries) == MOST_LINES
    assert entries[0] == numbered(6)
    assert entries[-1] == ENTRY


@pytest.mark.parametrize(
    "text", ["no JSON\n", "[]\n", '{"at": "x"}\n', '{"at": 5, "event": "danced"}\n', "[" * 99_999]
)
def test_a_line_that_is_not_sound_is_counted_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / AUDIT_FILE).write_text(text)
    audit = FileAudit(tmp_path)
    audit.add(ENTRY)
    assert audit.entries() == ([ENTRY], 1)


def test_a_leftover_of_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / f".{AUDIT_FILE}.tmp").write_text("left")
    FileAudit(tmp_path).add(ENTRY)
    assert FileAudit(tmp_path).entries() == ([ENTRY], 0)


def test_a_link_and_a_pipe_are_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / AUDIT_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TargetError, match="cannot be read"):
        FileAudit(tmp_path).add(ENTRY)
    (tmp_path / AUDIT_FILE).unlink()
    os.mkfifo(tmp_path / AUDIT_FILE)
    with pytest.raises(TargetError, match="no regular file"):
        FileAudit(tmp_path).entries()


def test_what_may_not_be_read_is_not_to_be_moved_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: object, flags: int) -> int:
        raise PermissionError(errno.EACCES, "x")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(TargetError) as caught:
        FileAudit(tmp_path).entries()
    assert (caught.value.why, caught.value.fix) == (
        "permission denied",
        f"look at the folder: ls -ld {tmp_path}",
    )


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot be written"):
        FileAudit(tmp_path / "gone").add(ENTRY)


def test_what_cannot_be_written_leaves_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "")

    FileAudit(tmp_path).add(ENTRY)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TargetError, match="cannot be written"):
        FileAudit(tmp_path).add(replace(ENTRY, event=Event.UNDONE))
    assert [path.name for path in tmp_path.iterdir()] == [AUDIT_FILE]
