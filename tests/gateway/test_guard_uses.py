"""The counts of the guard: who used which key."""

import asyncio
import fcntl
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bootstrap.domain.keyset import KEYSET_FILE, USES_FILE, KeyUse, parse_uses
from bootstrap.gateway import keyturn_guard
from bootstrap.gateway.keyturn_guard import Uses
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


def uses(folder: Path) -> Mapping[str, KeyUse]:
    file = folder / USES_FILE
    return parse_uses(file.read_bytes()) if file.exists() else {}


def in_loop(work: Callable[[], object], done: Callable[[], object]) -> None:
    """Call `work` in an event loop, and let the loop go on until `done`."""

    async def run() -> None:
        work()
        while not done():
            await asyncio.sleep(0)

    asyncio.run(run())


def test_uses_are_counted_by_fingerprint_and_written_by_themselves(
    ask: Ask, file: Path, time: Time
) -> None:
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW + 60))
    counted = Uses(file.with_name(USES_FILE))
    first, second = OLD.digest(), NEW.digest()
    in_loop(lambda: counted.note(first, NOW, accepted=True), lambda: uses(file.parent))
    assert uses(file.parent) == {OLD.fingerprint(): KeyUse(1, int(NOW))}
    for at in (1, 2):
        counted.note(second, NOW + at, accepted=True)
    counted.note(first, NOW + 61, accepted=False)
    counted.flush()
    assert uses(file.parent) == {
        OLD.fingerprint(): KeyUse(1, int(NOW), 1, int(NOW) + 61),
        NEW.fingerprint(): KeyUse(2, int(NOW) + 2),
    }


def test_only_known_keys_are_counted_expired_ones_as_refused(
    ask: Ask, file: Path, time: Time
) -> None:
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW))
    assert ask(OLD) == 401
    assert ask("sk-test-wrong") == 401
    assert is_granted(ask(NEW))
    keyturn_guard._guard.uses.flush()
    assert uses(file.parent) == {
        OLD.fingerprint(): KeyUse(0, 0, 1, int(NOW)),
        NEW.fingerprint(): KeyUse(1, int(NOW)),
    }


def test_the_next_write_waits_its_time(tmp_path: Path) -> None:
    counted = Uses(tmp_path / USES_FILE)
    counted.flush()

    async def run() -> float:
        counted.note("a" * 64, NOW, accepted=True)
        counted.note("a" * 64, NOW, accepted=True)
        assert counted._timer is not None
        wait = counted._timer.when() - asyncio.get_running_loop().time()
        counted._timer.cancel()
        return wait

    assert asyncio.run(run()) > 0
    assert uses(tmp_path) == {}


def test_workers_add_to_one_file(tmp_path: Path) -> None:
    workers = [Uses(tmp_path / USES_FILE) for _ in range(3)]
    for number, worker in enumerate(workers):
        worker.note("a" * 64, NOW + number, accepted=True)
    for worker in workers:
        worker.flush()
        worker.flush()
    assert uses(tmp_path) == {"a" * 8: KeyUse(3, int(NOW) + 2)}


def test_a_write_that_another_worker_holds_up_is_kept_for_later(tmp_path: Path) -> None:
    worker = Uses(tmp_path / USES_FILE)
    worker.note("a" * 64, NOW, accepted=True)
    folder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    worker.flush()
    assert uses(tmp_path) == {}
    os.close(folder)
    worker.flush()
    assert uses(tmp_path) == {"a" * 8: KeyUse(1, int(NOW))}


def test_the_file_is_private_and_nothing_else_is_left(tmp_path: Path) -> None:
    worker = Uses(tmp_path / USES_FILE)
    (tmp_path / f".{USES_FILE}.{os.getpid()}").write_text("left by a crash")
    worker.note("a" * 64, NOW, accepted=True)
    old = os.umask(0)
    try:
        worker.flush()
    finally:
        os.umask(old)
    assert [path.name for path in tmp_path.iterdir()] == [USES_FILE]
    assert stat.S_IMODE((tmp_path / USES_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"keys": 5}',
        b'{"keys": {"x": 5}}',
        b'{"keys": {"x": {"count": "many"}}}',
        b'{"keys": {"x": {"count": 1e999}}}',
        b'{"keys": {"x": {"count": null}}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_of_uses_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / USES_FILE).write_bytes(content)
    worker = Uses(tmp_path / USES_FILE)
    worker.note("a" * 64, NOW, accepted=True)
    worker.flush()
    assert uses(tmp_path)["a" * 8] == KeyUse(1, int(NOW))


def test_the_file_keeps_the_keys_that_were_seen_last(tmp_path: Path) -> None:
    worker = Uses(tmp_path / USES_FILE)
    for number in range(300):
        worker.note(f"{number:08d}", NOW + number, accepted=number % 2 == 0)
    worker.flush()
    assert sorted(uses(tmp_path)) == [f"{number:08d}" for number in range(300 - 256, 300)]


def test_counting_never_fails_a_request(ask: Ask, tmp_path: Path) -> None:
    worker = Uses(tmp_path / "gone" / USES_FILE)
    worker.note("a" * 64, NOW, accepted=True)
    worker.flush()
    (tmp_path / "gone").mkdir()
    worker.flush()
    assert uses(tmp_path / "gone") == {"a" * 8: KeyUse(1, int(NOW))}


def test_the_file_of_uses_says_its_version(tmp_path: Path) -> None:
    worker = Uses(tmp_path / USES_FILE)
    worker.note("a" * 64, NOW, accepted=True)
    worker.flush()
    assert json.loads((tmp_path / USES_FILE).read_bytes())["version"] == 1
