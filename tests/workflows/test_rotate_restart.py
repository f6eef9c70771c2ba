"""A rotation that restarts the gateway, because it was asked to or because it has to."""

from pathlib import Path

import pytest

from bootstrap.domain import targets as names
from bootstrap.domain.errors import ConfigError, KeptError, RecoveryNeededError, RotationUndoneError
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY
from bootstrap.workflows.recover import recover
from bootstrap.workflows.rotate import Rotated, rotate
from bootstrap.workflows.rotation_preview import preview
from support.fakes import LAB, MASTER
from support.rotation_fakes import BOOM, NEW, PLAIN, World, afresh, make_world, raises

pytestmark = pytest.mark.integration

KEPT = KeptError("a fresh one does not start", why="it ends with 3", fix="see its log")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.fixture
def plain(tmp_path: Path) -> World:
    return make_world(tmp_path, PLAIN)


def turn(world: World, *, restart: bool = True) -> Rotated:
    world.tools.service.calls.clear()
    return rotate(world.tools, world.using, new=Secret(NEW), restart=restart)


def swaps(world: World) -> int:
    return world.tools.service.calls.count("swap")


class TestGuard:
    def test_a_fresh_gateway_serves_afterwards(self, world: World) -> None:
        before = world.tools.service.pid
        assert turn(world).restarted
        assert swaps(world) == 1
        assert world.tools.service.pid != before
        assert world.in_force(NEW, MASTER)

    def test_without_being_asked_nothing_restarts(self, world: World) -> None:
        assert not turn(world, restart=False).restarted
        assert swaps(world) == 0

    def test_both_keys_are_accepted_while_it_restarts(self, world: World) -> None:
        seen = []

        def look() -> None:
            keys = (Secret(MASTER), Secret(NEW))
            seen.append([world.gateway.models(key).status for key in keys])

        world.tools.service.on_start = look
        turn(world)
        assert seen == [[200, 200]]

    def test_a_fresh_gateway_that_does_not_come_up_undoes_it_without_another_try(
        self, world: World
    ) -> None:
        world.tools.service.failures["swap"] = KEPT
        with pytest.raises(RotationUndoneError) as caught:
            turn(world)
        assert KEPT.why in caught.value.why
        assert swaps(world) == 1
        assert world.in_force(MASTER, NEW)

    def test_a_failure_after_the_restart_is_undone_without_another_one(self, world: World) -> None:
        world.journal.before = {Step.PROMOTED: raises(BOOM)}
        with pytest.raises(RotationUndoneError):
            turn(world)
        assert swaps(world) == 1
        assert world.in_force(MASTER, NEW)

    def test_a_restart_that_broke_off_is_made_up_for_by_recovery(self, world: World) -> None:
        world.tools.service.failures["swap"] = BOOM
        with pytest.raises(RecoveryNeededError):
            turn(world)
        world.tools.service.failures.clear()
        world.tools.service.calls.clear()
        assert recover(world.tools, afresh(world)).outcome == "undone"
        assert swaps(world) == 1
        assert world.in_force(MASTER, NEW)

    def test_where_it_opens_the_port_itself_it_restarts_and_says_what_that_costs(
        self, tmp_path: Path
    ) -> None:
        world = make_world(tmp_path, '[gateway]\nsocket = "never"\n')
        turn(world)
        assert "restart" in world.tools.service.calls
        assert any("requests are refused meanwhile" in step for step in world.tools.progress.steps)
        assert world.in_force(NEW, MASTER)

    def test_a_preview_says_that_it_would_restart(self, world: World) -> None:
        found = preview(world.tools, world.using, restart=True)
        assert found.restarts
        assert "takes the port over" in found.words[Step.SWITCHED]
        assert "takes the port over" not in preview(world.tools, world.using).words[Step.SWITCHED]


class TestWhatTheLabSays:
    def named(self, world: World) -> Rotated:
        world.tools.service.calls.clear()
        return rotate(world.tools, world.using, names=(INTERNAL_KEY,))

    def test_always_restarts_although_nobody_asks(self, tmp_path: Path) -> None:
        world = make_world(tmp_path, LAB + '[rotate]\nrestart = "always"\n')
        assert preview(world.tools, world.using).restarts
        assert turn(world, restart=False).restarted
        assert swaps(world) == 1
        assert world.in_force(NEW, MASTER)

    def test_never_refuses_what_has_to_restart_before_anything_changes(
        self, tmp_path: Path
    ) -> None:
        world = make_world(tmp_path, LAB + '[rotate]\nrestart = "never"\n')
        for attempt in (self.named, lambda w: preview(w.tools, w.using, (INTERNAL_KEY,))):
            with pytest.raises(ConfigError, match="would have to restart") as caught:
                attempt(world)
            assert "gateway.env changed" in caught.value.why
        assert (world.steps, swaps(world)) == ([], 0)
        assert rotate(world.tools, world.using, names=(INTERNAL_KEY,), restart=True).restarted
        assert swaps(world) == 1
        assert not turn(world, restart=False).restarted

    def test_what_is_asked_for_and_has_to_be_is_one_restart(self, world: World) -> None:
        both = (MASTER_KEY, INTERNAL_KEY)
        assert rotate(world.tools, world.using, names=both, restart=True).restarted
        assert swaps(world) == 1


class TestMasterKey:
    """`auth = "master-key"`: one key at a time, so who switches when is all there is to choose."""

    def test_clients_follow_only_when_the_fresh_gateway_serves(self, plain: World) -> None:
        settings = plain.path(names.DROID_SETTINGS)
        seen = []
        start = plain.tools.service.on_start

        def look() -> None:
            start()
            seen.append((MASTER in settings.read_text(), plain.gateway.models(Secret(NEW)).status))

        plain.tools.service.on_start = look
        assert turn(plain, restart=False).restarted
        assert seen == [(True, 200)]
        assert swaps(plain) == 1
        assert plain.in_force(NEW, MASTER)

    def test_a_fresh_gateway_that_does_not_come_up_leaves_the_old_one_and_its_files(
        self, plain: World
    ) -> None:
        plain.tools.service.failures["swap"] = KEPT
        pid = plain.tools.service.pid
        with pytest.raises(RotationUndoneError):
            turn(plain)
        assert swaps(plain) == 1
        assert plain.tools.service.pid == pid
        assert plain.in_force(MASTER, NEW)

    def test_a_client_that_cannot_be_switched_is_undone(self, plain: World) -> None:
        settings = plain.path(names.DROID_SETTINGS)
        start = plain.tools.service.on_start

        def lose() -> None:
            start()
            settings.parent.chmod(0o777)  # anybody may write there, so we do not

        plain.tools.service.on_start = lose
        with pytest.raises(RecoveryNeededError):
            turn(plain)
        plain.tools.service.on_start = start
        settings.parent.chmod(0o700)
        assert recover(plain.tools, afresh(plain)).outcome == "undone"
        assert plain.in_force(MASTER, NEW)

    def test_a_client_that_writes_its_settings_in_that_moment_keeps_what_it_wrote(
        self, plain: World
    ) -> None:
        settings = plain.path(names.DROID_SETTINGS)
        start = plain.tools.service.on_start

        def write() -> None:
            start()
            settings.write_text(settings.read_text().replace("{", '{"mine": 1,', 1))

        plain.tools.service.on_start = write
        turn(plain)
        assert '"mine": 1' in settings.read_text()
        assert plain.in_force(NEW, MASTER)
