"""`client_keys = true`: a key of its own for each client, and none breaks on the way."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.adapters.vault import SLOT_SUFFIX
from bootstrap.domain import targets as names
from bootstrap.domain.errors import (
    GatewayError,
    RecoveryNeededError,
    RotationUndoneError,
    SecretNotFoundError,
)
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.plan import Action
from bootstrap.domain.rotatable import rotated_by_all
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY, STORE
from bootstrap.workflows.apply import apply
from bootstrap.workflows.planning import make_plan
from bootstrap.workflows.recover import recover
from bootstrap.workflows.resolve import Resolver
from bootstrap.workflows.rotate import Rotated, rotate
from bootstrap.workflows.uses import holders
from support.fakes import LAB, MASTER
from support.rotation_fakes import BOOM, NEW, World, afresh, make_world, raises

pytestmark = pytest.mark.integration

ON = LAB.replace("version = 1\n", "version = 1\nclient_keys = true\n")
ONLY_DROID = LAB + "[clients.droid]\nclient_keys = true\n"
CLIENTS = ("claude", "droid", "openai", "openwebui")


class AllBut(set[str]):
    """All values but those it was made of."""

    def __contains__(self, value: object) -> bool:
        return not super().__contains__(value)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def with_text(world: World, text: str) -> World:
    """Return the world after lab.toml was edited."""
    tools = world.tools
    Path(tools.lab.file).write_text(text)
    lab = parse_lab(text, tools.lab.root)
    resolver = Resolver(lab.secrets, tools.provider)
    world.tools = replace(tools, lab=lab, resolver=resolver)
    world.using = afresh(world)
    return world


def key_of(world: World, client: str) -> str:
    return world.store.values[f"sops:{STORE}#KEYTURN_CLIENT_KEY_{client.upper()}"]


def status(world: World, key: str) -> int | None:
    return world.gateway.models(Secret(key)).status


def settings(world: World) -> str:
    return world.path(names.DROID_SETTINGS).read_text()


def entries(world: World) -> dict[str, tuple[str, ...] | None]:
    keys = Keyset.parse(world.path(names.KEYSET).read_bytes())
    return {entry.id: entry.models for entry in keys.entries}


class TestOn:
    def test_a_plan_shows_it_and_makes_nothing(self, world: World) -> None:
        with_text(world, ON)
        puts = list(world.store.puts)
        plan = make_plan(world.tools)
        assert plan.new_keys == tuple(f"KEYTURN_CLIENT_KEY_{c.upper()}" for c in CLIENTS)
        keyset = next(c for c in plan.changes if c.target.name == names.KEYSET)
        assert any(
            line.startswith("+ droid (") and line.endswith("): lab-echo") for line in keyset.details
        )
        assert world.store.puts == puts

    def test_each_client_gets_a_key_of_its_own_with_the_models_that_it_sees(
        self, world: World
    ) -> None:
        apply(with_text(world, ON).tools)
        keys = {key_of(world, client) for client in CLIENTS}
        assert len(keys | {MASTER}) == len(CLIENTS) + 1
        assert all(status(world, key) == 200 for key in (*keys, MASTER))
        expected = {f"lab-{client}": ("lab-echo",) for client in CLIENTS}
        assert entries(world) == {"master": None, **expected}
        assert key_of(world, "droid") in settings(world)
        assert MASTER not in settings(world)

    def test_they_are_stored_in_one_write_and_the_second_plan_is_empty(self, world: World) -> None:
        puts = len(world.store.puts)
        assert apply(with_text(world, ON).tools).plan.new_keys
        assert len(world.store.puts) == puts + 1
        assert not make_plan(world.tools)
        assert apply(world.tools).plan.new_keys == ()
        assert len(world.store.puts) == puts + 1

    def test_the_gateway_and_shells_get_none_of_them(self, world: World) -> None:
        apply(with_text(world, ON).tools)
        for name in (names.GATEWAY_ENV, names.ENV_FILE, names.CONFIG):
            text = world.path(name).read_text()
            assert not any(key_of(world, client) in text for client in CLIENTS)

    def test_the_overlay_and_the_key_helper_name_it(self, world: World) -> None:
        apply(with_text(world, ON + "[targets]\ndroid_key_helper = true\n").tools)
        for name in (names.DROID_OVERLAY, names.DROID_KEY_HELPER):
            text = world.path(name).read_text()
            assert "KEYTURN_CLIENT_KEY_DROID" in text
            assert MASTER_KEY not in text

    def test_one_client_can_have_one_alone(self, world: World) -> None:
        apply(with_text(world, ONLY_DROID).tools)
        assert set(entries(world)) == {"master", "lab-droid"}

    def test_one_client_can_be_left_out(self, world: World) -> None:
        apply(with_text(world, ON + "[clients.openwebui]\nclient_keys = false\n").tools)
        assert "lab-openwebui" not in entries(world)

    def test_a_scope_follows_the_lab(self, world: World) -> None:
        more = '[[models]]\nalias = "small"\nbackend = "echo"\nclients = ["droid"]\n'
        world.gateway.model_ids = ("lab-echo",)
        apply(with_text(world, ON).tools)
        apply(with_text(world, ON + more).tools)
        assert entries(world)["lab-droid"] == ("lab-echo", "small")
        assert entries(world)["lab-claude"] == ("lab-echo",)
        assert entries(world)["lab-openai"] == ("lab-echo", "small")

    def test_a_client_without_a_model_needs_none(self, world: World) -> None:
        only = '[[models]]\nalias = "a"\nbackend = "echo"\nclients = ["droid"]\n'
        text = ON.replace("client_keys", "echo = false\nclient_keys") + only
        world.gateway.model_ids = ("a",)
        apply(with_text(world, text).tools)
        assert set(entries(world)) == {"master", "lab-droid", "lab-openai"}
        assert not make_plan(world.tools)

    def test_a_key_that_the_gateway_refuses_or_shows_too_much_is_not_proven(
        self, world: World
    ) -> None:
        apply(with_text(world, ON).tools)
        world.gateway.refuses = {key_of(world, "droid")}
        with pytest.raises(GatewayError, match="droid"):
            apply(world.tools)
        world.gateway.refuses = set()
        world.gateway.model_ids = ("lab-echo", "secret-model")
        with pytest.raises(GatewayError) as caught:
            apply(world.tools)
        assert "not for it" in caught.value.why

    def test_a_lab_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        held = '[secrets.LITELLM_MASTER_KEY]\nsources = ["env:LITELLM_MASTER_KEY"]\n'
        world = make_world(tmp_path, LAB + held, environ={MASTER_KEY: MASTER})
        with_text(world, ON + held)
        with pytest.raises(SecretNotFoundError, match="KEYTURN_CLIENT_KEY_CLAUDE"):
            apply(world.tools)

    def test_they_stand_where_the_master_key_does(self, tmp_path: Path) -> None:
        held = '[secrets.LITELLM_MASTER_KEY]\nsources = ["keyring:keyturn#LITELLM_MASTER_KEY"]\n'
        world = make_world(tmp_path, LAB + held, keyring={MASTER_KEY: MASTER})
        apply(with_text(world, ONLY_DROID + held).tools)
        assert "keyring:keyturn#KEYTURN_CLIENT_KEY_DROID" in world.keyring.values


class TestOff:
    def test_the_old_key_is_accepted_until_its_client_has_followed(self, world: World) -> None:
        apply(with_text(world, ON).tools)
        own = key_of(world, "droid")
        apply(with_text(world, LAB).tools)
        assert MASTER in settings(world)
        assert (status(world, own), status(world, MASTER)) == (200, 200)
        assert not make_plan(world.tools)
        world.clock.epoch += 601
        assert status(world, own) == 401

    def test_an_end_that_has_passed_is_no_drift_and_goes_with_the_next_change(
        self, world: World
    ) -> None:
        apply(with_text(world, ON).tools)
        apply(with_text(world, LAB).tools)
        world.clock.epoch += 601
        world.tools.state.save({**world.tools.state.load(), "inputs": ""})
        assert not [c for c in make_plan(world.tools).changes if c.target.name == names.KEYSET]
        apply(with_text(world, ONLY_DROID).tools)
        assert set(entries(world)) == {"master", "lab-droid"}

    def test_those_ten_minutes_are_whole_though_the_clock_was_set_back(self, world: World) -> None:
        apply(with_text(world, ON).tools)
        ahead = int(world.clock.now()) + 3600
        uses = {"version": 1, "keys": {"0a1b2c3d": {"last_seen": ahead}}}
        world.path(names.KEYSET).with_name("keyturn-uses.json").write_text(json.dumps(uses))
        apply(with_text(world, LAB).tools)
        keys = Keyset.parse(world.path(names.KEYSET).read_bytes())
        assert {entry.not_after for entry in keys.entries} == {None, ahead + 600}

    def test_on_again_takes_the_key_that_is_there(self, world: World) -> None:
        apply(with_text(world, ON).tools)
        own = key_of(world, "droid")
        apply(with_text(world, LAB).tools)
        apply(with_text(world, ON).tools)
        assert key_of(world, "droid") == own
        assert "lab-droid-previous" not in entries(world)

    def test_keys_that_were_issued_stay(self, world: World) -> None:
        path = world.path(names.KEYSET)
        issued = Keyset.parse(path.read_bytes()).with_client("me", Secret(NEW), None, None)
        path.write_bytes(issued.to_bytes())
        apply(with_text(world, ON).tools)
        apply(with_text(world, LAB).tools)
        assert status(world, NEW) == 200


STEPS = (Step.CREATED, Step.STAGED, Step.OVERLAPPING, Step.SWITCHED, Step.PROMOTED, Step.PROVEN)


class TestRotation:
    @pytest.fixture
    def on(self, world: World) -> World:
        apply(with_text(world, ON).tools)
        return world

    def turn(self, world: World, *clients: str, master: bool = False, **more: float) -> Rotated:
        own = [key.secret for key in world.tools.lab.client_keys if key.client in clients]
        names = (*((MASTER_KEY,) if master else ()), *own)
        return rotate(world.tools, world.using, names=names, **more)  # type: ignore[arg-type]

    def settled(self, world: World, old: dict[str, str], new: dict[str, str]) -> bool:
        """Tell whether `new` are in force everywhere, and `old` nowhere."""
        return (
            all(key_of(world, client) == key for client, key in new.items())
            and [status(world, key) for key in new.values()] == [200] * len(new)
            and [status(world, key) for key in old.values()] == [401] * len(old)
            and not any(SLOT_SUFFIX in name for name in world.store.values)
            and not make_plan(world.tools)
        )

    def test_one_alone(self, on: World) -> None:
        old, other = key_of(on, "droid"), key_of(on, "claude")
        done = self.turn(on, "droid")
        assert done.files == (names.KEYSET, names.DROID_SETTINGS)
        new = key_of(on, "droid")
        assert self.settled(on, {"droid": old}, {"droid": new, "claude": other})
        assert new in settings(on)
        assert status(on, MASTER) == 200
        assert entries(on)["lab-droid"] == ("lab-echo",)

    def test_all_of_them_and_the_master_key_in_one_transaction(self, on: World) -> None:
        old = {client: key_of(on, client) for client in CLIENTS}
        puts = len(on.store.puts)
        done = self.turn(on, *CLIENTS, master=True)
        assert len(on.store.puts) == puts + 3, "pending, current, forgotten: one write each"
        assert [part.name for part in done.parts] == list(rotated_by_all(on.tools.lab)[:5])
        new = {client: key_of(on, client) for client in CLIENTS}
        assert self.settled(on, {**old, "master": MASTER}, new)
        assert on.in_force(str(on.stored()), MASTER) is False, "droid holds its own, not the master"

    @pytest.mark.faults
    @pytest.mark.parametrize("step", STEPS, ids=lambda step: step.value)
    def test_a_failure_at_any_step_puts_every_old_key_back(self, on: World, step: Step) -> None:
        old = {client: key_of(on, client) for client in CLIENTS}
        on.journal.before = {step: raises(BOOM)}
        with pytest.raises(RotationUndoneError):
            self.turn(on, *CLIENTS, master=True)
        assert self.settled(on, {}, old)
        assert old["droid"] in settings(on)
        assert status(on, MASTER) == 200

    @pytest.mark.faults
    @pytest.mark.parametrize("step", [*STEPS, Step.RETIRED], ids=lambda step: step.value)
    def test_a_crash_at_any_step_is_brought_to_one_end(self, on: World, step: Step) -> None:
        old = {client: key_of(on, client) for client in CLIENTS}
        on.journal.after = {step: raises(BOOM)}
        on.journal.before = {Step.UNDONE: raises(BOOM)}  # so that undoing is left open, too
        with pytest.raises(RecoveryNeededError):
            self.turn(on, *CLIENTS, master=True)
        outcome = recover(on.tools, afresh(on)).outcome
        new = {client: key_of(on, client) for client in CLIENTS}
        if outcome == "undone":
            assert self.settled(on, {}, old)
        else:
            assert self.settled(on, old, new)
            assert step is Step.RETIRED
        assert recover(on.tools, afresh(on)).outcome == "nothing"

    def test_a_key_that_the_gateway_refuses_is_undone(self, on: World) -> None:
        old = key_of(on, "droid")
        on.gateway.refuses = AllBut({MASTER, *(key_of(on, client) for client in CLIENTS)})
        with pytest.raises(RotationUndoneError):
            self.turn(on, "droid")
        assert self.settled(on, {}, {"droid": old})

    def test_grace_is_for_each_of_them(self, on: World) -> None:
        old = key_of(on, "droid")
        done = self.turn(on, "droid", master=True, grace_s=600.0)
        assert done.retire_at == on.clock.now() + 600.0
        assert [status(on, key) for key in (old, MASTER, key_of(on, "droid"))] == [200] * 3
        assert not make_plan(on.tools)
        assert recover(on.tools, afresh(on)).outcome == "waiting"
        on.clock.epoch += 601
        assert [status(on, key) for key in (old, MASTER)] == [401, 401]
        assert recover(on.tools, afresh(on)).outcome == "finished"
        assert self.settled(on, {"droid": old}, {"droid": key_of(on, "droid")})

    def test_rotating_the_master_key_alone_leaves_them(self, on: World) -> None:
        own, before = key_of(on, "droid"), settings(on)
        done = rotate(on.tools, on.using, new=Secret(NEW))
        assert names.DROID_SETTINGS not in done.files
        assert settings(on) == before
        assert self.settled(on, {"master": MASTER}, {"droid": own})

    def test_a_value_changed_in_the_store_is_put_in_force_by_apply(self, on: World) -> None:
        old = key_of(on, "droid")
        on.store.write_many(STORE, {"KEYTURN_CLIENT_KEY_DROID": Secret(NEW)})
        assert (status(on, old), status(on, NEW)) == (200, 401)
        apply(on.tools)
        assert (status(on, old), status(on, NEW)) == (200, 200)
        assert NEW in settings(on)

    def test_who_holds_one_is_known(self, on: World) -> None:
        at = int(on.clock.now())
        use = {"count": 1, "last_seen": at, "refused": 0, "last_refused": 0}
        keys = {Secret(key_of(on, "droid")).fingerprint(): {**use, "programs": {"curl": [1, at]}}}
        file = on.path(names.KEYSET).with_name("keyturn-uses.json")
        file.write_text(json.dumps({"version": 1, "keys": keys}))
        file.chmod(0o600)
        assert holders(on.tools) == ()
        (user,) = holders(on.tools, ["KEYTURN_CLIENT_KEY_DROID"])
        assert user.program == "curl"


def test_a_plan_by_action_for_the_first_time(world: World) -> None:
    plan = make_plan(with_text(world, ONLY_DROID).tools)
    found = {c.target.name: c.action for c in plan.drift}
    assert found == {
        names.KEYSET: Action.UPDATE,
        names.DROID_SETTINGS: Action.UPDATE,
        names.DROID_OVERLAY: Action.UPDATE,
    }
    assert json.dumps(plan.new_keys) == '["KEYTURN_CLIENT_KEY_DROID"]'
