"""Waiting for the end of a grace time, whoever ends it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.domain.errors import Interrupted, LockedError
from bootstrap.domain.secret import Secret
from bootstrap.domain.uses import USES_FILE, ProgramUse
from bootstrap.workflows.recover import Recovered, recover
from bootstrap.workflows.rotate import rotate
from bootstrap.workflows.rotation_wait import wait_until_retired
from support.fakes import MASTER
from support.rotation_fakes import NEW, RotationClock, World, afresh, make_world

OLD_MARK, NEW_MARK = Secret(MASTER).fingerprint(), Secret(NEW).fingerprint()
Users = tuple[ProgramUse, ...]


class Waiting:
    """Somebody who waits.

    Args:
        world: The lab, in its grace time.

    Attributes:
        retired: How often the old key was to be retired.
        seen: The programs that were shown, without repeats.
        later: What happens after so many seconds of waiting.
    """

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.retired = 0
        self.seen: list[tuple[str, ...]] = []
        self.later: dict[float, Callable[[], object]] = {}
        self.began = world.clock.epoch
        sleep = RotationClock.sleep

        def happen(clock: RotationClock, seconds: float) -> None:
            sleep(clock, seconds)
            self.later.pop(clock.epoch - self.began, lambda: None)()

        monkeypatch.setattr(RotationClock, "sleep", happen)

    @property
    def passed(self) -> float:
        """For how many seconds it has waited."""
        return self.world.clock.epoch - self.began

    def wait(self) -> Recovered:
        """Wait."""
        return wait_until_retired(self.world.tools, self.world.using, self._retire, self._watch)

    def _retire(self) -> Recovered:
        self.retired += 1
        return recover(self.world.tools, afresh(self.world))

    def _watch(self, users: Users) -> None:
        programs = tuple(user.program for user in users)
        if self.seen[-1:] != [programs]:
            self.seen.append(programs)

    def count(self, **programs: float) -> None:
        """Have the guard count a use of the old key by each program, so many seconds ago."""
        now = int(self.world.clock.now())
        rows = {name: [1, int(now - ago)] for name, ago in programs.items()}
        use = {"count": 1, "last_seen": now, "refused": 0, "last_refused": 0, "programs": rows}
        path = Path(self.world.tools.places.litellm) / USES_FILE
        path.write_text(json.dumps({"version": 1, "keys": {OLD_MARK: use}}))
        path.chmod(0o600)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def grace(world: World, seconds: float, idle_s: float | None = None) -> None:
    rotate(world.tools, world.using, new=Secret(NEW), grace_s=seconds, idle_s=idle_s)


@pytest.fixture
def waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    return Waiting(world, monkeypatch)


def test_where_nothing_is_open_there_is_nothing_to_wait_for(waiting: Waiting) -> None:
    assert waiting.wait().outcome == "nothing"


def test_the_old_key_is_retired_when_its_time_is_over(waiting: Waiting) -> None:
    grace(waiting.world, 60)
    waiting.began = waiting.world.clock.epoch
    done = waiting.wait()
    assert (done.outcome, done.in_force, done.refused) == ("finished", NEW_MARK, OLD_MARK)
    assert waiting.passed == pytest.approx(60, abs=1)
    assert waiting.retired == 1
    assert waiting.world.in_force(NEW, MASTER)


def test_it_is_retired_once_nobody_has_used_it_for_a_while(waiting: Waiting) -> None:
    grace(waiting.world, 86400, idle_s=60)
    waiting.began = waiting.world.clock.epoch
    waiting.later = {
        30.0: lambda: waiting.count(claude=1),
        50.0: lambda: waiting.count(claude=21, curl=0),
    }
    assert waiting.wait().outcome == "finished"
    assert waiting.passed == pytest.approx(50 + 65, abs=2)
    assert waiting.seen == [(), ("claude",), ("curl", "claude")]
    assert waiting.world.in_force(NEW, MASTER)


@pytest.mark.parametrize(("abort", "outcome"), [(False, "finished"), (True, "undone")])
def test_another_command_may_end_it(waiting: Waiting, abort: bool, outcome: str) -> None:
    world = waiting.world
    grace(world, 600)
    waiting.began = world.clock.epoch
    waiting.later = {20.0: lambda: recover(world.tools, afresh(world), now=True, abort=abort)}
    done = waiting.wait()
    assert done.outcome == outcome
    assert done.in_force == (OLD_MARK if abort else NEW_MARK)
    assert waiting.passed == pytest.approx(20, abs=1)
    assert waiting.retired == 0


def test_a_later_rotation_means_that_this_one_is_over(waiting: Waiting) -> None:
    world = waiting.world
    grace(world, 600)

    def again() -> None:
        recover(world.tools, afresh(world), now=True)
        rotate(world.tools, afresh(world), grace_s=600)

    waiting.began = world.clock.epoch
    waiting.later = {20.0: again}
    assert waiting.wait().outcome == "finished"
    assert waiting.retired == 0


def test_a_lock_that_somebody_holds_is_waited_for(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace(waiting.world, 10)
    retire, tries = waiting._retire, iter([True, True])

    def locked() -> Recovered:
        if next(tries, False):
            raise LockedError("locked", why="why", fix="fix")
        return retire()

    monkeypatch.setattr(waiting, "_retire", locked)
    waiting.began = waiting.world.clock.epoch
    assert waiting.wait().outcome == "finished"
    assert waiting.passed == pytest.approx(12, abs=1)


def test_a_signal_leaves_both_keys_accepted_and_says_how_to_go_on(waiting: Waiting) -> None:
    world = waiting.world
    grace(world, 60)

    def stop() -> None:
        raise Interrupted(2)

    waiting.began = world.clock.epoch
    waiting.later = {5.0: stop}
    with pytest.raises(Interrupted) as caught:
        waiting.wait()
    assert f"{OLD_MARK} is accepted until" in caught.value.outcome
    assert "--resume --wait" in caught.value.outcome
    assert world.steps[-1] == "proven"
    assert [world.gateway.models(Secret(key)).status for key in (MASTER, NEW)] == [200, 200]
    assert waiting.wait().outcome == "finished"
