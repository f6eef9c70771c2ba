"""The counts of the guard: who used which key."""

import asyncio
import fcntl
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.domain.keyset import KEYSET_FILE
from bootstrap.domain.uses import USES_FILE, KeyUse, ProgramUse, read_counters
from bootstrap.gateway import keyturn_guard
from bootstrap.gateway.keyturn_guard_uses import MAX_BYTES, Uses, program_of
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
    """Return the counts, without the programs."""
    return {key: replace(use, programs=()) for key, use in read(folder).items()}


def read(folder: Path) -> Mapping[str, KeyUse]:
    file = folder / USES_FILE
    return read_counters(file.read_bytes()).keys if file.exists() else {}


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


@pytest.mark.parametrize(
    ("agents", "program"),
    [
        (["claude-cli/2.1.197 (external, cli)"], "claude-cli"),
        (["factory-cli/0.215.0"], "factory-cli"),
        (["OpenAI/Python 1.99", "second"], "OpenAI"),
        (["python-httpx/0.27"], "python-httpx"),
        (["curl"], "curl"),
        ([], "unnamed"),
        ([""], "unnamed"),
        (["sk-test-new-0123456789abcdef"], "unnamed"),
        (["sk-TestKeyWithoutAnyDigitButLong"], "unnamed"),
        (["a\nb/1"], "unnamed"),
        (["\x1b[31m/1"], "unnamed"),
        (["x" * 100_000], "unnamed"),
    ],
)
def test_a_program_is_known_by_a_short_name_that_can_be_no_key(
    agents: list[str], program: str
) -> None:
    assert program_of(agents) == program


def test_the_programs_that_sent_a_key_are_told_apart(ask: Ask, file: Path) -> None:
    put(file, lab_keyset().with_overlap(OLD, NEW, NOW))
    assert is_granted(ask(NEW, headers=[("user-agent", "claude-cli/2.1.197")]))
    assert is_granted(ask(NEW, headers=[("user-agent", "claude-cli/2.1.198")]))
    assert is_granted(ask(NEW, headers=[("user-agent", NEW.reveal())]))
    assert ask(OLD, headers=[("user-agent", "curl/8.5")]) == 401
    keyturn_guard._guard.uses.flush()
    found = read(file.parent)
    assert set(found[NEW.fingerprint()].programs) == {
        ProgramUse("claude-cli", 2, int(NOW)),
        ProgramUse("unnamed", 1, int(NOW)),
    }
    assert found[OLD.fingerprint()].programs == (ProgramUse("curl", 1, int(NOW)),)
    assert NEW.reveal() not in (file.parent / USES_FILE).read_text()


def test_the_largest_file_that_it_writes_is_one_that_it_reads(tmp_path: Path) -> None:
    worker = Uses(tmp_path / USES_FILE)
    for number in range(300):
        for program in range(10):
            name = chr(ord("a") + program) * 24
            worker.note(f"{number:08d}", NOW + number * 10 + program, name, accepted=True)
    worker.flush()
    worker.note("f" * 8, NOW * 2, accepted=True)
    worker.flush()
    assert (tmp_path / USES_FILE).stat().st_size < MAX_BYTES
    found = read(tmp_path)
    assert len(found) == 256
    assert [use.program[0] for use in found["00000299"].programs] == list("jihgfedc")


def test_the_counts_of_a_guard_that_told_no_programs_apart_are_kept(tmp_path: Path) -> None:
    old = {"count": 3, "last_seen": 5, "refused": 0, "last_refused": 0}
    (tmp_path / USES_FILE).write_text(json.dumps({"version": 1, "keys": {"a" * 8: old}}))
    worker = Uses(tmp_path / USES_FILE)
    worker.note("a" * 64, NOW, "curl", accepted=True)
    worker.flush()
    assert read(tmp_path) == {
        "a" * 8: KeyUse(4, int(NOW), programs=(ProgramUse("curl", 1, int(NOW)),))
    }
