"""The states of a rotation as data."""

from dataclasses import replace

import pytest

from bootstrap.domain.rotation import Part, Record, Step, is_open, owes_hook, reached, verb
from bootstrap.domain.secret_spec import MASTER_KEY

BEGUN = Record(Step.BEGUN, "KEY", "11111111", "22222222", "sops:a.env#KEY", 1.5)


def test_a_record_survives_the_way_through_json() -> None:
    record = Record(
        Step.PROVEN, "KEY", "11111111", "22222222", "keyring:k#KEY", 1.25, ("sops:a#KEY",), 9.5
    )
    assert Record.from_dict(record.to_dict()) == record
    assert Record.from_dict(BEGUN.to_dict()) == BEGUN


def test_several_secrets_survive_it_too() -> None:
    more = (Part("OTHER", "33333333", "44444444", "sops:b.env#OTHER", ("keyring:k#OTHER",)),)
    record = replace(BEGUN, more=more, reencrypts=True, owes_hook=True, aborts=True)
    assert Record.from_dict(record.to_dict()) == record
    assert [part.name for part in record.parts] == ["KEY", "OTHER"]
    assert record.old_words == "KEY 11111111, OTHER 33333333"
    assert record.new_words == "KEY 22222222, OTHER 44444444"
    assert (verb(record.old_words), verb(BEGUN.old_words)) == ("are", "is")


def test_the_master_key_alone_needs_no_name() -> None:
    assert replace(BEGUN, name=MASTER_KEY).new_words == "22222222"


def test_times_are_kept_to_the_millisecond() -> None:
    assert BEGUN.then(Step.CREATED, 2.00049).to_dict()["at"] == 2.0


@pytest.mark.parametrize("missing", BEGUN.to_dict())
def test_a_record_without_one_of_its_parts_is_none(missing: str) -> None:
    data = BEGUN.to_dict()
    del data[missing]
    with pytest.raises(KeyError):
        Record.from_dict(data)


@pytest.mark.parametrize(
    ("part", "value"), [("step", "dancing"), ("at", "noon"), ("at", None), ("copies", None)]
)
def test_a_record_with_a_part_of_another_kind_is_none(part: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Record.from_dict({**BEGUN.to_dict(), part: value})


@pytest.mark.parametrize("step", Step)
def test_a_rotation_is_open_until_it_is_closed_or_undone(step: Step) -> None:
    assert is_open([BEGUN, BEGUN.then(step, 2.0)]) == (step not in (Step.CLOSED, Step.UNDONE))


def test_no_rotation_is_open_where_there_was_none() -> None:
    assert not is_open([])


def test_a_rotation_has_reached_its_last_step_and_those_before() -> None:
    switched = BEGUN.then(Step.SWITCHED, 2.0)
    assert reached(switched, Step.CREATED)
    assert reached(switched, Step.SWITCHED)
    assert not reached(switched, Step.PROMOTED)
    assert not reached(BEGUN.then(Step.UNDONE, 2.0), Step.BEGUN)


@pytest.mark.parametrize("step", Step)
def test_a_hook_is_owed_once_the_new_key_is_in_force_for_good(step: Step) -> None:
    last = replace(BEGUN, step=step, owes_hook=True)
    assert (owes_hook([BEGUN, last]) == last) == (step in (Step.CLOSED, Step.UNDONE))
    waits = replace(last, retire_at=9.5)
    assert (owes_hook([waits]) == waits) == (step in (Step.PROVEN, Step.CLOSED, Step.UNDONE))
    assert owes_hook([replace(waits, owes_hook=False)]) is None
    assert waits.in_grace == (step is Step.PROVEN)
    going_back = replace(waits, aborts=True)
    assert not going_back.in_grace
    assert (owes_hook([going_back]) is None) == (step not in (Step.CLOSED, Step.UNDONE))


def test_a_hook_is_told_of_an_undone_rotation_the_other_way_round() -> None:
    more = (Part("REDIS_PASSWORD", "3", "4", "sops:x"),)
    done = replace(BEGUN, step=Step.CLOSED, more=more)
    undone = done.then(Step.UNDONE, 2.0)
    assert [(part.old, part.new) for part in done.moves] == [(BEGUN.old, BEGUN.new), ("3", "4")]
    assert [(part.old, part.new) for part in undone.moves] == [(BEGUN.new, BEGUN.old), ("4", "3")]


def test_without_a_rotation_nothing_is_owed() -> None:
    assert owes_hook([]) is None
