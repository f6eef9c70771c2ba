"""The keyset: what the rotation and the client keys write for the gateway's guard."""

import json
from typing import Any

import pytest

from bootstrap.domain.errors import StoreDamagedError, UsageError
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret
from support.keysets import accepts

OLD = Secret("sk-test-old-0123456789abcdef")
NEW = Secret("sk-test-new-0123456789abcdef")
CLIENT = Secret("sk-test-client-0123456789abcdef")
NOW = 1_800_000_000.0


def accepted(keyset: Keyset, now: float = NOW) -> set[str]:
    secrets = {"old": OLD, "new": NEW, "client": CLIENT}
    return {name for name, secret in secrets.items() if accepts(keyset, secret, now)}


def test_an_empty_keyset_accepts_nothing() -> None:
    assert accepted(Keyset()) == set()


def test_the_current_key_is_accepted_without_end() -> None:
    assert accepted(Keyset().with_current(OLD), NOW + 1e9) == {"old"}


def test_in_the_overlap_both_keys_are_accepted_until_the_old_one_ends() -> None:
    keyset = Keyset().with_current(OLD).with_overlap(OLD, NEW, NOW + 600)
    assert accepted(keyset, NOW + 599.9) == {"old", "new"}
    assert accepted(keyset, NOW + 600) == {"new"}


def test_an_overlap_without_an_end_locks_nobody_out() -> None:
    keyset = Keyset().with_overlap(OLD, NEW, None)
    assert accepted(keyset, NOW + 1e9) == {"old", "new"}


def test_an_overlap_of_a_key_with_itself_is_that_key_alone() -> None:
    assert Keyset().with_overlap(OLD, OLD, NOW) == Keyset().with_current(OLD)


def test_a_key_whose_time_is_over_is_alone_no_reason_to_write_the_file() -> None:
    keyset = Keyset().with_overlap(OLD, NEW, NOW).with_client("c", CLIENT, None, None)
    assert keyset.settled(NEW, NOW).to_bytes() == keyset.to_bytes()
    assert keyset.settled(NEW, NOW - 1).to_bytes() == keyset.to_bytes()
    third = Secret("sk-test-third-0123456789abcdef")
    assert keyset.settled(third, NOW) == keyset.with_current(third)
    endless = Keyset().with_overlap(OLD, NEW, None)
    assert endless.settled(NEW, NOW) == Keyset().with_current(NEW)


def test_retiring_the_previous_key_leaves_the_current_one() -> None:
    keyset = Keyset().with_overlap(OLD, NEW, None).with_current(NEW)
    assert accepted(keyset) == {"new"}
    assert keyset == Keyset().with_current(NEW)


def test_going_back_is_making_the_old_key_current() -> None:
    before = Keyset().with_current(OLD).with_client("claude", CLIENT, ["a"], None)
    after = before.with_overlap(OLD, NEW, None).with_current(OLD)
    assert after.to_bytes() == before.to_bytes()


def test_a_client_key_ends_at_its_time_and_rotations_leave_it_alone() -> None:
    keyset = Keyset().with_current(OLD).with_client("claude", CLIENT, ["b", "a", "b"], NOW + 10)
    keyset = keyset.with_overlap(OLD, NEW, None).with_current(NEW)
    assert accepted(keyset) == {"new", "client"}
    assert accepted(keyset, NOW + 10) == {"new"}
    (entry,) = keyset.clients()
    assert (entry.name, entry.kind, entry.models) == ("claude", "client", ("a", "b"))


def test_a_revoked_client_key_is_gone_with_the_one_it_replaced() -> None:
    keyset = Keyset().with_client("claude", OLD, None, None)
    keyset = keyset.with_client("claude", CLIENT, None, None, old_until=NOW + 60)
    assert accepted(keyset) == {"old", "client"}
    assert keyset.without_client("claude") == Keyset()
    assert keyset.without_client("droid") == keyset


def test_a_client_key_called_master_leaves_the_master_key_alone() -> None:
    keyset = Keyset().with_current(OLD).with_client("master", CLIENT, None, None)
    assert accepted(keyset.without_client("master")) == {"old"}


@pytest.mark.parametrize(
    ("own_end", "old_until", "end"),
    [
        (None, NOW + 60, NOW + 60),
        (NOW + 30, NOW + 60, NOW + 30),
        (NOW + 90, NOW + 60, NOW + 60),
    ],
)
def test_a_replaced_client_key_never_outlives_its_own_end(
    own_end: float | None, old_until: float, end: float
) -> None:
    keyset = Keyset().with_client("claude", OLD, None, own_end)
    keyset = keyset.with_client("claude", NEW, None, None, old_until=old_until)
    assert accepted(keyset, end - 0.1) == {"old", "new"}
    assert accepted(keyset, end) == {"new"}


def test_replacing_a_client_key_without_grace_ends_the_old_one_at_once() -> None:
    keyset = Keyset().with_client("claude", OLD, None, None)
    assert accepted(keyset.with_client("claude", NEW, None, None)) == {"new"}


def test_writing_the_same_client_key_again_changes_only_its_scope() -> None:
    keyset = Keyset().with_client("claude", OLD, None, None)
    keyset = keyset.with_client("claude", OLD, ["a"], None, old_until=NOW + 60)
    assert [entry.id for entry in keyset.clients()] == ["client-claude"]


def test_expired_entries_can_be_cleared_away() -> None:
    keyset = Keyset().with_overlap(OLD, NEW, NOW).with_client("claude", CLIENT, None, NOW + 1)
    assert keyset.without_expired(NOW).fingerprints() == tuple(
        sorted([NEW.fingerprint(), CLIENT.fingerprint()])
    )


def test_fingerprints_are_those_of_the_secrets() -> None:
    assert Keyset().with_current(OLD).fingerprints() == (OLD.fingerprint(),)
    assert OLD.digest().startswith(OLD.fingerprint())
    assert len(OLD.digest()) == 64


def test_the_file_holds_digests_and_no_key_and_reads_back_the_same() -> None:
    keyset = Keyset().with_overlap(OLD, NEW, NOW + 0.5).with_client("claude", CLIENT, ["a"], None)
    data = keyset.to_bytes()
    assert Keyset.parse(data).to_bytes() == data
    assert accepted(Keyset.parse(data)) == {"old", "new", "client"}
    for secret in (OLD, NEW, CLIENT):
        assert secret.reveal().encode() not in data


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 65, "a\n"])
def test_names_that_could_confuse_are_refused(name: str) -> None:
    with pytest.raises(UsageError):
        Keyset().with_client(name, CLIENT, None, None)


@pytest.mark.parametrize("models", [[], [""], ["a", ""]])
def test_a_list_of_no_models_is_refused_because_litellm_reads_it_as_all(models: list[str]) -> None:
    with pytest.raises(UsageError):
        Keyset().with_client("claude", CLIENT, models, None)


GOOD: dict[str, Any] = {
    "id": "master",
    "sha256": "a" * 64,
    "kind": "master",
    "not_after": None,
    "models": None,
    "name": "master",
}
CLIENT_ENTRY = GOOD | {"kind": "client", "id": "client-x", "name": "x"}
BAD_ENTRIES: list[Any] = [
    5,
    {},
    GOOD | {"more": 1},
    GOOD | {"id": 5},
    GOOD | {"kind": "admin"},
    GOOD | {"sha256": "A" * 64},
    GOOD | {"sha256": "a" * 63},
    GOOD | {"not_after": "soon"},
    GOOD | {"not_after": True},
    GOOD | {"not_after": float("nan")},
    GOOD | {"not_after": float("inf")},
    GOOD | {"not_after": 10**400},
    GOOD | {"not_after": -1},
    GOOD | {"models": ["a"]},
    CLIENT_ENTRY | {"models": []},
    CLIENT_ENTRY | {"models": [""]},
    CLIENT_ENTRY | {"models": [5]},
    CLIENT_ENTRY | {"models": "a"},
]
BAD_DOCUMENTS: list[bytes] = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b"[]",
    b"{}",
    b'{"version": 2, "keys": []}',
    b'{"version": 1}',
    b'{"version": 1, "keys": {}}',
    b'{"version": 1, "keys": []}' + b" " * 300_000,
    json.dumps({"version": 1, "keys": [GOOD, GOOD]}).encode(),
    *(json.dumps({"version": 1, "keys": [entry]}).encode() for entry in BAD_ENTRIES),
]


@pytest.mark.parametrize("data", BAD_DOCUMENTS, ids=range(len(BAD_DOCUMENTS)))
def test_a_file_that_is_no_keyset_is_refused_without_quoting_it(data: bytes) -> None:
    with pytest.raises(StoreDamagedError) as caught:
        Keyset.parse(data)
    assert "aaaa" not in str(caught.value)
