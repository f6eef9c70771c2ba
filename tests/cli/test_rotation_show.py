"""How rotations are shown: what comes next, in words that can be typed."""

import json
import time
from dataclasses import replace
from pathlib import Path, PurePath
from types import SimpleNamespace

import pytest

from bootstrap.adapters.journal import FileJournal
from bootstrap.cli import rotation_show as show
from bootstrap.cli.open_rotation import say_open
from bootstrap.cli.session import Session
from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.rotation import Part, Record, Step
from bootstrap.domain.uses import KeyUse, ProgramUse
from bootstrap.workflows.recover import Recovered
from bootstrap.workflows.rotate import Rotated
from bootstrap.workflows.rotation_preview import Preview
from bootstrap.workflows.rotation_status import OldUse, Stands, Status
from support.fakes import FakeTools, make_tools

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


def test_a_password_of_redis_is_not_said_to_be_refused_when_its_time_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    both = replace(PROVEN, more=(replace(PART, name="REDIS_PASSWORD"),))
    out = shown(Status(Stands.OVER, both), capsys)
    assert "a Redis still accepts its old password" in out
    assert "refuses" not in out


@pytest.mark.parametrize(
    ("retire_at", "words"),
    [(4e9, "11111111 is accepted until"), (9e8, "the gateway refuses 11111111 since")],
)
def test_a_command_that_reads_says_how_a_grace_time_stands(
    retire_at: float, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = FileJournal(tmp_path)
    journal.add(replace(PROVEN, retire_at=retire_at))
    say_open(Session(color=False), SimpleNamespace(journal=journal))  # type: ignore[arg-type]
    assert words in capsys.readouterr().err


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


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return make_tools(tmp_path)


def test_the_summary_says_who_held_the_key_and_what_each_client_needs(
    tools: FakeTools, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Part("TOOL_KEY", "33333333", "44444444", "sops:a#T")
    done = Rotated("1" * 8, "2" * 8, time.time() + 601, 600.0, ("env-file",), (PART, other), True)
    show.show_rotated(Session(color=False), tools, done, (CURL,), {"SOME_KEY": "type this"})
    out = capsys.readouterr().out
    for words in (
        "rotated  11111111 -> 22222222, proven at http://127.0.0.1:4123\n",
        "rotated  TOOL_KEY 33333333 -> 44444444, stored\n",
        "gateway  a fresh litellm.service serves (systemd)\n",
        "accepted for 10 min",
        "or until nobody has used it for 10 min",
        "held by  curl (1 request in all",
        "clients  droid             nothing     it reads settings.json again within a second\n",
        "left out SOME_KEY",
    ):
        assert words in out
    many = replace(done, files=tuple(f"file-{number}" for number in range(14)))
    show.show_rotated(Session(color=False), tools, many, (), {})
    assert "file-11 and 2 more\n" in capsys.readouterr().out
    show.show_rotated(Session(as_json=True), tools, done, (), {})
    found = json.loads(capsys.readouterr().out)
    assert {"client": "other shells", "action": "next login"}.items() <= found["clients"][
        -2
    ].items()
    assert [row["name"] for row in found["secrets"]] == ["LITELLM_MASTER_KEY", "TOOL_KEY"]


def test_the_preview_says_who_holds_the_key(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Preview(
        "1" * 8,
        (Step.BEGUN,),
        {Step.BEGUN: "it begins"},
        (PurePath("/a"),),
        True,
        {"K": "1"},
        ("m",),
    )
    show.show_preview(Session(color=False), found, (CURL,), {"B": "type this"})
    out = capsys.readouterr().out
    for words in (
        "it begins",
        "/a\n",
        "restarts",
        "completion of: m",
        "held by  curl",
        "left out B",
    ):
        assert words in out


@pytest.mark.parametrize(
    ("done", "words"),
    [
        (Recovered("nothing"), "No rotation is open."),
        (Recovered("waiting", "2", "1", 9e8), "1 is accepted until"),
        (Recovered("finished", "2", "1"), "finished: 2 is in force, 1 is not"),
        (Recovered("undone", "A 1, B 2", "A 3, B 4"), "A 1, B 2 are in force, A 3, B 4 are not"),
    ],
    ids=lambda value: value.outcome if isinstance(value, Recovered) else "",
)
def test_what_recover_did(done: Recovered, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    show.show_settled(Session(color=False), done)
    assert words in capsys.readouterr().out
