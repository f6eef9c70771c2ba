"""A rotation ends all new or all old, whatever fails and whenever it is interrupted."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.domain import targets as names
from bootstrap.domain.content import Content
from bootstrap.domain.errors import (
    ConflictError,
    Interrupted,
    LabError,
    ProviderUnavailableError,
    RecoveryNeededError,
    RotationUndoneError,
)
from bootstrap.domain.probes import Answer
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.template import render
from bootstrap.domain.uses import USES_FILE
from bootstrap.workflows import planning
from bootstrap.workflows.check import Health, check
from bootstrap.workflows.recover import recover
from bootstrap.workflows.rotate import Rotated, rotate
from bootstrap.workflows.rotation_preview import preview
from support.fakes import LAB, MASTER
from support.rotation_fakes import BOOM, NEW, PLAIN, World, afresh, make_world, raises

pytestmark = pytest.mark.integration

TO_PROOF = (
    Step.BEGUN,
    Step.CREATED,
    Step.STAGED,
    Step.OVERLAPPING,
    Step.SWITCHED,
    Step.PROMOTED,
    Step.PROVEN,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def turn(world: World) -> Rotated:
    return rotate(world.tools, world.using, new=Secret(NEW))


def test_the_new_key_alone_is_in_force_afterwards(world: World) -> None:
    done = turn(world)
    assert world.in_force(NEW, MASTER)
    assert (done.old, done.new) == (Secret(MASTER).fingerprint(), Secret(NEW).fingerprint())
    assert done.retire_at is None
    assert done.files == (names.KEYSET, names.ENV_FILE, names.DROID_SETTINGS)


def test_the_journal_tells_every_step_and_no_value(world: World) -> None:
    turn(world)
    assert world.steps == [step.value for step in (*TO_PROOF, Step.RETIRED, Step.CLOSED)]
    told = str(world.journal.records())
    assert NEW not in told
    assert MASTER not in told


def test_nothing_restarts_under_the_guard(world: World) -> None:
    before = list(world.tools.service.calls)
    turn(world)
    assert world.tools.service.calls == before


def test_a_key_is_made_where_none_is_given(world: World) -> None:
    done = rotate(world.tools, world.using)
    assert world.stored() in world.tools.new_key.made
    assert done.new == Secret(str(world.stored())).fingerprint()


def test_both_keys_are_accepted_from_the_overlap_until_the_proof(world: World) -> None:
    seen: dict[Step, list[bool]] = {}

    def look(step: Step) -> Callable[[], None]:
        def ask() -> None:
            keys = (Secret(MASTER), Secret(NEW))
            seen[step] = [world.gateway.models(key).status == 200 for key in keys]

        return ask

    world.journal.after = {step: look(step) for step in (*TO_PROOF, Step.RETIRED)}
    turn(world)
    assert [seen[step] for step in TO_PROOF[:3]] == [[True, False]] * 3
    assert [seen[step] for step in TO_PROOF[3:]] == [[True, True]] * 4
    assert seen[Step.RETIRED] == [False, True]


@pytest.mark.faults
@pytest.mark.parametrize("step", TO_PROOF[1:], ids=lambda step: step.value)
def test_a_failure_at_any_step_up_to_the_proof_is_undone(world: World, step: Step) -> None:
    world.journal.before = {step: raises(BOOM)}
    with pytest.raises(RotationUndoneError) as caught:
        turn(world)
    assert caught.value.exit_code == 5
    assert BOOM.why in caught.value.why
    assert world.in_force(MASTER, NEW)
    assert world.steps[-1] == "undone"


@pytest.mark.faults
@pytest.mark.parametrize("step", TO_PROOF, ids=lambda step: step.value)
def test_an_interrupt_undoes_says_so_and_still_interrupts(world: World, step: Step) -> None:
    world.journal.after = {step: raises(Interrupted(15))}
    with pytest.raises(Interrupted) as caught:
        turn(world)
    assert caught.value.signal_number == 15
    assert "undone" in caught.value.outcome
    assert world.in_force(MASTER, NEW)


@pytest.mark.faults
@pytest.mark.parametrize("step", TO_PROOF, ids=lambda step: step.value)
def test_a_clock_that_jumps_back_an_hour_at_any_step_changes_nothing(
    world: World, step: Step
) -> None:
    def jump() -> None:
        world.clock.epoch -= 3600

    world.journal.after = {step: jump}
    turn(world)
    assert world.in_force(NEW, MASTER)
    assert world.steps[-1] == "closed"


def test_a_grace_time_is_whole_though_the_clock_was_set_back(world: World) -> None:
    ahead = int(world.clock.now()) + 3600
    uses = {"version": 1, "keys": {"0a1b2c3d": {"last_seen": ahead}, "x": {"last_seen": 10**15}}}
    (Path(world.tools.places.litellm) / USES_FILE).write_text(json.dumps(uses))
    done = rotate(world.tools, world.using, new=Secret(NEW), grace_s=600)
    assert done.retire_at == ahead + 600


def test_a_file_of_uses_that_is_none_is_no_obstacle(world: World) -> None:
    (Path(world.tools.places.litellm) / USES_FILE).mkdir()
    done = rotate(world.tools, world.using, new=Secret(NEW), grace_s=600)
    assert done.retire_at == world.clock.now() + 600


def test_a_foreign_exception_is_undone_too_and_quoted_by_type_only(world: World) -> None:
    world.journal.after = {Step.SWITCHED: raises(RuntimeError(NEW))}
    with pytest.raises(RotationUndoneError) as caught:
        turn(world)
    assert caught.value.why == "RuntimeError"
    assert world.in_force(MASTER, NEW)


def test_where_the_journal_cannot_be_begun_nothing_is_changed(world: World) -> None:
    world.journal.before = {Step.BEGUN: raises(BOOM)}
    with pytest.raises(LabError) as caught:
        turn(world)
    assert caught.value is BOOM
    assert world.in_force(MASTER, NEW)
    assert world.store.puts == []


def test_a_signal_while_undoing_does_not_stop_it(world: World) -> None:
    world.journal.before = {Step.PROMOTED: raises(BOOM), Step.UNDONE: raises(Interrupted(2))}
    with pytest.raises(RotationUndoneError):
        turn(world)
    assert world.in_force(MASTER, NEW)


def test_a_signal_after_the_proof_finishes_first(world: World) -> None:
    world.journal.before = {Step.RETIRED: raises(Interrupted(2))}
    with pytest.raises(Interrupted) as caught:
        turn(world)
    assert "complete" in caught.value.outcome
    assert world.in_force(NEW, MASTER)
    assert world.steps[-1] == "closed"


def test_when_undoing_fails_too_the_journal_stays_open_for_recovery(world: World) -> None:
    world.journal.before = {Step.PROMOTED: raises(BOOM), Step.UNDONE: raises(BOOM)}
    with pytest.raises(RecoveryNeededError) as caught:
        turn(world)
    assert caught.value.exit_code == 6
    assert "after: switched" in caught.value.what
    assert recover(world.tools, afresh(world)).outcome == "undone"
    assert world.in_force(MASTER, NEW)


@pytest.mark.parametrize("step", [Step.RETIRED, Step.CLOSED], ids=lambda step: step.value)
def test_a_failure_after_the_proof_leaves_the_rest_to_recover(world: World, step: Step) -> None:
    world.journal.before = {step: raises(BOOM)}
    with pytest.raises(RecoveryNeededError) as caught:
        turn(world)
    assert "is in force and proven" in caught.value.what
    assert recover(world.tools, afresh(world)).outcome == "finished"
    assert world.in_force(NEW, MASTER)


def test_a_new_key_that_the_gateway_refuses_is_undone(world: World) -> None:
    world.gateway.refuses = {NEW}
    with pytest.raises(RotationUndoneError) as caught:
        turn(world)
    assert "does not accept" in caught.value.why
    assert world.in_force(MASTER, NEW)


def test_a_new_key_that_gets_no_answer_is_undone(world: World) -> None:
    world.gateway.answers["complete"] = Answer(500)
    with pytest.raises(RotationUndoneError) as caught:
        turn(world)
    assert "does not answer with the new key" in caught.value.why
    assert world.in_force(MASTER, NEW)


def test_a_lab_without_the_echo_model_is_proven_by_its_model_list(world: World) -> None:
    world.gateway.model_ids = ("some-model",)
    world.gateway.answers["complete"] = Answer(500)
    turn(world)
    assert world.in_force(NEW, MASTER)


def test_a_gateway_that_dies_in_the_middle_is_started_again(world: World) -> None:
    world.journal.after = {Step.OVERLAPPING: world.tools.service.stop}
    turn(world)
    assert world.in_force(NEW, MASTER)


def test_a_service_that_refuses_to_come_back_needs_recovery(world: World) -> None:
    service = world.tools.service

    def die() -> None:
        service.stop()
        service.failures["start"] = BOOM

    world.journal.after = {Step.OVERLAPPING: die}
    with pytest.raises(RecoveryNeededError):
        turn(world)
    with pytest.raises(RecoveryNeededError):
        recover(world.tools, afresh(world))
    service.failures.clear()
    assert recover(world.tools, afresh(world)).outcome == "undone"
    assert world.in_force(MASTER, NEW)


@pytest.mark.parametrize("text", [None, '{"version": 1, "keys": []}', "no JSON"])
def test_a_keyset_that_is_lost_in_the_middle_is_written_anew(
    world: World, text: str | None
) -> None:
    def lose() -> None:
        keyset = world.path(names.KEYSET)
        if text is None:
            keyset.unlink()
        else:
            keyset.write_text(text)

    world.journal.after = {Step.OVERLAPPING: lose}
    world.gateway.refuses = {"-"}
    with pytest.raises(RotationUndoneError):
        turn(world)
    assert world.in_force(MASTER, NEW)


def test_what_droid_writes_into_its_settings_meanwhile_is_kept(world: World) -> None:
    settings = world.path(names.DROID_SETTINGS)

    def edit(mark: str) -> Callable[[], None]:
        def write() -> None:
            text = settings.read_text()
            settings.write_text(text.replace("{", f'{{"{mark}": 1,', 1))

        return write

    world.journal.after = {step: edit(step.value) for step in TO_PROOF[2:6]}
    turn(world)
    assert world.in_force(NEW, MASTER)
    assert all(f'"{step.value}": 1' in settings.read_text() for step in TO_PROOF[2:6])


def test_a_lab_whose_files_are_another_labs_is_told_a_way_that_works(world: World) -> None:
    row = {"path": str(world.path(names.ENV_FILE)), "claim": 99}
    theirs = {"/their lab": {"targets": {"env-file": row}}}
    world.tools = replace(world.tools, other_labs=lambda: theirs)
    with pytest.raises(ConflictError, match="some files are another lab's") as refused:
        turn(world)
    assert "go on with that one: --lab '/their lab'" in refused.value.fix
    assert f"keyturn --lab {world.tools.lab.root} apply --force" in refused.value.fix
    readings = check(world.tools)
    assert [r.fix for r in readings if r.health is Health.DRIFT] == [refused.value.fix]


@pytest.mark.parametrize("step", [Step.CREATED, Step.SWITCHED, Step.PROMOTED])
def test_settings_that_are_just_being_written_are_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch, step: Step
) -> None:
    settings, clock = world.path(names.DROID_SETTINGS), world.tools.clock

    def begin_to_write() -> None:
        text = settings.read_text()
        settings.write_text("")

        def finish(seconds: float) -> None:
            settings.write_text(text)
            monkeypatch.undo()
            clock.sleep(seconds)

        monkeypatch.setattr(clock, "sleep", finish)

    world.journal.after = {step: begin_to_write}
    turn(world)
    assert world.in_force(NEW, MASTER)


def test_a_file_edited_by_hand_meanwhile_is_not_overwritten(world: World) -> None:
    env_file = world.path(names.ENV_FILE)

    def edit() -> None:
        env_file.write_text(env_file.read_text() + "MINE=1\n")

    world.journal.after = {Step.OVERLAPPING: edit}
    with pytest.raises(RecoveryNeededError) as caught:
        turn(world)
    assert "edited by hand" in caught.value.why
    assert "MINE=1" in env_file.read_text()
    env_file.rename(env_file.with_name("mine"))
    assert recover(world.tools, afresh(world)).outcome == "undone"
    assert world.in_force(MASTER, NEW)


def test_a_target_that_is_read_only_is_undone(world: World) -> None:
    world.path(names.DROID_SETTINGS).chmod(0o400)
    with pytest.raises(RotationUndoneError) as caught:
        turn(world)
    assert "read-only" in caught.value.why
    world.path(names.DROID_SETTINGS).chmod(0o600)
    assert world.in_force(MASTER, NEW)


class TestMasterKey:
    """`auth = "master-key"`: LiteLLM's own check, so the gateway restarts."""

    @pytest.fixture
    def plain(self, tmp_path: Path) -> World:
        return make_world(tmp_path, PLAIN)

    def test_the_gateway_restarts_once(self, plain: World) -> None:
        plain.tools.service.calls.clear()
        turn(plain)
        assert plain.tools.service.calls.count("swap") == 1
        assert plain.in_force(NEW, MASTER)
        assert "overlapping" not in plain.steps

    def test_undoing_restarts_it_with_the_old_key(self, plain: World) -> None:
        plain.journal.before = {Step.PROMOTED: raises(BOOM)}
        with pytest.raises(RotationUndoneError):
            turn(plain)
        assert plain.in_force(MASTER, NEW)

    def test_a_crash_between_the_old_files_and_the_restart_is_noticed(self, plain: World) -> None:
        def fail_to_restart() -> None:
            plain.tools.service.failures["swap"] = BOOM
            raise BOOM

        plain.journal.before = {Step.SWITCHED: fail_to_restart}
        with pytest.raises(RecoveryNeededError):
            turn(plain)
        assert plain.gateway.models(Secret(NEW)).status == 200
        plain.tools.service.failures.clear()
        assert recover(plain.tools, afresh(plain)).outcome == "undone"
        assert plain.in_force(MASTER, NEW)


class TestPreview:
    def test_it_shows_the_protocol_and_the_files_and_changes_nothing(self, world: World) -> None:
        found = preview(world.tools, world.using)
        assert found.old == Secret(MASTER).fingerprint()
        assert found.steps == (*TO_PROOF, Step.RETIRED, Step.CLOSED)
        assert set(found.words) >= set(found.steps)
        files = {"keyturn-keyset.json", "litellm.env", "settings.json"}
        assert {path.name for path in found.targets} == files
        assert not found.restarts
        assert world.steps == []
        assert world.in_force(MASTER, NEW)

    def test_without_the_guard_there_is_a_restart_and_no_overlap(self, tmp_path: Path) -> None:
        plain = make_world(tmp_path, PLAIN)
        found = preview(plain.tools, plain.using)
        assert Step.OVERLAPPING not in found.steps
        assert "then the other targets" in found.words[Step.SWITCHED]
        assert found.restarts


class TestCopies:
    def test_a_copy_in_a_keyring_follows(self, tmp_path: Path) -> None:
        world = make_world(tmp_path, keyring={MASTER_KEY: MASTER})
        turn(world)
        assert world.in_force(NEW, MASTER)
        assert world.keyring.values == {f"keyring:keyturn#{MASTER_KEY}": NEW}

    def test_a_keyring_that_locks_in_the_middle_is_not_forgotten(self, tmp_path: Path) -> None:
        world = make_world(tmp_path, LAB, keyring={MASTER_KEY: MASTER})
        locked = ProviderUnavailableError("locked", why="the keyring is locked", fix="unlock it")
        world.journal.after = {Step.STAGED: lambda: world.keyring.broken.update({"": locked})}
        with pytest.raises(RecoveryNeededError, match="half done") as caught:
            turn(world)
        assert "locked" in caught.value.why
        with pytest.raises(RecoveryNeededError):
            recover(world.tools, afresh(world))
        world.keyring.broken.clear()
        assert recover(world.tools, afresh(world)).outcome == "undone"
        assert world.in_force(MASTER, NEW)
        assert world.keyring.values == {f"keyring:keyturn#{MASTER_KEY}": MASTER}


class TestFilesOfOnesOwn:
    LAB = LAB + '[[files]]\npath = "~/.config/tool/tool.env"\ntemplate = "tool.env.j2"\n'

    @pytest.fixture
    def own(self, tmp_path: Path) -> World:
        template = tmp_path / "lab" / "templates" / "tool.env.j2"
        template.parent.mkdir(parents=True)
        template.parent.parent.chmod(0o700)
        template.write_text("TOOL_KEY={{ secrets.LITELLM_MASTER_KEY | dotenv }}\n")
        return make_world(tmp_path, self.LAB)

    def tool(self, world: World) -> Path:
        return Path(world.tools.places.config) / "tool" / "tool.env"

    def test_they_get_the_new_key_with_the_others(self, own: World) -> None:
        assert self.tool(own).read_text() == f"TOOL_KEY={MASTER}\n"
        done = turn(own)
        assert self.tool(own).read_text() == f"TOOL_KEY={NEW}\n"
        assert self.tool(own).stat().st_mode & 0o777 == 0o600
        assert "~/.config/tool/tool.env" in done.files
        assert own.in_force(NEW, MASTER)

    def test_they_go_back_with_the_others(self, own: World) -> None:
        own.journal.before = {Step.PROMOTED: raises(BOOM)}
        with pytest.raises(RotationUndoneError):
            turn(own)
        assert self.tool(own).read_text() == f"TOOL_KEY={MASTER}\n"


def test_each_target_is_rendered_once_for_each_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []

    def count(source: str, values: Mapping[str, object], *, name: str) -> Content:
        rendered.append(name)
        return render(source, values, name=name)

    monkeypatch.setattr(planning, "render", count)
    turn(world)
    assert rendered
    assert max(rendered.count(name) for name in rendered) <= 2
