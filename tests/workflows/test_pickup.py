"""A key that somebody put into the store by hand is deployed as carefully as a rotated one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.domain import targets as names
from bootstrap.domain.errors import Interrupted, RecoveryNeededError, RotationUndoneError
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY, STORE
from bootstrap.workflows.apply import apply
from bootstrap.workflows.planning import make_plan
from support.fakes import LAB, MASTER
from support.rotation_fakes import BOOM, NEW, PLAIN, World, make_world

pytestmark = pytest.mark.integration

REF = f"sops:{STORE}#{MASTER_KEY}"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    set_by_hand(made)
    return made


def set_by_hand(world: World) -> None:
    world.store.values[REF] = NEW
    world.store.write_many(STORE, {})


def deployed(world: World, key: str, other: str) -> bool:
    held = [world.path(name).read_text() for name in (names.ENV_FILE, names.DROID_SETTINGS)]
    asked = [world.gateway.models(Secret(k)).status for k in (key, other)]
    return all(key in text and other not in text for text in held) and asked == [200, 401]


def during(world: World, step: str, act: Callable[[], None]) -> None:
    """Let something happen when progress says that a step begins."""
    progress = world.tools.progress
    shown = progress.step

    def show(text: str) -> object:
        if text.startswith(step):
            progress.step = shown  # type: ignore[method-assign]
            act()
        return shown(text)

    progress.step = show  # type: ignore[assignment,method-assign]


def test_it_is_put_in_force_without_a_restart(world: World) -> None:
    before = list(world.tools.service.calls)
    done = apply(world.tools)
    assert done.proven
    assert world.in_force(NEW, MASTER)
    assert world.tools.service.calls == before


def test_both_keys_are_accepted_until_it_is_proven(world: World) -> None:
    seen: list[int | None] = []

    def ask() -> None:
        seen.extend(world.gateway.models(Secret(key)).status for key in (MASTER, NEW))

    during(world, "prove", ask)
    apply(world.tools)
    assert seen == [200, 200]


def test_applying_again_changes_nothing(world: World) -> None:
    apply(world.tools)
    assert not apply(world.tools).plan


@pytest.mark.parametrize("step", ["overlap", "switch", "prove", "retire"])
def test_an_interrupt_puts_the_old_key_back_everywhere_but_in_the_store(
    world: World, step: str
) -> None:
    def stop() -> None:
        raise Interrupted(15)

    during(world, step, stop)
    with pytest.raises(Interrupted) as caught:
        apply(world.tools)
    assert "undone" in caught.value.outcome
    assert deployed(world, MASTER, NEW)
    assert world.stored() == NEW
    assert make_plan(world.tools)


def test_a_key_that_gets_no_answer_is_undone(world: World) -> None:
    world.gateway.answers["complete"] = Answer(500)
    with pytest.raises(RotationUndoneError) as caught:
        apply(world.tools)
    assert "the store holds another key" in caught.value.what
    assert deployed(world, MASTER, NEW)


def test_a_foreign_exception_is_undone_too(world: World) -> None:
    def fail() -> None:
        raise RuntimeError(NEW)

    during(world, "prove", fail)
    with pytest.raises(RotationUndoneError, match="RuntimeError"):
        apply(world.tools)
    assert deployed(world, MASTER, NEW)


def test_a_signal_while_undoing_does_not_stop_it(world: World) -> None:
    def fail() -> None:
        ask = world.gateway.models

        def interrupt(key: Secret | None) -> Answer:
            world.gateway.models = ask  # type: ignore[method-assign]
            raise Interrupted(2)

        world.gateway.models = interrupt  # type: ignore[method-assign]
        raise BOOM

    during(world, "prove", fail)
    with pytest.raises(RotationUndoneError):
        apply(world.tools)
    assert deployed(world, MASTER, NEW)


def test_where_undoing_fails_too_applying_again_finishes(world: World) -> None:
    settings = world.path(names.DROID_SETTINGS)
    during(world, "prove", lambda: settings.chmod(0o400))
    world.gateway.answers["complete"] = Answer(500)
    with pytest.raises(RecoveryNeededError, match="in part only"):
        apply(world.tools)
    settings.chmod(0o600)
    del world.gateway.answers["complete"]
    apply(world.tools)
    assert world.in_force(NEW, MASTER)


def test_after_a_crash_applying_again_finishes(world: World) -> None:
    class Killed(BaseException):
        pass

    def kill() -> None:
        world.gateway.refuses = {MASTER, NEW}  # so undoing, which a crash has none of, fails
        raise Killed

    during(world, "prove", kill)
    with pytest.raises((Killed, RecoveryNeededError)):
        apply(world.tools)
    world.gateway.refuses.clear()
    apply(world.tools)
    assert world.in_force(NEW, MASTER)


def test_where_the_gateway_restarts_anyway_it_is_an_ordinary_apply(tmp_path: Path) -> None:
    world = make_world(tmp_path, PLAIN)
    set_by_hand(world)
    apply(world.tools)
    assert world.in_force(NEW, MASTER)


def test_where_the_gateway_is_down_it_is_an_ordinary_apply(world: World) -> None:
    world.tools.service.stop()
    apply(world.tools)
    assert world.in_force(NEW, MASTER)


def test_where_the_old_key_is_lost_it_is_an_ordinary_apply(tmp_path: Path) -> None:
    world = make_world(tmp_path, LAB)
    set_by_hand(world)
    world.path(names.ENV_FILE).unlink()
    apply(world.tools)
    assert world.in_force(NEW, MASTER)
