"""How rotations are shown: what comes next, in words that can be typed."""

import json

import pytest

from bootstrap.cli import rotation_show as show
from bootstrap.cli.session import Session
from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.rotation import Part, Record, Step
from bootstrap.domain.uses import KeyUse, ProgramUse
from bootstrap.workflows.rotation_status import OldUse, Stands, Status

PART = Part("LITELLM_MASTER_KEY", "11111111", "22222222", "sops:a#K")
PROVEN = Record(
    Step.PROVEN, PART.name, PART.old, PART.new, PART.store, 5.0, retire_at=9e8, idle_s=600.0
)
CURL = ProgramUse("curl", 1, 7)


def shown(found: Status, capsys: pytest.CaptureFixture[str]) -> str:
    show.show_status(Session(color=False), found)
    return capsys.readouterr().out


def waiting(stands: Stands, *users: ProgramUse, problem: str = "") -> Status:
    return Status(stands, PROVEN, (OldUse(PART, KeyUse(1, 7), users),), problem)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Status(Stands.NONE), ["No rotation yet."]),
        (waiting(Stands.WAITING, CURL), ["accepted until", "for 10 min", "used by  curl (1 req"]),
        (waiting(Stands.WAITING), ["used by  nobody since"]),
        (waiting(Stands.WAITING, problem="it is damaged"), ["not known", "it is damaged"]),
        (waiting(Stands.UNUSED), ["nobody uses 11111111", "keyturn recover"]),
        (waiting(Stands.OVER), ["refuses 11111111 since", "keyturn recover"]),
        (waiting(Stands.RUNNING), ["another keyturn works on it"]),
        (waiting(Stands.LEFT_OPEN), ["left open; next: keyturn recover"]),
        (waiting(Stands.ENDED), ["11111111 -> 22222222: proven"]),
    ],
    ids=lambda value: value.stands.value if isinstance(value, Status) else "",
)
def test_the_status_says_what_comes_next(
    found: Status, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown(found, capsys)
    assert all(word in out for word in words), out


def test_the_status_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    show.show_status(Session(as_json=True), waiting(Stands.WAITING, CURL))
    found = json.loads(capsys.readouterr().out)
    assert (found["open"], found["stands"], found["exit_code"]) == (True, "waiting", 0)
    (old,) = found["old"]
    assert old["used"]["programs"] == [{"program": "curl", "count": 1, "last_seen": 7}]


def test_the_record(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(color=False)
    show.show_log(session, [], 0)
    assert capsys.readouterr().out == "No rotation yet.\n"
    entries = [Entry(5.0, Event.OVERLAP, (PART,), 9e8), Entry(6.0, Event.ROTATED, (PART, PART))]
    show.show_log(session, entries, 2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "overlap  LITELLM_MASTER_KEY 11111111 -> 22222222  old accepted until" in lines[0]
    assert lines[-1] == "2 lines are not sound"
