"""Which keys a scan looks for: those in force, those still accepted, and all that went."""

from hashlib import sha256
from typing import Any

from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.keyset import KeyEntry
from bootstrap.domain.rotation import Part, Record, Step
from bootstrap.domain.scan_keys import SoughtKey, State, sought_keys

MASTER = "LITELLM_MASTER_KEY"


def digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def mark(name: str) -> str:
    return digest(name)[:8]


def part(old: str, new: str, name: str = MASTER) -> Part:
    return Part(name, mark(old), mark(new), "sops:a#K")


def keys(**given: Any) -> dict[str, SoughtKey]:
    usual: dict[str, Any] = {
        "current": {MASTER: digest("now")},
        "others": {},
        "keyset": (),
        "records": (),
        "entries": (),
        "now": 100.0,
    }
    return {key.fingerprint: key for key in sought_keys(**usual | given)}


def test_what_a_rotation_replaced_has_gone_at_its_time() -> None:
    entries = [
        Entry(10.0, Event.ROTATED, (part("first", "second"),)),
        Entry(20.0, Event.ROTATED, (part("second", "now"),)),
        Entry(30.0, Event.UNDONE, (part("now", "tried"),)),
    ]
    found = keys(entries=entries)
    assert {m: (key.state, key.at) for m, key in found.items()} == {
        mark("now"): (State.IN_FORCE, None),
        mark("second"): (State.GONE, 20.0),
        mark("first"): (State.GONE, 10.0),
        mark("tried"): (State.GONE, 30.0),
    }
    assert found[mark("now")].digest == digest("now")
    assert found[mark("first")].print.digest == mark("first")


def test_a_key_that_was_changed_by_hand_after_a_rotation_has_gone_too() -> None:
    found = keys(entries=[Entry(10.0, Event.ROTATED, (part("old", "by rotation"),))])
    assert (found[mark("by rotation")].state, found[mark("by rotation")].at) == (State.GONE, None)


def test_a_key_is_accepted_until_its_grace_time_ends() -> None:
    entry = KeyEntry("previous", digest("old"), "master", 150.0)
    overlap = [Entry(90.0, Event.OVERLAP, (part("old", "now"),), 150.0)]
    others = {MASTER: digest("old")}
    during = keys(keyset=[entry], entries=overlap, others=others)[mark("old")]
    assert (during.state, during.at, during.is_replaced) == (State.ACCEPTED, 150.0, True)
    assert keys(keyset=[entry], entries=overlap, now=151.0)[mark("old")].state is State.GONE


def test_the_other_key_of_an_open_rotation_is_told() -> None:
    record = Record(Step.CREATED, MASTER, mark("now"), mark("next"), "sops:a#K", 5.0)
    found = keys(records=[record], others={MASTER: digest("next")})
    assert found[mark("next")].state is State.OTHER
    assert len(found) == 2


def test_the_journal_alone_tells_what_went() -> None:
    record = Record(Step.CLOSED, MASTER, mark("old"), mark("now"), "sops:a#K", 5.0)
    assert keys(records=[record])[mark("old")].at == 5.0


def test_a_clients_key_is_named_after_its_client() -> None:
    found = keys(keyset=[KeyEntry("client-ci", digest("ci"), "client", None, None, "ci")])
    key = found[mark("ci")]
    assert (key.name, key.state, key.print.strong) == ("client ci", State.ACCEPTED, True)


def test_one_value_under_two_names_is_one_key() -> None:
    found = keys(current={"A": digest("same"), "B": digest("same")}, made_elsewhere=["C"])
    assert [key.name for key in found.values()] == ["A, B"]


def test_a_named_fingerprint_and_a_providers_key_need_not_be_strong() -> None:
    entries = [Entry(10.0, Event.ROTATED, (part("old", "new", "OPENAI_API_KEY"),))]
    found = keys(entries=entries, named=["12345678"], made_elsewhere=["OPENAI_API_KEY"])
    assert found["12345678"].name == "a key that you named"
    assert not found["12345678"].print.strong
    assert found[mark("old")].made_elsewhere
    assert not found[mark("old")].print.strong
