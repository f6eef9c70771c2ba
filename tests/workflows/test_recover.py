"""`recover` brings whatever a crash left to one of two states, and then changes nothing more."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bootstrap.adapters.vault import SLOT_SUFFIX
from bootstrap.domain import targets as names
from bootstrap.domain.errors import (
    Interrupted,
    RecoveryNeededError,
    RotationUndoneError,
    StoreDamagedError,
)
from bootstrap.domain.rotation import Step, owes_hook
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY, STORE
from bootstrap.workflows.recover import Recovered, open_rotation, recover
from bootstrap.workflows.rotate import rotate
from bootstrap.workflows.rotation_status import Stands, status
from support.fakes import LAB, MASTER
from support.homes import snapshot
from support.rotation_crash import Killed, kill
from support.rotation_fakes import BOOM, NEW, PLAIN, THIRD, World, afresh, make_world, raises

pytestmark = pytest.mark.faults

OPEN_STEPS = tuple(step for step in Step if step not in (Step.CLOSED, Step.UNDONE))
REF = f"sops:{STORE}#{MASTER_KEY}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def killed(
    world: World,
    step: Step,
    *,
    before: bool = False,
    grace_s: float = 0.0,
    restart: bool = False,
) -> None:
    """Leave the world as a process does that is killed before or after it notes `step`."""
    turn = partial(
        rotate, world.tools, world.using, new=Secret(NEW), grace_s=grace_s, restart=restart
    )
    kill(world, step, turn, before=before)


def again(world: World, **options: bool) -> Recovered:
    """Recover as a new process, twice; the second time nothing may change."""
    done = recover(world.tools, afresh(world), **options)
    home = Path(world.tools.places.home)
    before, puts, saves = snapshot(home), list(world.store.puts), world.tools.state.saves
    second = recover(world.tools, afresh(world))
    assert second.outcome in ("nothing", "waiting")
    assert (snapshot(home), world.store.puts, world.tools.state.saves) == (before, puts, saves)
    return done


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", OPEN_STEPS, ids=lambda step: step.value)
def test_after_a_crash_the_stores_key_alone_is_in_force(
    world: World, step: Step, before: bool
) -> None:
    killed(world, step, before=before)
    done = again(world)
    stored = str(world.stored())
    assert world.in_force(stored, NEW if stored == MASTER else MASTER)
    assert done.outcome in ("finished", "undone", "nothing")
    assert (done.outcome == "finished") == (stored == NEW)


@pytest.mark.parametrize("step", OPEN_STEPS, ids=lambda step: step.value)
def test_a_rotation_with_a_restart_recovers_the_same_way(world: World, step: Step) -> None:
    killed(world, step, restart=True)
    again(world)
    stored = str(world.stored())
    assert world.in_force(stored, NEW if stored == MASTER else MASTER)


def test_before_the_store_is_promoted_it_goes_back_after_that_forward(world: World) -> None:
    killed(world, Step.SWITCHED)
    assert again(world).outcome == "undone"
    killed(world, Step.PROMOTED, before=True)
    assert again(world).outcome == "finished"


@pytest.mark.parametrize("step", [Step.PROMOTED, Step.PROVEN, Step.RETIRED])
def test_abort_goes_back_as_long_as_the_store_knows_the_old_key(world: World, step: Step) -> None:
    killed(world, step)
    assert again(world, abort=True).outcome == "undone"
    assert world.in_force(MASTER, NEW)


@pytest.mark.parametrize("step", [Step.PROMOTED, Step.PROVEN, Step.RETIRED])
def test_a_hook_that_was_told_of_a_new_key_is_told_that_it_was_taken_back(
    tmp_path: Path, step: Step
) -> None:
    world = make_world(tmp_path, LAB + '[rotate]\nafter = ["./hook.sh"]\n')
    killed(world, step)
    assert again(world, abort=True).outcome == "undone"
    owing = owes_hook(afresh(world).journal.records())
    assert (owing is not None) == (step is not Step.PROMOTED)
    if owing:
        assert [part.new for part in owing.moves] == [Secret(MASTER).fingerprint()]


def test_a_hook_is_told_nothing_of_a_key_that_was_never_proven(tmp_path: Path) -> None:
    world = make_world(tmp_path, LAB + '[rotate]\nafter = ["./hook.sh"]\n')
    world.journal.before = {Step.PROMOTED: raises(BOOM)}
    with pytest.raises(RotationUndoneError):
        rotate(world.tools, world.using, new=Secret(NEW))
    assert owes_hook(afresh(world).journal.records()) is None


def test_abort_is_refused_once_the_store_has_forgotten_the_old_key(world: World) -> None:
    killed(world, Step.CLOSED, before=True)
    with pytest.raises(RecoveryNeededError) as caught:
        recover(world.tools, afresh(world), abort=True)
    assert "the old key is gone" in caught.value.why
    assert again(world).outcome == "finished"
    assert world.in_force(NEW, MASTER)


def test_a_new_key_that_cannot_be_proven_goes_back(world: World) -> None:
    killed(world, Step.PROMOTED)
    world.gateway.refuses = {NEW}
    assert again(world).outcome == "undone"
    assert world.in_force(MASTER, NEW)


def test_a_key_that_somebody_stored_meanwhile_is_the_truth(world: World) -> None:
    killed(world, Step.OVERLAPPING)
    world.store.values[REF] = THIRD
    done = again(world)
    assert (done.outcome, done.in_force) == ("finished", Secret(THIRD).fingerprint())
    assert world.in_force(THIRD, MASTER)
    assert world.gateway.models(Secret(NEW)).status == 401


def test_a_pending_key_that_is_lost_does_not_hinder_going_back(world: World) -> None:
    killed(world, Step.SWITCHED)
    del world.store.values[REF + SLOT_SUFFIX]
    assert again(world).outcome == "undone"
    assert world.in_force(MASTER, NEW)


def test_an_old_key_that_is_lost_does_not_hinder_going_forward(world: World) -> None:
    killed(world, Step.PROMOTED)
    del world.store.values[REF + SLOT_SUFFIX]
    assert again(world).outcome == "finished"
    assert world.in_force(NEW, MASTER)


def test_without_the_old_key_there_is_no_way_back(world: World) -> None:
    killed(world, Step.PROMOTED)
    del world.store.values[REF + SLOT_SUFFIX]
    world.gateway.refuses = {NEW}
    with pytest.raises(RecoveryNeededError, match="half done, after: promoted"):
        recover(world.tools, afresh(world))


def test_a_store_that_cannot_be_read_keeps_the_journal_open(world: World) -> None:
    killed(world, Step.SWITCHED)
    world.store.broken[""] = StoreDamagedError("damaged", why="no MAC", fix="git checkout it")
    with pytest.raises(RecoveryNeededError) as caught:
        recover(world.tools, afresh(world))
    assert caught.value.fix == "git checkout it; then: keyturn recover"
    world.store.broken.clear()
    assert again(world).outcome == "undone"


def test_a_gateway_that_is_down_is_started(world: World) -> None:
    killed(world, Step.SWITCHED)
    world.tools.service.stop()
    assert again(world).outcome == "undone"
    assert world.in_force(MASTER, NEW)


@pytest.mark.parametrize(
    "lose",
    [
        lambda world: world.path(names.KEYSET).unlink(),
        lambda world: world.path(names.KEYSET).write_text("no JSON"),
        lambda world: world.path(names.KEYSET).chmod(0o666),
        lambda world: world.tools.state.values.clear(),
    ],
    ids=["keyset gone", "keyset corrupt", "keyset for everybody", "state gone"],
)
@pytest.mark.parametrize("step", [Step.OVERLAPPING, Step.SWITCHED])
def test_what_is_lost_beside_the_store_is_made_anew(
    world: World, step: Step, lose: Callable[[World], object]
) -> None:
    killed(world, step)
    lose(world)
    recover(world.tools, afresh(world))
    assert world.in_force(MASTER, NEW)
    assert world.path(names.KEYSET).stat().st_mode & 0o777 == 0o600


def test_temporary_files_of_a_killed_run_are_removed(world: World) -> None:
    killed(world, Step.STAGED)
    folder = world.path(names.ENV_FILE).parent
    (folder / ".litellm.env.keyturn-0123456789ab.tmp").write_text(NEW)
    again(world)
    assert [path.name for path in folder.glob(".*")] == []


@pytest.mark.parametrize("step", OPEN_STEPS, ids=lambda step: step.value)
def test_a_gateway_without_the_guard_ends_with_the_stores_key(tmp_path: Path, step: Step) -> None:
    if step is Step.OVERLAPPING:  # there is no such step
        step = Step.SWITCHED
    world = make_world(tmp_path, PLAIN)
    killed(world, step)
    again(world)
    stored = str(world.stored())
    assert world.in_force(stored, NEW if stored == MASTER else MASTER)


def test_an_interrupted_recovery_says_that_it_is_not_over(world: World) -> None:
    killed(world, Step.SWITCHED)
    world.journal.before = {Step.UNDONE: raises(Interrupted(2))}
    with pytest.raises(Interrupted) as caught:
        recover(world.tools, afresh(world))
    assert "still open" in caught.value.outcome
    assert again(world).outcome == "undone"


def test_nothing_is_asked_where_nothing_is_open(world: World) -> None:
    reads = list(world.store.reads)
    assert recover(world.tools, afresh(world)) == Recovered("nothing")
    assert world.store.reads == reads


class TestGrace:
    def turn(self, world: World) -> None:
        rotate(world.tools, world.using, new=Secret(NEW), grace_s=600.0)

    def accepts_old(self, world: World) -> bool:
        return world.gateway.models(Secret(MASTER)).status == 200

    def test_it_ends_by_itself(self, world: World) -> None:
        self.turn(world)
        world.clock.epoch += 599
        assert self.accepts_old(world)
        world.clock.epoch += 1
        assert not self.accepts_old(world)
        assert world.gateway.models(Secret(NEW)).status == 200

    def test_until_then_there_is_nothing_to_do_but_to_wait(self, world: World) -> None:
        self.turn(world)
        done = again(world)
        assert (done.outcome, done.retire_at) == ("waiting", world.clock.now() + 600)
        assert world.stored(SLOT_SUFFIX) == MASTER

    def test_afterwards_the_store_forgets_the_old_key(self, world: World) -> None:
        self.turn(world)
        world.clock.epoch += 601
        assert again(world).outcome == "finished"
        assert world.in_force(NEW, MASTER)

    def test_it_can_be_ended_now(self, world: World) -> None:
        self.turn(world)
        assert again(world, now=True).outcome == "finished"
        assert world.in_force(NEW, MASTER)

    def test_it_can_be_aborted(self, world: World) -> None:
        self.turn(world)
        assert again(world, abort=True).outcome == "undone"
        assert world.in_force(MASTER, NEW)

    @pytest.mark.parametrize("now", [False, True], ids=["by itself", "resume"])
    def test_an_abort_that_was_killed_is_gone_on_with_unless_somebody_resumes(
        self, world: World, monkeypatch: pytest.MonkeyPatch, now: bool
    ) -> None:
        self.turn(world)
        with monkeypatch.context() as patch:
            patch.setattr(world.store, "write_many", lambda *_: raises(Killed())())
            with pytest.raises(Killed):
                recover(world.tools, afresh(world), abort=True)
        assert status(world.tools, afresh(world), busy=False).stands is Stands.LEFT_OPEN
        outcome, *keys = ("finished", NEW, MASTER) if now else ("undone", MASTER, NEW)
        assert again(world, now=now).outcome == outcome
        assert world.in_force(*keys)

    def test_a_clock_that_jumps_back_an_hour_makes_it_longer_and_nothing_else(
        self, world: World
    ) -> None:
        self.turn(world)
        world.clock.epoch -= 3600
        assert again(world).outcome == "waiting"
        world.clock.epoch += 3600 + 601
        assert again(world).outcome == "finished"
        assert world.in_force(NEW, MASTER)

    def test_a_gateway_that_is_down_meanwhile_does_not_matter(self, world: World) -> None:
        self.turn(world)
        world.tools.service.stop()
        assert again(world).outcome == "waiting"

    def test_a_crash_before_the_keyset_has_its_end_is_mended(self, world: World) -> None:
        proofs: list[int] = []

        def second() -> None:
            proofs.append(1)
            world.journal.after[Step.PROVEN] = raises(Killed())

        world.journal.after = {Step.PROVEN: second}
        with pytest.raises(Killed):
            self.turn(world)
        assert again(world).outcome == "waiting"
        world.clock.epoch += 601
        assert not self.accepts_old(world)

    def test_an_old_key_that_the_store_lost_ends_now(self, world: World) -> None:
        self.turn(world)
        del world.store.values[REF + SLOT_SUFFIX]
        assert again(world).outcome == "finished"
        assert world.in_force(NEW, MASTER)


def test_a_keyring_first_lab_goes_by_its_journal_when_the_keyring_is_locked(tmp_path: Path) -> None:
    lab = LAB + (f'[secrets.{MASTER_KEY}]\nsources = ["keyring:keyturn#{MASTER_KEY}", "{REF}"]\n')
    world = make_world(tmp_path, lab, keyring={MASTER_KEY: MASTER})
    killed_keyring: dict[str, str] = {}

    def stop() -> None:
        killed_keyring.update(world.keyring.values)
        raise Killed

    world.journal.after = {Step.PROMOTED: stop}
    world.journal.before = {Step.UNDONE: stop}
    with pytest.raises((Killed, RecoveryNeededError)):
        rotate(world.tools, world.using, new=Secret(NEW))
    locked = StoreDamagedError("locked", why="locked", fix="unlock it")
    world.keyring.broken[""] = locked
    with pytest.raises(RecoveryNeededError):
        recover(world.tools, afresh(world))
    world.keyring.broken.clear()
    assert recover(world.tools, afresh(world)).outcome in ("finished", "undone")
    held = world.keyring.values[f"keyring:keyturn#{MASTER_KEY}"]
    assert world.stored() == held
    assert list(world.keyring.values) == [f"keyring:keyturn#{MASTER_KEY}"]
    assert open_rotation(world.using) is None
