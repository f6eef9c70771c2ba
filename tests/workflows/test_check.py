"""`check`: asks everything, however much of it fails, and changes nothing."""

from pathlib import Path

import pytest

from bootstrap.domain.errors import SecretError, ServiceError, StoreDamagedError
from bootstrap.domain.probes import Answer
from bootstrap.ports import Listener
from bootstrap.workflows.apply import apply
from bootstrap.workflows.check import Health, Reading, check, exit_code
from support.fakes import LAB, SILENT, FakeTools, make_tools, with_lab
from support.homes import snapshot

REDIS = LAB + '[secrets.REDIS_PASSWORD]\n[redis]\npassword = "REDIS_PASSWORD"\n'
OLLAMA = (
    LAB
    + '[backends.near]\nkind = "ollama"\n[backends.spare]\nkind = "vllm"\n'
    + '[[models]]\nalias = "qwen"\nbackend = "near"\n'
)
SALT_REF = "env:LITELLM_SALT_KEY"
MASTER_REF = "sops:secrets/global.enc.env#LITELLM_MASTER_KEY"


def applied(folder: Path, lab: str = LAB, secrets: dict[str, str] | None = None) -> FakeTools:
    tools = make_tools(folder, lab, secrets=secrets)
    apply(tools)
    return tools


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    return applied(tmp_path)


def about(readings: list[Reading], topic: str) -> Reading:
    found = [reading for reading in readings if topic in reading.topic]
    assert len(found) == 1, [r.topic for r in readings]
    return found[0]


def test_a_lab_that_is_well_gives_only_good_readings(tools: FakeTools, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    tools.service.calls.clear()
    readings = check(tools)
    assert {reading.health for reading in readings} == {Health.WELL}
    assert exit_code(readings) == 0
    assert all(not reading.fix for reading in readings)
    assert snapshot(tmp_path) == before
    assert tools.service.calls == []


def test_drift_alone_is_exit_code_3(tools: FakeTools) -> None:
    Path(tools.places.factory / "settings.json").unlink()
    readings = check(tools)
    assert about(readings, "settings.json").health is Health.DRIFT
    assert exit_code(readings) == 3


def test_what_was_edited_by_hand_needs_force(tools: FakeTools) -> None:
    Path(tools.places.litellm / "config.yaml").write_text("# mine\n")
    reading = about(check(tools), "config.yaml")
    assert reading.health is Health.DRIFT
    assert "--force" in reading.fix


def test_an_envrc_of_the_users_own_is_a_note(tools: FakeTools) -> None:
    Path(tools.lab.root / ".envrc").write_text("export MINE=1\n")
    readings = check(tools)
    assert about(readings, ".envrc").health is Health.NOTE
    assert exit_code(readings) == 0


def test_a_damaged_store_is_an_error_although_a_stale_variable_has_the_name(
    tools: FakeTools,
) -> None:
    tools.providers["sops"].broken[""] = StoreDamagedError("bad", why="cut off", fix="restore")
    tools.providers["env"].values["env:LITELLM_MASTER_KEY"] = "sk-test-stale-0123456789"
    readings = check(tools)
    assert about(readings, "secret LITELLM_MASTER_KEY").health is Health.UNWELL
    assert about(readings, "secret LITELLM_SALT_KEY").health is Health.UNWELL
    assert exit_code(readings) == 1


def test_a_source_that_disagrees_is_named_and_the_first_one_is_in_force(tools: FakeTools) -> None:
    tools.providers["env"].values["env:LITELLM_MASTER_KEY"] = "sk-test-stale-0123456789"
    readings = check(tools)
    reading = about(readings, "secret LITELLM_MASTER_KEY")
    assert reading.health is Health.NOTE
    assert "env:LITELLM_MASTER_KEY disagrees" in reading.detail
    assert exit_code(readings) == 0


def test_a_missing_secret_is_an_error_and_an_optional_one_a_note(tmp_path: Path) -> None:
    lab = (
        LAB
        + "[secrets.OPENAI_API_KEY]\noptional = true\n"
        + '[backends.far]\nkind = "openai"\nkey = "OPENAI_API_KEY"\n'
        + '[[models]]\nalias = "gpt"\nbackend = "far"\n'
    )
    tools = applied(tmp_path, lab)
    del tools.providers["sops"].values[MASTER_REF]
    readings = check(tools)
    assert about(readings, "secret OPENAI_API_KEY").health is Health.NOTE
    assert about(readings, "secret LITELLM_MASTER_KEY").health is Health.UNWELL


def test_a_service_that_does_not_run_is_an_error(tools: FakeTools) -> None:
    tools.service.stop()
    readings = check(tools)
    reading = about(readings, "service")
    assert (reading.health, reading.fix) == (Health.UNWELL, "keyturn apply")
    assert about(readings, "no key").detail == "connection refused"
    tools.service.installed = False
    assert about(check(tools), "service").fix == "keyturn bootstrap"


def test_a_manager_that_cannot_be_asked_does_not_hide_the_rest(tools: FakeTools) -> None:
    tools.service.failures["status"] = ServiceError("no bus", why="gone", fix="log in")
    readings = check(tools)
    assert about(readings, "service").detail == "no bus: gone"
    assert about(readings, "right key").health is Health.WELL


def test_a_stranger_on_the_port_is_an_error(tools: FakeTools) -> None:
    tools.ports.taken = Listener(4711, "impostor")
    assert "impostor" in about(check(tools), "service").detail


def test_a_service_that_tells_no_process_is_taken_at_its_word(tools: FakeTools) -> None:
    tools.service.script = [tools.service.status().__class__(True, None, "active")]
    assert about(check(tools), "service").health is Health.WELL


def test_a_program_that_is_gone_or_of_another_version_is_an_error(tools: FakeTools) -> None:
    tools.installer.present = False
    reading = about(check(tools), "program")
    assert reading.health is Health.UNWELL
    assert "1.106.2" in reading.detail


@pytest.mark.parametrize("asked", ["no key", "wrong key"])
def test_an_open_gateway_is_the_loudest_error(tools: FakeTools, asked: str) -> None:
    tools.gateway.answers[asked] = Answer(200, model_ids=("lab-echo",))
    reading = about(check(tools), f"gateway: {asked}")
    assert reading.health is Health.UNWELL
    assert "THE GATEWAY IS OPEN" in reading.detail


def test_an_answer_that_proves_nothing_is_an_error_and_the_rest_is_asked(tools: FakeTools) -> None:
    tools.gateway.answers["wrong key"] = Answer(502)
    readings = check(tools)
    assert about(readings, "wrong key").detail == "HTTP 502"
    assert about(readings, "right key").health is Health.WELL


def test_a_gateway_that_refuses_the_key_is_an_error(tools: FakeTools) -> None:
    tools.gateway.answers["right key"] = Answer(400, "no_db_connection")
    assert "not accepted, HTTP 400" in about(check(tools), "right key").detail


def test_a_model_that_is_not_served_is_an_error(tools: FakeTools) -> None:
    tools.gateway.answers["right key"] = Answer(200, model_ids=("other",))
    assert "does not serve lab-echo" in about(check(tools), "right key").detail


def test_a_silent_gateway_is_asked_once(tools: FakeTools) -> None:
    tools.gateway.answers["no key"] = SILENT
    readings = check(tools)
    assert [r.topic for r in readings if r.topic.startswith("gateway")] == ["gateway: no key"]


def test_deep_asks_for_a_completion(tools: FakeTools) -> None:
    assert about(check(tools, deep=True), "completion from lab-echo").health is Health.WELL
    tools.gateway.answers["complete"] = Answer(500)
    reading = about(check(tools, deep=True), "completion")
    assert (reading.health, reading.detail) == (Health.UNWELL, "HTTP 500")


def test_deep_asks_the_first_model_of_a_lab_without_an_echo(tmp_path: Path) -> None:
    tools = applied(tmp_path, "echo = false\n" + OLLAMA)
    assert about(check(tools, deep=True), "completion from qwen").health is Health.WELL


def test_deep_has_nothing_to_ask_in_a_lab_without_models(tmp_path: Path) -> None:
    tools = applied(tmp_path, "echo = false\n" + LAB)
    assert about(check(tools, deep=True), "completion").health is Health.NOTE


def test_backends_in_use_are_asked_and_others_are_not(tmp_path: Path) -> None:
    tools = applied(tmp_path, OLLAMA)
    assert about(check(tools), "backend near").health is Health.WELL
    tools.gateway.answers["http://127.0.0.1:11434"] = SILENT
    readings = check(tools)
    assert "start ollama" in about(readings, "backend near").fix
    assert not [r for r in readings if "spare" in r.topic]


def test_redis_is_asked_with_its_password_and_then_through_the_gateway(tmp_path: Path) -> None:
    held = {
        name: f"sk-test-{name}-0123456789"
        for name in ("LITELLM_MASTER_KEY", "LITELLM_SALT_KEY", "REDIS_PASSWORD")
    }
    tools = applied(tmp_path, REDIS, held)
    assert about(check(tools), "redis").health is Health.WELL
    assert tools.ping_redis.asked == [("127.0.0.1", 6379, True)]
    tools.gateway.answers["cache"] = Answer(503)
    assert "does not reach it" in about(check(tools), "redis").detail
    tools.ping_redis.problem = "wrong password"
    assert about(check(tools), "redis").detail == "wrong password"


def test_redis_without_a_password_is_asked_without_one(tmp_path: Path) -> None:
    tools = applied(tmp_path, LAB + "[redis]\nport = 6400\n")
    check(tools)
    assert tools.ping_redis.asked == [("127.0.0.1", 6400, False)]


def test_a_lab_that_cannot_be_rendered_does_not_hide_the_gateway(tools: FakeTools) -> None:
    changed = with_lab(tools, LAB + 'host = "127.0.0.2"\n')
    tools.providers["sops"].broken[MASTER_REF] = SecretError("no", why="broken", fix="mend")
    readings = check(changed)
    assert about(readings, "files").health is Health.UNWELL
    assert about(readings, "no key").health is Health.WELL
