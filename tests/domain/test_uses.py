"""The guard's counts as data: who used which key, and what is no count at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from bootstrap.domain.uses import MAX_BYTES, KeyUse, ProgramUse, last_use, read_counters
from bootstrap.gateway.keyturn_guard_uses import last_use as the_guards

FOUND = KeyUse(
    9,
    50,
    1,
    40,
    (ProgramUse("keyturn", 2, 60), ProgramUse("curl", 6, 50), ProgramUse("factory-cli", 1, 40)),
)


def file(**use: Any) -> bytes:
    return json.dumps({"version": 1, "keys": {"0badcafe": use}}).encode()


def test_counts_are_read_by_fingerprint_the_latest_program_first() -> None:
    programs = {"factory-cli": [1, 40], "curl": [6, 50], "keyturn": [2, 60]}
    data = file(count=9, last_seen=50, refused=1, last_refused=40, programs=programs)
    found = read_counters(data)
    assert found.problem == ""
    assert found.of("0badcafe") == FOUND
    assert found.of("11111111") == KeyUse()


def test_the_users_of_a_key_are_those_since_a_time_without_keyturn_and_whoever_follows() -> None:
    assert [use.program for use in FOUND.users(0)] == ["curl", "factory-cli"]
    assert [use.program for use in FOUND.users(40)] == ["curl"]
    assert FOUND.users(0, ["curl", "factory-cli"]) == ()


def test_keyturns_own_questions_are_no_use_of_a_key() -> None:
    assert FOUND.last_by_others() == 50
    assert KeyUse(2, 60, programs=(ProgramUse("keyturn", 2, 60),)).last_by_others() == 0
    assert KeyUse().last_by_others() == 0


def test_counts_of_a_guard_that_told_no_programs_apart_are_somebodys() -> None:
    assert KeyUse(3, 50, 1, 70).last_by_others() == 70


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "sk-0123456789", "x" * 25, ""])
def test_a_name_that_could_be_anything_is_not_repeated(name: str) -> None:
    (use,) = read_counters(file(count=1, programs={name: [1, 5]})).of("0badcafe").programs
    assert use == ProgramUse("unnamed", 1, 5)


def test_what_is_no_fingerprint_is_left_out() -> None:
    data = {"keys": {"\x1b[31m": {"count": 1}, "0badcafe": {"count": 1}}}
    assert list(read_counters(json.dumps(data).encode()).keys) == ["0badcafe"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 5}',
        b'{"keys": {"0badcafe": 5}}',
        file(count="x"),
        file(count=-1),
        file(last_seen=10**30),
        file(programs=[]),
        file(programs={"a": [1]}),
        file(programs={"a": 5}),
        b"[" * 100_000,
        b'{"keys": {"0badcafe": {"count": 1e999}}}',
    ],
)
def test_a_file_that_is_not_sound_is_said_and_counts_nothing(data: bytes) -> None:
    found = read_counters(data)
    assert (dict(found.keys), found.problem) == ({}, "it is damaged")


def test_a_file_that_is_too_long_is_not_even_parsed() -> None:
    assert read_counters(b" " * (MAX_BYTES + 1)).problem == "it is too long"


@pytest.mark.parametrize(
    ("rows", "latest"),
    [
        ('{"0a1b2c3d": {"last_seen": 7, "last_refused": 9}, "zzz": {"last_seen": "11"}}', 11.0),
        ('{"0a1b2c3d": {"last_seen": 7}, "0a1b2c3e": {"last_seen": 253402300799}}', 7.0),
        ('{"0a1b2c3d": {"last_seen": 7}, "0a1b2c3e": {"last_seen": NaN}}', 0.0),
        ('{"0a1b2c3d": {"last_seen": 1e999}}', 0.0),
        ('{"0a1b2c3d": 5}', 0.0),
        ("{}", 0.0),
        ("[", 0.0),
        ('{"0a1b2c3d": {"last_seen": 7, "x": "' + "x" * MAX_BYTES + '"}}', 0.0),
    ],
)
def test_the_latest_time_is_the_one_that_the_guard_takes(
    rows: str, latest: float, tmp_path: Path
) -> None:
    data = f'{{"keys": {rows}}}'.encode()
    assert last_use(data) == latest
    path = tmp_path / "uses.json"
    path.write_bytes(data)
    path.chmod(0o600)
    assert the_guards(path) == (latest + 1 if latest else 0.0)
