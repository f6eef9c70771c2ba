"""Rotations of secrets other than the master key, alone and together, whatever goes wrong."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bootstrap.domain import targets as names
from bootstrap.domain.errors import (
    ConfigError,
    Interrupted,
    LabError,
    RecoveryNeededError,
    RotationUndoneError,
    SecretNotFoundError,
)
from bootstrap.domain.probes import Answer
from bootstrap.domain.reencryption import MIGRATE_FROM
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY, SALT_KEY, STORE
from bootstrap.workflows.planning import make_plan
from bootstrap.workflows.recover import recover
from bootstrap.workflows.rotate import Rotated, rotate
from bootstrap.workflows.rotation_preview import preview
from support.fakes import LAB, MASTER
from support.rotation_crash import kill
from support.rotation_fakes import (
    BOOM,
    HELD,
    INTERNAL,
    NEW,
    PLAIN,
    THIRD,
    FakeDoor,
    World,
    afresh,
    make_world,
    raises,
)

pytestmark = pytest.mark.integration

PROVIDER, REDIS, OTHER = "UPSTREAM_KEY", "REDIS_PASSWORD", "DEPLOY_TOKEN"
ALL = (MASTER_KEY, INTERNAL_KEY, REDIS)
SECOND = "secrets/second.enc.env"
# Two encrypted files and a keyring, so that nothing about all of them can be one rename.
SPREAD = f"""
[secrets.{INTERNAL_KEY}]
sources = ["sops:{SECOND}#{INTERNAL_KEY}"]
[secrets.{REDIS}]
sources = ["keyring:keyturn#{REDIS}"]
"""
MORE = f"""
[secrets.{PROVIDER}]
[secrets.{OTHER}]
[backends.up]
kind = "vllm"
url = "http://127.0.0.1:1/v1"
key = "{PROVIDER}"
[[models]]
alias = "small"
backend = "up"
[[models]]
alias = "streamed"
backend = "up"
stream_only = true
[redis]
host = "127.0.0.1"
port = 6379
password = "{REDIS}"
"""
VALUES = {
    **HELD,
    PROVIDER: "up-test-provider-0123456789",
    REDIS: "test-redis-0123456789",
    OTHER: "test-other-0123456789",
}
SALTLESS = f"[secrets.{SALT_KEY}]\noptional = true\n[secrets.DATABASE_URL]\noptional = true\n"
NO_SALT = {name: value for name, value in VALUES.items() if name != SALT_KEY}
STEPS = tuple(step for step in Step if step not in (Step.CLOSED, Step.UNDONE))
TO_PROOF = STEPS[:7]
DONE_LINE = "WARNING: Done re-encrypting 3 stored value(s) with the new master key."


def make(
    tmp_path: Path,
    lab: str = LAB + f"[secrets.{REDIS}]\n" + MORE,
    *,
    held: Mapping[str, str] = VALUES,
    keyring: Mapping[str, str] | None = None,
    also: Mapping[str, str] | None = None,
) -> World:
    """Return a world with a provider and a Redis; by default one file holds all its secrets."""
    world = make_world(tmp_path, lab, held=held, keyring=keyring, also=also)
    world.redis = FakeDoor(VALUES[REDIS])
    world.using = replace(world.using, redis=world.redis)
    return world


def make_spread(tmp_path: Path) -> World:
    """Return a world whose secrets live in several places."""
    return make(
        tmp_path,
        LAB + MORE + SPREAD,
        held={name: VALUES[name] for name in VALUES if name not in (INTERNAL_KEY, REDIS)},
        keyring={REDIS: VALUES[REDIS]},
        also={f"sops:{SECOND}#{INTERNAL_KEY}": INTERNAL},
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_spread(tmp_path)


def held(world: World, name: str) -> str:
    """Return what the lab's sources hold."""
    return world.tools.resolver.resolve(name).secret.reveal()


def values(world: World) -> dict[str, str]:
    return {name: held(world, name) for name in VALUES}


def settled(world: World) -> bool:
    """Tell whether everything agrees with the store, and nothing of a rotation is left."""
    env = world.path(names.GATEWAY_ENV).read_text()
    slots = [key for key in (*world.store.values, *world.keyring.values) if "_KEYTURN_" in key]
    deployed = all(held(world, name) in env for name in (INTERNAL_KEY, PROVIDER, REDIS))
    return (
        deployed
        and not slots
        and not make_plan(world.tools)
        and world.redis.accepted == {held(world, REDIS)}
        and world.gateway.models(Secret(held(world, MASTER_KEY))).status == 200
    )


def turn(world: World, *given: str, new: str | None = None) -> Rotated:
    return rotate(world.tools, world.using, names=given or ALL, new=Secret(new) if new else None)


@pytest.mark.parametrize(
    ("name", "new"),
    [
        (PROVIDER, "up-test-another"),
        (REDIS, None),
        (INTERNAL_KEY, None),
        (SALT_KEY, None),
        (OTHER, "short"),
    ],
)
def test_one_secret_changes_everywhere_and_no_other(
    tmp_path: Path, name: str, new: str | None
) -> None:
    world = make(tmp_path)
    before = values(world)
    swaps = world.tools.service.calls.count("swap")
    done = turn(world, name, new=new)
    after = values(world)
    assert [part.name for part in done.parts] == [name]
    assert {key for key in after if after[key] != before[key]} == {name}
    assert new in (None, after[name])
    assert settled(world)
    assert done.restarted == (name != OTHER)
    assert world.tools.service.calls.count("swap") - swaps == int(done.restarted)


@pytest.mark.parametrize("make_it", [make, make_spread])
def test_all_change_together_with_one_restart(
    tmp_path: Path, make_it: Callable[[Path], World]
) -> None:
    world = make_it(tmp_path)
    before, swaps = values(world), world.tools.service.calls.count("swap")
    done = turn(world)
    after = values(world)
    assert {key for key in after if after[key] != before[key]} == set(ALL)
    assert settled(world)
    assert world.gateway.models(Secret(MASTER)).status == 401
    assert world.tools.service.calls.count("swap") - swaps == 1
    assert done.old == Secret(MASTER).fingerprint()
    assert done.to_do
    told = str(world.journal.records())
    assert not any(value in told for value in (*before.values(), *after.values()))


def test_without_the_guard_the_restart_puts_the_master_key_in_force(tmp_path: Path) -> None:
    world = make(tmp_path, PLAIN + f"[secrets.{REDIS}]\n" + MORE)
    before = values(world)
    rotate(world.tools, world.using, names=(MASTER_KEY, REDIS))
    after = values(world)
    assert {name for name in after if after[name] != before[name]} == {MASTER_KEY, REDIS}
    assert world.redis.accepted == {after[REDIS]}
    assert world.gateway.models(Secret(after[MASTER_KEY])).status == 200
    assert not make_plan(world.tools)


@pytest.mark.parametrize(
    ("name", "restart", "swaps"),
    [(PROVIDER, False, 1), (REDIS, False, 1), (OTHER, False, 0), (OTHER, True, 1)],
)
def test_without_the_guard_only_what_the_gateway_reads_restarts_it_unless_asked(
    tmp_path: Path, name: str, restart: bool, swaps: int
) -> None:
    world = make(tmp_path, PLAIN + f"[secrets.{REDIS}]\n" + MORE)
    before = values(world)
    world.tools.service.calls.clear()
    done = rotate(world.tools, world.using, names=(name,), new=Secret(THIRD), restart=restart)
    after = values(world)
    assert {key for key in after if after[key] != before[key]} == {name}
    assert (world.tools.service.calls.count("swap"), done.restarted) == (swaps, swaps == 1)
    assert world.redis.accepted == {after[REDIS]}
    assert not make_plan(world.tools)


@pytest.mark.faults
@pytest.mark.parametrize("step", TO_PROOF[1::2], ids=lambda step: step.value)
def test_a_failure_at_any_step_takes_all_of_them_back(world: World, step: Step) -> None:
    before = values(world)
    world.journal.before = {step: raises(BOOM)}
    with pytest.raises(RotationUndoneError) as caught:
        turn(world)
    assert REDIS in caught.value.what
    assert values(world) == before
    assert settled(world)


@pytest.mark.faults
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.value)
def test_after_a_crash_they_are_all_new_or_all_old(world: World, step: Step, before: bool) -> None:
    old = values(world)
    kill(world, step, partial(turn, world), before=before)
    recover(world.tools, afresh(world))
    changed = {name for name, value in values(world).items() if value != old[name]}
    assert changed in (set(), set(ALL))
    assert settled(world)
    assert recover(world.tools, afresh(world)).outcome == "nothing"


def test_a_crash_between_two_stores_goes_back(tmp_path: Path) -> None:
    world = make_spread(tmp_path)
    old = values(world)
    kill(world, Step.SWITCHED, partial(turn, world))
    other = world.using.vaults.of(REDIS).other()
    assert other is not None
    world.using.vaults.of(REDIS).put(other, Secret(old[REDIS]))  # the first of them is promoted
    assert recover(world.tools, afresh(world)).outcome == "undone"
    assert values(world) == old
    assert settled(world)


def test_abort_takes_all_of_them_back_within_the_grace_time(world: World) -> None:
    old = values(world)
    done = rotate(world.tools, world.using, names=ALL, grace_s=60.0)
    assert done.retire_at is not None
    assert world.redis.accepted == {old[REDIS], held(world, REDIS)}
    waiting = recover(world.tools, afresh(world))
    assert waiting.outcome == "waiting"
    assert REDIS in waiting.in_force
    assert recover(world.tools, afresh(world), abort=True).outcome == "undone"
    assert values(world) == old
    assert settled(world)


def test_after_the_grace_time_the_old_ones_are_refused(world: World) -> None:
    rotate(world.tools, world.using, names=(REDIS,), grace_s=60.0)
    assert recover(world.tools, afresh(world)).outcome == "waiting"
    assert recover(world.tools, afresh(world), now=True).outcome == "finished"
    assert settled(world)


class TestProvider:
    @pytest.fixture
    def plain(self, tmp_path: Path) -> World:
        return make(tmp_path)

    def test_every_model_that_uses_it_is_asked_as_it_wants_to_be(self, plain: World) -> None:
        plain.gateway.asked.clear()
        turn(plain, PROVIDER, new="up-test-another")
        assert [word for word in plain.gateway.asked if word.startswith(("small", "stream"))] == [
            "small",
            "streamed streams",
        ]

    @pytest.mark.parametrize("answer", [Answer(401), Answer(200), Answer(None)])
    def test_a_key_that_one_of_them_does_not_answer_with_is_undone(
        self, plain: World, answer: Answer
    ) -> None:
        plain.gateway.answers["streamed streams"] = answer
        with pytest.raises(RotationUndoneError) as caught:
            turn(plain, PROVIDER, new="up-test-another")
        assert f"streamed does not answer with the new {PROVIDER}" in caught.value.why
        assert held(plain, PROVIDER) == VALUES[PROVIDER]
        assert settled(plain)

    def test_a_provider_that_is_down_after_the_proof_does_not_stop_recovery(
        self, plain: World
    ) -> None:
        kill(plain, Step.PROVEN, partial(turn, plain, PROVIDER, new="up-test-another"))
        plain.gateway.answers["small"] = Answer(500)
        assert recover(plain.tools, afresh(plain)).outcome == "finished"
        assert held(plain, PROVIDER) == "up-test-another"
        assert settled(plain)

    def test_a_provider_that_is_down_before_the_proof_takes_it_back(self, plain: World) -> None:
        kill(plain, Step.PROMOTED, partial(turn, plain, PROVIDER, new="up-test-another"))
        plain.gateway.answers["small"] = Answer(500)
        assert recover(plain.tools, afresh(plain)).outcome == "undone"
        assert held(plain, PROVIDER) == VALUES[PROVIDER]
        assert settled(plain)

    @pytest.mark.parametrize(
        ("new", "words"),
        [
            ("two words", "white space"),
            ("sk-test-€", "printable ASCII"),
            ("your-key-here", "placeholder"),
            (VALUES[PROVIDER], "is the old one"),
            (MASTER, f"is the value of {MASTER_KEY}"),
        ],
    )
    def test_a_slip_is_refused_before_anything_changes(
        self, plain: World, new: str, words: str
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            turn(plain, PROVIDER, new=new)
        assert words in str(caught.value)
        assert plain.steps == []

    def test_one_that_no_source_holds_is_not_rotated(self, tmp_path: Path) -> None:
        lab = LAB + f"[secrets.{REDIS}]\n" + MORE + "[secrets.ABSENT]\noptional = true\n"
        with pytest.raises(SecretNotFoundError):
            turn(make(tmp_path, lab), "ABSENT", new="anything")


class TestRedis:
    @pytest.fixture
    def plain(self, tmp_path: Path) -> World:
        return make(tmp_path)

    def test_both_passwords_open_it_until_the_proof(self, plain: World) -> None:
        seen: list[int] = []
        look: Callable[[], None] = lambda: seen.append(len(plain.redis.accepted))  # noqa: E731
        plain.journal.after = {Step.STAGED: look, Step.OVERLAPPING: look, Step.PROVEN: look}
        turn(plain, REDIS)
        assert seen == [1, 2, 2]

    def test_one_that_knows_a_single_password_takes_the_new_one(self, plain: World) -> None:
        plain.redis.one = True
        turn(plain, REDIS)
        assert settled(plain)

    def test_undoing_gives_such_a_one_its_old_password(self, plain: World) -> None:
        plain.redis.one = True
        plain.journal.before = {Step.PROMOTED: raises(BOOM)}
        with pytest.raises(RotationUndoneError):
            turn(plain, REDIS)
        assert plain.redis.accepted == {VALUES[REDIS]}
        assert settled(plain)

    def test_one_that_may_not_be_changed_is_told_before(self, plain: World) -> None:
        plain.redis.problem = "the test says so"
        with pytest.raises(LabError) as caught:
            turn(plain, REDIS)
        assert caught.value.why == "the test says so"
        assert plain.steps == []

    def test_a_gateway_that_does_not_reach_it_is_told_before(self, plain: World) -> None:
        plain.gateway.answers["cache"] = Answer(503)
        with pytest.raises(LabError) as caught:
            turn(plain, REDIS)
        assert "does not reach its Redis" in caught.value.what
        assert plain.steps == []

    def test_one_that_goes_away_needs_recovery_which_waits_for_it(self, plain: World) -> None:
        def vanish() -> None:
            plain.redis.broken = BOOM

        plain.journal.after = {Step.PROMOTED: vanish, Step.PROVEN: vanish}
        with pytest.raises(RecoveryNeededError):
            turn(plain, REDIS)
        with pytest.raises(RecoveryNeededError):
            recover(plain.tools, afresh(plain))
        plain.redis.broken = None
        recover(plain.tools, afresh(plain))
        assert settled(plain)


class TestEncryption:
    """LiteLLM has a database and no salt key.

    Attributes:
        seen: What each start of it was given to migrate from.
    """

    seen: list[str]

    @pytest.fixture
    def saltless(self, tmp_path: Path) -> World:
        made = make(tmp_path, LAB + f"[secrets.{REDIS}]\n" + MORE + SALTLESS, held=NO_SALT)
        start, self.seen = made.tools.service.on_start, []

        def look() -> None:
            env = made.path(names.GATEWAY_ENV).read_text()
            found = [line for line in env.splitlines() if line.startswith(MIGRATE_FROM)]
            self.seen.extend(found or ["plain"])
            start()

        made.tools.service.on_start = look
        made.tools.service.log = ["started", DONE_LINE]
        return made

    def re_encrypt(self, world: World) -> Rotated:
        names_ = (MASTER_KEY, INTERNAL_KEY)
        return rotate(world.tools, world.using, names=names_, re_encrypt=True)

    def test_a_changed_encryption_key_is_refused(self, saltless: World) -> None:
        for given in (ALL, (INTERNAL_KEY,)):
            with pytest.raises(ConfigError) as caught:
                turn(saltless, *given)
            assert "has a database and no" in caught.value.what
            assert "--re-encrypt" in caught.value.fix
            with pytest.raises(ConfigError):
                preview(saltless.tools, saltless.using, given)
        turn(saltless, REDIS)  # encrypts nothing

    def test_litellm_gets_the_old_key_for_one_start(self, saltless: World) -> None:
        assert preview(saltless.tools, saltless.using, ALL, re_encrypt=True).restarts
        self.re_encrypt(saltless)
        assert self.seen == [f"{MIGRATE_FROM}={INTERNAL}", "plain"]
        assert MIGRATE_FROM not in saltless.path(names.GATEWAY_ENV).read_text()
        assert held(saltless, INTERNAL_KEY) != INTERNAL
        assert saltless.journal.records()[0].reencrypts

    def test_what_it_could_not_encrypt_anew_is_undone_the_same_way(self, saltless: World) -> None:
        service = saltless.tools.service
        service.log.append("Re-encrypted 2, but 1 are still encrypted with the previous key")
        start = service.on_start

        def started() -> None:
            start()
            if len(self.seen) > 1:
                service.log = ["nothing in the database is left to migrate"]

        service.on_start = started
        with pytest.raises(RotationUndoneError) as caught:
            self.re_encrypt(saltless)
        assert "some changed meanwhile" in caught.value.why
        migrated, back, plain = self.seen
        assert migrated == f"{MIGRATE_FROM}={INTERNAL}"
        assert back.startswith(MIGRATE_FROM)
        assert INTERNAL not in back
        assert plain == "plain"
        assert held(saltless, INTERNAL_KEY) == INTERNAL

    @pytest.mark.faults
    @pytest.mark.parametrize("step", STEPS[2:], ids=lambda step: step.value)
    def test_after_a_crash_it_encrypts_for_the_key_in_force(
        self, saltless: World, step: Step
    ) -> None:
        kill(saltless, step, partial(self.re_encrypt, saltless))
        recover(saltless.tools, afresh(saltless))
        env = saltless.path(names.GATEWAY_ENV).read_text()
        assert MIGRATE_FROM not in env
        assert f"{INTERNAL_KEY}={held(saltless, INTERNAL_KEY)}" in env
        assert recover(saltless.tools, afresh(saltless)).outcome == "nothing"

    def test_where_there_is_nothing_to_encrypt_or_no_way_it_is_refused(
        self, saltless: World, tmp_path: Path
    ) -> None:
        saltless.tools.installer.reencrypts = False
        with pytest.raises(ConfigError) as caught:
            self.re_encrypt(saltless)
        assert "no way to do it" in caught.value.why
        with pytest.raises(ConfigError) as caught:
            rotate(saltless.tools, saltless.using, names=(REDIS,), re_encrypt=True)
        assert f"encrypts with {INTERNAL_KEY}" in caught.value.why
        assert saltless.steps == []

    def test_a_salt_key_or_no_database_leaves_nothing_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            self.re_encrypt(make(tmp_path))
        assert SALT_KEY in caught.value.why
        optional = f"[secrets.{SALT_KEY}]\noptional = true\n"
        (tmp_path / "other").mkdir()
        lab = LAB + f"[secrets.{REDIS}]\n" + MORE + optional
        world = make(tmp_path / "other", lab, held=NO_SALT)
        with pytest.raises(ConfigError) as caught:
            self.re_encrypt(world)
        assert "no database" in caught.value.why


def test_an_interrupt_names_what_is_in_force(world: World) -> None:
    world.journal.after = {Step.SWITCHED: raises(Interrupted(15))}
    with pytest.raises(Interrupted) as caught:
        turn(world)
    assert f"{REDIS} {Secret(VALUES[REDIS]).fingerprint()}" in caught.value.outcome
    assert settled(world)


def test_a_preview_names_files_models_and_the_restart(world: World) -> None:
    found = preview(world.tools, world.using, (PROVIDER,))
    assert found.secrets == {PROVIDER: Secret(VALUES[PROVIDER]).fingerprint()}
    assert found.models == ("small", "streamed")
    assert found.restarts
    assert Step.OVERLAPPING not in found.steps
    assert Step.OVERLAPPING in preview(world.tools, world.using, ALL).steps
    assert world.steps == []


def test_a_value_that_somebody_stored_meanwhile_stays(tmp_path: Path) -> None:
    world = make(tmp_path)
    kill(world, Step.SWITCHED, partial(turn, world, MASTER_KEY, INTERNAL_KEY))
    world.store.values[f"sops:{STORE}#{INTERNAL_KEY}"] = THIRD
    recover(world.tools, afresh(world))
    assert held(world, MASTER_KEY) == MASTER
    assert held(world, INTERNAL_KEY) == THIRD
    assert NEW not in str(world.journal.records())
    assert settled(world)


def empty_keyset(world: World) -> None:
    world.path(names.KEYSET).write_text('{"version": 1, "keys": []}')


def store_another_master_key(world: World) -> None:
    world.store.values[f"sops:{STORE}#{MASTER_KEY}"] = THIRD


@pytest.mark.parametrize("lose", [empty_keyset, store_another_master_key])
@pytest.mark.parametrize("step", [Step.BEGUN, Step.SWITCHED, Step.PROVEN])
def test_what_the_guard_lacks_of_other_keys_holds_no_recovery_up(
    tmp_path: Path, step: Step, lose: Callable[[World], None]
) -> None:
    """Else nothing would help: every command that could write the keyset recovers first."""
    world = make(tmp_path)
    kill(world, step, partial(turn, world, INTERNAL_KEY))
    lose(world)
    recover(world.tools, afresh(world))
    assert settled(world)


def test_a_keyset_that_is_emptied_in_the_last_moment_is_made_anew(tmp_path: Path) -> None:
    world = make(tmp_path)
    world.journal.after = {Step.PROVEN: partial(empty_keyset, world)}
    turn(world, INTERNAL_KEY)
    assert settled(world)


@pytest.mark.parametrize("step", [Step.PROVEN, Step.RETIRED])
def test_a_master_key_that_somebody_stores_in_the_last_moment_is_drift(
    tmp_path: Path, step: Step
) -> None:
    """Else the next plan would take the store for what the targets were made from."""
    world = make(tmp_path)
    world.journal.after = {step: partial(store_another_master_key, world)}
    turn(world, INTERNAL_KEY)
    assert make_plan(world.tools)
