"""A line of the audit record says what a rotation came to, and holds no key."""

import pytest

from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.rotation import Record, Step

RECORD = Record(Step.PROVEN, "KEY", "11111111", "22222222", "sops:a#KEY", 5.5, retire_at=65.0)


@pytest.mark.parametrize(
    ("step", "event", "until"),
    [
        (Step.PROVEN, Event.OVERLAP, 65.0),
        (Step.CLOSED, Event.ROTATED, None),
        (Step.UNDONE, Event.UNDONE, None),
    ],
)
def test_it_is_made_from_the_journals_last_line(
    step: Step, event: Event, until: float | None
) -> None:
    entry = Entry.of(RECORD.then(step, 7.0))
    assert (entry.event, entry.at, entry.accepted_until) == (event, 7.0, until)
    assert Entry.from_dict(entry.to_dict()) == entry
    assert entry.to_dict()["time"] == "1970-01-01T00:00:07+00:00"


@pytest.mark.parametrize("field", ["at", "accepted_until"])
def test_a_time_that_nobody_can_show_is_damage(field: str) -> None:
    with pytest.raises(ValueError, match="no time"):
        Entry.from_dict(Entry.of(RECORD).to_dict() | {field: 1e300})


def test_the_same_again_is_told_whatever_the_time() -> None:
    entry = Entry.of(RECORD)
    assert entry.repeats(Entry.of(RECORD.then(Step.PROVEN, 99.0)))
    assert not entry.repeats(None)
    assert not entry.repeats(Entry.of(RECORD.then(Step.CLOSED, 99.0)))
