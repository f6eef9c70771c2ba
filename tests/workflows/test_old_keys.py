"""Who still uses the old key, and when it is retired for want of use."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.domain import targets as names
from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.errors import TargetError
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret import Secret
from bootstrap.domain.uses import USES_FILE
from bootstrap.workflows.check import Health, check
from bootstrap.workflows.recover import recover
from bootstrap.workflows.rotate import Rotated, rotate
from bootstrap.workflows.rotation_status import Stands, Status, status
from bootstrap.workflows.uses import counters, holders
from support.fakes import LAB, MASTER
from support.rotation_fakes import BOOM, NEW, PLAIN, World, afresh, make_world, raises

pytestmark = pytest.mark.integration

HOUR = 3600.0
OLD = Secret(MASTER).fingerprint()


class Record:
    """An audit record in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.error: TargetError | None = None

    def add(self, entry: Entry) -> None:
        """Remember it, or fail."""
        if self.error is not None:
            raise self.error
        self.entries.append(entry)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    made.using = replace(made.using, audit=Record())
    return made


def record(world: World) -> Record:
    assert isinstance(world.using.audit, Record)
    return world.using.audit


def uses_file(world: World) -> Path:
    return world.path(names.KEYSET).with_name(USES_FILE)


def used(world: World, key: str, **programs: float) -> None:
    """Have the guard count one use by each program, at an epoch time."""
    rows = {name.replace("_", "-"): [1, int(at)] for name, at in programs.items()}
    last = max((row[1] for row in rows.values()), default=0)
    use = {"count": len(rows), "last_seen": last, "refused": 0, "last_refused": 0}
    keys = {Secret(key).fingerprint(): {**use, "programs": rows}}
    uses_file(world).write_text(json.dumps({"version": 1, "keys": keys}))
    uses_file(world).chmod(0o600)


def turn(world: World, *, grace_s: float = HOUR, idle_s: float | None = 600.0) -> Rotated:
    return rotate(world.tools, world.using, new=Secret(NEW), grace_s=grace_s, idle_s=idle_s)


def seen(world: World, *, busy: bool = False) -> Status:
    return status(world.tools, afresh(world), busy=busy)


def later(world: World, seconds: float) -> None:
    world.clock.epoch += seconds


class TestUntilUnused:
    def test_the_old_key_stays_while_somebody_uses_it(self, world: World) -> None:
        done = turn(world)
        assert (done.retire_at, done.idle_s) == (world.clock.now() + HOUR, 600.0)
        later(world, 1800)
        used(world, MASTER, curl=world.clock.now() - 60)
        assert recover(world.tools, afresh(world)).outcome == "waiting"
        assert world.gateway.models(Secret(MASTER)).status == 200

    def test_it_is_retired_once_nobody_has_used_it_for_so_long(self, world: World) -> None:
        turn(world)
        used(world, MASTER, curl=world.clock.now() + 60, keyturn=world.clock.now() + 700)
        later(world, 650)
        assert recover(world.tools, afresh(world)).outcome == "waiting"
        later(world, 60)
        assert recover(world.tools, afresh(world)).outcome == "finished"
        assert world.in_force(NEW, MASTER)

    def test_it_is_retired_where_nobody_used_it_at_all(self, world: World) -> None:
        turn(world)
        used(world, MASTER, curl=world.clock.now() - 5)
        later(world, 600)
        assert recover(world.tools, afresh(world)).outcome == "waiting", "counts come late"
        later(world, 5)
        assert recover(world.tools, afresh(world)).outcome == "finished"

    def test_its_end_comes_whoever_uses_it(self, world: World) -> None:
        turn(world)
        later(world, HOUR)
        used(world, MASTER, curl=world.clock.now())
        assert world.gateway.models(Secret(MASTER)).status == 401
        assert recover(world.tools, afresh(world)).outcome == "finished"

    @pytest.mark.parametrize("mode", [0o600, 0o666])
    def test_without_sound_counts_only_its_end_decides(self, world: World, mode: int) -> None:
        turn(world)
        uses_file(world).write_text("{" if mode == 0o600 else '{"keys": {}}')
        uses_file(world).chmod(mode)
        later(world, 1800)
        assert recover(world.tools, afresh(world)).outcome == "waiting"
        assert seen(world).problem

    def test_a_plain_grace_time_does_not_end_early(self, world: World) -> None:
        turn(world, idle_s=None)
        later(world, 1800)
        assert recover(world.tools, afresh(world)).outcome == "waiting"

    def test_a_clock_that_is_set_back_retires_nothing(self, world: World) -> None:
        turn(world)
        later(world, -7200)
        assert recover(world.tools, afresh(world)).outcome == "waiting"


class TestStatus:
    def test_before_the_first_rotation(self, world: World) -> None:
        found = seen(world)
        assert (found.stands, found.last, found.exit_code) == (Stands.NONE, None, 0)

    def test_while_it_waits_it_names_who_still_uses_the_old_key(self, world: World) -> None:
        used(world, MASTER, droid=world.clock.now() - 5)
        turn(world)
        at = world.clock.now()
        used(world, MASTER, curl=at + 2, claude_cli=at + 5, keyturn=at + 9, droid=at - 5)
        later(world, 10)
        found = seen(world)
        assert (found.stands, found.exit_code) == (Stands.WAITING, 0)
        assert [user.program for user in found.users] == ["claude-cli", "curl"]

    def test_an_unused_key_and_one_past_its_time_are_things_to_finish(self, world: World) -> None:
        turn(world)
        later(world, 700)
        assert (seen(world).stands, seen(world).exit_code) == (Stands.UNUSED, 3)
        later(world, HOUR)
        assert (seen(world).stands, seen(world).exit_code) == (Stands.OVER, 3)
        recover(world.tools, afresh(world))
        assert (seen(world).stands, seen(world).exit_code) == (Stands.ENDED, 0)

    def test_one_that_is_half_done_needs_recovery_unless_somebody_works_on_it(
        self, world: World
    ) -> None:
        world.journal.before = {Step.RETIRED: raises(BOOM)}
        with pytest.raises(Exception, match="not retired"):
            turn(world, grace_s=0.0)
        assert (seen(world).stands, seen(world).exit_code) == (Stands.LEFT_OPEN, 6)
        assert (seen(world, busy=True).stands, seen(world, busy=True).exit_code) == (
            Stands.RUNNING,
            0,
        )


class TestHolders:
    def test_whoever_used_the_key_lately_and_does_not_follow_holds_it(self, world: World) -> None:
        now = world.clock.now()
        used(
            world,
            MASTER,
            curl=now - 5,
            factory_cli=now - 5,
            keyturn=now,
            aider=now - HOUR,
            unnamed=now,
        )
        assert [user.program for user in holders(world.tools)] == ["curl"]

    def test_droid_holds_it_where_its_settings_are_not_ours(self, tmp_path: Path) -> None:
        world = make_world(tmp_path, LAB + "[targets]\ndroid_settings = false\n")
        used(world, MASTER, factory_cli=world.clock.now())
        assert [user.program for user in holders(world.tools)] == ["factory-cli"]

    def test_nobody_is_known_without_counts_or_without_a_sound_keyset(self, world: World) -> None:
        assert holders(world.tools) == ()
        used(world, MASTER, curl=world.clock.now())
        world.path(names.KEYSET).write_text("{")
        assert holders(world.tools) == ()
        world.path(names.KEYSET).unlink()
        assert holders(world.tools) == ()


def test_counts_of_another_user_are_a_problem_and_no_failure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert counters(world.tools.files, world.tools.places.litellm).problem == ""
    foreign = TargetError("foreign", why="it belongs to another user", fix="look at it")
    monkeypatch.setattr(type(world.tools.files), "observe", lambda *_: raises(foreign)())
    found = counters(world.tools.files, world.tools.places.litellm)
    assert (found.keys, found.problem) == ({}, "it belongs to another user")


class TestCheck:
    def readings(self, world: World, at: float) -> list[tuple[Health, str]]:
        topics = ("old key", "uses")
        found = check(world.tools, rotated_at=at)
        return [(r.health, f"{r.detail} {r.fix}") for r in found if r.topic.startswith(topics)]

    def test_it_is_silent_without_an_old_key(self, world: World) -> None:
        assert self.readings(world, 0.0) == []

    def test_it_names_who_still_uses_the_old_key(self, world: World) -> None:
        turn(world)
        at = world.clock.now()
        assert self.readings(world, at) == [
            (Health.WELL, "accepted for 1 h; nobody has used it since it was replaced ")
        ]
        used(world, MASTER, claude_cli=at + 5)
        later(world, 65)
        ((health, words),) = self.readings(world, at)
        assert health is Health.NOTE
        assert "still used by claude-cli (last 1 min ago, 1 request in all)" in words
        assert "start that again" in words
        later(world, HOUR)
        assert self.readings(world, at)[0][1].startswith("refused; still used by claude-cli")

    def test_an_old_key_without_an_end_is_said(self, world: World) -> None:
        world.journal.before = {Step.PROMOTED: raises(BOOM), Step.UNDONE: raises(BOOM)}
        with pytest.raises(Exception, match="half done"):
            turn(world)
        world.tools.service.pid = None  # as after a reboot; the files alone count
        keyset = json.loads(world.path(names.KEYSET).read_text())
        assert len(keyset["keys"]) == 1
        entry = {**keyset["keys"][0], "id": "previous", "sha256": "1" * 64}
        keyset["keys"].append(entry)
        world.path(names.KEYSET).write_text(json.dumps(keyset))
        assert self.readings(world, 0.0)[0][1].startswith("accepted without an end")

    def test_counts_that_are_not_sound_are_a_note(self, world: World) -> None:
        turn(world)
        uses_file(world).write_text("{")
        uses_file(world).chmod(0o600)
        first, second = self.readings(world, 0.0)
        assert first[0] is second[0] is Health.NOTE
        assert "it is damaged" in first[1]
        assert "not known" in second[1]

    def test_without_the_guard_nothing_is_counted(self, tmp_path: Path) -> None:
        assert self.readings(make_world(tmp_path, PLAIN), 0.0) == []


class TestRecord:
    def test_a_rotation_is_one_line(self, world: World) -> None:
        turn(world, grace_s=0.0, idle_s=None)
        (entry,) = record(world).entries
        (part,) = entry.parts
        assert (entry.event, part.old, part.new) == (
            Event.ROTATED,
            OLD,
            Secret(NEW).fingerprint(),
        )

    def test_a_grace_time_has_a_line_at_its_begin_and_its_end(self, world: World) -> None:
        turn(world)
        recover(world.tools, afresh(world), now=True)
        assert [e.event for e in record(world).entries] == [Event.OVERLAP, Event.ROTATED]
        assert record(world).entries[0].accepted_until == world.clock.now() + HOUR

    def test_one_that_is_undone_has_a_line(self, world: World) -> None:
        world.journal.before = {Step.PROMOTED: raises(BOOM)}
        with pytest.raises(Exception, match="undone"):
            turn(world)
        assert [e.event for e in record(world).entries] == [Event.UNDONE]

    def test_that_it_cannot_be_written_is_a_note(self, world: World) -> None:
        record(world).error = BOOM
        turn(world, grace_s=0.0)
        assert world.in_force(NEW, MASTER)
        assert any("audit record" in note for note in world.tools.progress.notes)
