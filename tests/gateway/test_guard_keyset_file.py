"""The keyset file: which one the guard believes, and until when."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bootstrap.domain.keyset import KEYSET_FILE, Keyset
from bootstrap.gateway import keyturn_guard
from bootstrap.gateway.keyturn_guard import Guard, KeysetFile
from support.guard import (
    NEW,
    NOW,
    OLD,
    Ask,
    Time,
    asking,
    is_granted,
    lab_keyset,
    put,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / KEYSET_FILE


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def ask(file: Path, time: Time, monkeypatch: pytest.MonkeyPatch) -> Ask:
    return asking(file, time, monkeypatch)


def ids(keyset_file: KeysetFile) -> list[str]:
    return sorted(key.id for key in keyset_file.read())


def test_what_keyturn_writes_is_what_the_guard_reads(file: Path) -> None:
    keyset = lab_keyset().with_overlap(OLD, NEW, NOW)
    put(file, keyset)
    read = {key.id: key for key in KeysetFile(file).read()}
    assert set(read) == {"master", "previous", "client-all", "client-scoped"}
    assert read["client-scoped"].models == frozenset({"small", "large"})
    assert (read["previous"].not_after, read["previous"].sha256) == (NOW, OLD.digest())


def test_a_replaced_keyset_counts_at_the_next_look(file: Path) -> None:
    put(file, Keyset().with_current(OLD))
    reader = KeysetFile(file)
    assert [key.sha256 for key in reader.read()] == [OLD.digest()]
    for secret in (NEW, OLD, NEW):
        put(file, Keyset().with_current(secret))
        assert [key.sha256 for key in reader.read()] == [secret.digest()]


def test_a_settled_keyset_is_looked_at_once_per_request_and_not_read_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(file, Keyset().with_current(OLD))
    monkeypatch.setattr(keyturn_guard.uses, "_SETTLED_NS", 0)
    reader = KeysetFile(file)
    reader.read()
    looks: list[Any] = []
    look = os.lstat

    def noted(path: Path) -> os.stat_result:
        looks.append(path)
        return look(path)

    monkeypatch.setattr(os, "lstat", noted)
    monkeypatch.setattr(keyturn_guard.uses, "read_trusted", lambda path: pytest.fail("read again"))
    assert ids(reader) == ["master"]
    assert looks == [file]


def test_a_keyset_rewritten_within_one_tick_of_the_clock_is_not_missed(file: Path) -> None:
    put(file, Keyset().with_current(OLD))
    reader = KeysetFile(file)
    reader.read()
    before = file.stat()
    file.write_bytes(Keyset().with_current(NEW).to_bytes())  # same inode and length
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [key.sha256 for key in reader.read()] == [NEW.digest()]


def make_missing(file: Path) -> None:
    file.unlink()


def make_symlink(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def make_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


SOUND = Keyset().with_current(OLD).to_bytes()
BROKEN: Mapping[str, Callable[[Path], Any]] = {
    "missing": make_missing,
    "symlink": make_symlink,
    "folder": make_folder,
    "fifo": make_fifo,
    "group-writable": lambda file: file.chmod(0o620),
    "world-writable": lambda file: file.chmod(0o602),
    "empty": lambda file: put(file, b""),
    "truncated": lambda file: put(file, SOUND[:-5]),
    "not-text": lambda file: put(file, b"\xff" * 50),
    "nested": lambda file: put(file, b"[" * 100_000),
    "oversized": lambda file: put(file, SOUND + b" " * 300_000),
    "other-version": lambda file: put(file, SOUND.replace(b'"version": 1', b'"version": 2')),
    "no-keys": lambda file: put(file, b'{"version": 1}'),
    "entry-no-object": lambda file: put(file, b'{"version": 1, "keys": [5]}'),
    "entry-without-id": lambda file: put(file, SOUND.replace(b'"id"', b'"ID"')),
    "unknown-kind": lambda file: put(file, SOUND.replace(b'"kind": "master"', b'"kind": "root"')),
    "short-digest": lambda file: put(file, SOUND.replace(OLD.digest().encode(), b"abc")),
    "end-as-text": lambda file: put(file, SOUND.replace(b'after": null', b'after": "x"')),
    "end-not-finite": lambda file: put(file, SOUND.replace(b'after": null', b'after": 1e999')),
    "end-too-large": lambda file: put(
        file, SOUND.replace(b'after": null', b'after": 1' + b"0" * 400)
    ),
    "models-of-master": lambda file: put(file, SOUND.replace(b'models": null', b'models": ["a"]')),
}


@pytest.mark.parametrize("name", BROKEN)
def test_at_the_start_a_bad_keyset_accepts_nothing(
    name: str, ask: Ask, file: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(file, SOUND)
    BROKEN[name](file)
    monkeypatch.setattr(keyturn_guard, "_guard", Guard(file, time.trusted()))
    assert ask(OLD) == 401
    file.rename(file.with_name("moved")) if name != "missing" else None
    put(file, SOUND)
    assert is_granted(ask(OLD))


@pytest.mark.parametrize("name", BROKEN)
def test_a_keyset_that_breaks_later_leaves_the_last_good_one_until_its_times_run_out(
    name: str, ask: Ask, file: Path, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, SOUND)
    put(file, Keyset.parse(SOUND).with_overlap(OLD, NEW, NOW + 60))
    assert is_granted(ask(OLD))
    assert is_granted(ask(NEW))
    BROKEN[name](file)
    assert is_granted(ask(OLD))
    assert is_granted(ask(NEW))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1, "it says so once"
    assert "is not usable" in said[0]
    assert OLD.digest() not in said[0]
    time.wall += 60
    assert ask(OLD) == 401
    assert is_granted(ask(NEW))


def test_a_keyset_of_another_user_accepts_nothing(
    ask: Ask, file: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    monkeypatch.setattr(keyturn_guard, "_guard", Guard(file, time.trusted()))
    assert ask(NEW) == 401


def test_it_says_when_the_keyset_is_usable_again(
    ask: Ask, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(file, b"{")
    ask(NEW)
    put(file, lab_keyset())
    ask(NEW)
    assert "is usable" in caplog.records[-1].getMessage()


def test_a_key_that_was_revoked_while_the_file_could_not_be_opened_is_refused_afterwards(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(file, lab_keyset())
    reader = KeysetFile(file)
    assert "client-all" in ids(reader)
    put(file, lab_keyset().without_client("all"))

    def too_many(path: Path) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(keyturn_guard.uses, "read_trusted", too_many)
        assert "client-all" in ids(reader), "the last good list stays"
    assert "client-all" not in ids(reader)
