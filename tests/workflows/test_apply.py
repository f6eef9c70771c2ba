"""`apply`: files as one unit, then the gateway once, then proof."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.domain.errors import (
    ConflictError,
    GatewayError,
    KeptError,
    OpenGatewayError,
    SecretNotFoundError,
    ServiceError,
)
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import INTERNAL_KEY
from bootstrap.ports import Listener
from bootstrap.workflows.apply import apply
from bootstrap.workflows.planning import make_plan
from support.fakes import LAB, MASTER, SILENT, FakeProgress, FakeTools, make_tools, with_lab
from support.homes import snapshot

MORE = '[[models]]\nalias = "more"\nbackend = "echo"\n'


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return make_tools(tmp_path)


def written_again(tools: FakeTools) -> FakeTools:
    """Return the same world for a second command: nothing was asked yet."""
    tools.service.calls.clear()
    tools.progress.steps.clear()
    return tools


def test_the_first_apply_writes_starts_and_proves(tools: FakeTools) -> None:
    done = apply(tools)
    assert done.proven
    assert done.models == ("lab-echo",)
    assert done.backups == ()
    assert tools.service.calls.count("start") == 1
    assert MASTER in Path(tools.places.env_file).read_text()


def test_a_second_apply_writes_nothing_and_restarts_nothing(
    tools: FakeTools, tmp_path: Path
) -> None:
    apply(tools)
    before, saves = snapshot(tmp_path), tools.state.values
    again = apply(written_again(tools))
    assert not again.plan
    assert again.proven
    assert tools.service.calls == []
    assert snapshot(tmp_path) == before
    assert tools.state.values == saves


@pytest.mark.parametrize("start", [True, False], ids=["start", "files only"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "nothing to do"])
def test_what_somebody_stores_once_the_plan_is_made_is_left_to_the_next_apply(
    tools: FakeTools, first: bool, start: bool
) -> None:
    class Meanwhile(FakeProgress):
        @contextmanager
        def step(self, text: str) -> Iterator[None]:
            yield
            if text == "compare":
                store.write(ref, Secret("sk-test-stored-meanwhile"))

    store, ref = tools.providers["sops"], tools.lab.secrets[INTERNAL_KEY].sources[0]
    if not first:
        apply(tools, start=start)
    apply(replace(tools, progress=Meanwhile()), start=start)
    assert "meanwhile" not in Path(tools.places.gateway_env).read_text()
    assert make_plan(tools, running=start)
    apply(tools, start=start)
    assert "sk-test-stored-meanwhile" in Path(tools.places.gateway_env).read_text()
    assert not make_plan(tools, running=start)


def test_a_change_of_the_lab_restarts_once(tools: FakeTools) -> None:
    apply(tools)
    changed = with_lab(tools, LAB + MORE)
    done = apply(written_again(changed))
    assert done.plan.gateway
    assert tools.service.calls.count("swap") == 1
    assert "start" not in tools.service.calls


def test_a_change_for_clients_alone_restarts_nothing(tools: FakeTools) -> None:
    apply(tools)
    Path(tools.places.factory / "settings.json").unlink()
    done = apply(written_again(tools))
    assert [c.target.name for c in done.plan.changes] == ["droid-settings"]
    assert tools.service.calls == []


def test_no_start_writes_files_and_asks_the_gateway_nothing(tools: FakeTools) -> None:
    done = apply(tools, start=False)
    assert Path(tools.places.env_file).is_file()
    assert not done.proven
    assert tools.gateway.asked == []
    assert tools.service.calls == ["reset"]  # systemd must know the new unit


def test_no_start_leaves_systemd_alone_where_its_files_are_as_they_were(tools: FakeTools) -> None:
    apply(tools, start=False)
    Path(tools.places.factory / "settings.json").unlink()
    apply(written_again(tools), start=False)
    assert tools.service.calls == []


def test_files_written_without_a_start_restart_the_gateway_later(tools: FakeTools) -> None:
    apply(tools)
    changed = with_lab(tools, LAB + MORE)
    apply(changed, start=False)
    done = apply(written_again(changed))
    assert done.plan.gateway == "it runs with older files"
    assert tools.service.calls.count("swap") == 1


def test_a_hand_edited_file_stops_it_before_anything_is_changed(
    tools: FakeTools, tmp_path: Path
) -> None:
    apply(tools)
    config = Path(tools.places.litellm / "config.yaml")
    config.write_text("# mine\n")
    Path(tools.places.factory / "settings.json").unlink()
    before = snapshot(tmp_path)
    with pytest.raises(ConflictError) as caught:
        apply(written_again(tools))
    assert str(config) in caught.value.why
    assert "--force" in caught.value.fix
    assert snapshot(tmp_path) == before
    assert tools.service.calls == []


def test_force_replaces_it_and_keeps_a_backup(tools: FakeTools) -> None:
    apply(tools)
    config = Path(tools.places.litellm / "config.yaml")
    config.write_text("# mine\n")
    done = apply(written_again(tools), force=True)
    ((original, copy),) = [pair for pair in done.backups if pair[0] == config]
    assert original == config
    assert Path(copy).read_text() == "# mine\n"
    assert "model_list" in config.read_text()
    assert tools.service.calls.count("swap") == 1


def test_a_port_that_another_program_holds_is_noticed_before_anything_is_written(
    tools: FakeTools, tmp_path: Path
) -> None:
    tools.ports.taken = Listener(4711, "python3")
    before = snapshot(tmp_path)
    with pytest.raises(GatewayError) as caught:
        apply(tools)
    assert "python3 (pid 4711)" in caught.value.why
    assert snapshot(tmp_path) == before
    assert tools.state.values == {}


def test_a_running_gateway_does_not_move_to_a_port_that_is_taken(
    tools: FakeTools, tmp_path: Path
) -> None:
    apply(tools)
    moved = with_lab(tools, LAB.replace("4123", "4124"))
    moved.ports.taken = Listener(None, "")
    before = snapshot(tmp_path / "home")
    with pytest.raises(GatewayError) as caught:
        apply(written_again(moved))
    assert "another user's program" in caught.value.why
    assert snapshot(tmp_path / "home") == before


def test_a_gateway_that_serves_without_a_key_is_an_error_however_well_it_runs(
    tools: FakeTools,
) -> None:
    tools.gateway.answers["no key"] = Answer(200, model_ids=("lab-echo",))
    with pytest.raises(OpenGatewayError, match="OPEN"):
        apply(tools)
    assert "gateway" not in tools.state.values


def test_after_a_failed_start_the_next_apply_restarts_although_no_file_changed(
    tools: FakeTools,
) -> None:
    tools.gateway.answers["right key"] = Answer(400, "no_db_connection")
    with pytest.raises(GatewayError, match="does not accept"):
        apply(tools)
    tools.gateway.answers.clear()
    done = apply(written_again(tools))
    assert done.plan.writes == ()
    assert tools.service.calls.count("swap") == 1
    assert done.proven


def test_another_program_that_answers_on_the_port_is_not_taken_for_the_gateway(
    tools: FakeTools,
) -> None:
    apply(tools)
    tools.ports.taken = Listener(4711, "impostor")
    with pytest.raises(GatewayError, match="not the gateway"):
        apply(written_again(tools))


def test_a_service_that_tells_no_process_is_proven_by_its_answers(tools: FakeTools) -> None:
    apply(tools)
    tools.service.on_stop = lambda: None
    running = replace(tools.service.status(), pid=None)
    tools.service.script = [running] * 4
    assert apply(written_again(tools)).proven


def test_a_missing_program_is_installed_before_anything_is_written(
    tools: FakeTools, tmp_path: Path
) -> None:
    tools.installer.present = False
    tools.installer.failure = ServiceError("no network", why="it is down", fix="wait")
    before = snapshot(tmp_path)
    with pytest.raises(ServiceError, match="no network"):
        apply(tools)
    assert snapshot(tmp_path) == before
    tools.installer.failure = None
    done = apply(written_again(tools))
    assert (done.installed, done.proven) == (True, True)


def test_another_version_restarts_the_gateway_although_no_file_changed(tools: FakeTools) -> None:
    apply(tools)
    tools.installer.present = False
    done = apply(written_again(tools))
    assert done.plan.writes == ()
    assert tools.service.calls.count("swap") == 1
    assert done.installed


def test_nothing_is_installed_where_nothing_is_to_be_started(tools: FakeTools) -> None:
    tools.installer.present = False
    assert not apply(tools, start=False).installed
    assert tools.installer.installs == 0


def test_a_missing_secret_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    tools = make_tools(tmp_path, secrets={})
    before = snapshot(tmp_path)
    with pytest.raises(SecretNotFoundError):
        apply(tools)
    assert snapshot(tmp_path) == before


def test_a_gateway_that_somebody_started_a_moment_ago_is_waited_for(tools: FakeTools) -> None:
    apply(tools)
    tools.gateway.answers["alive"] = SILENT

    def comes_up() -> None:
        tools.gateway.answers.pop("alive", None)

    tools.clock.on_sleep = comes_up
    done = apply(tools)
    assert done.proven
    assert not done.plan


class TestNewFilesThatTheGatewayDoesNotStartWith:
    @pytest.fixture
    def changed(self, tools: FakeTools, tmp_path: Path) -> FakeTools:
        """A running lab, whose lab.toml was edited since."""
        apply(tools)
        changed = written_again(with_lab(tools, LAB + MORE))
        failure = KeptError("a fresh one does not start", why="status 3", fix="see its log")
        changed.service.failures["swap"] = failure
        return changed

    def test_every_file_is_put_back(self, changed: FakeTools, tmp_path: Path) -> None:
        home, state = snapshot(tmp_path / "home"), changed.state.values
        with pytest.raises(KeptError) as caught:
            apply(changed)
        assert "the gateway goes on as it was, and every file is as before" in caught.value.why
        assert snapshot(tmp_path / "home") == home
        assert changed.state.values == state
        assert changed.service.calls[-1] == "reset"

    def test_the_next_try_does_it_all(self, changed: FakeTools) -> None:
        with pytest.raises(KeptError):
            apply(changed)
        changed.service.failures.clear()
        done = apply(changed)
        assert done.proven
        assert "more" in done.models

    def test_a_file_that_somebody_writes_meanwhile_keeps_the_new_ones_in_place(
        self, changed: FakeTools, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def swap(_: object) -> None:
            Path(changed.places.litellm / "config.yaml").write_text("# mine\n")
            raise KeptError("a fresh one does not start", why="status 3", fix="see its log")

        monkeypatch.setattr(changed.service, "swap", swap)
        with pytest.raises(KeptError, match="the new files stay in place") as caught:
            apply(changed)
        assert "config.yaml" in caught.value.why
