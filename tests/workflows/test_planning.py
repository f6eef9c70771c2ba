"""What `apply` would do: rendered, compared, and without a decryption where nothing changed."""

import errno
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import machine
from bootstrap.adapters.machine import TemplateFolder
from bootstrap.domain import targets as names
from bootstrap.domain.errors import ConfigError, SecretNotFoundError
from bootstrap.domain.plan import Action, Plan
from bootstrap.domain.secret_spec import GENERATED, MASTER_KEY, SALT_KEY, STORE
from bootstrap.domain.targets import targets
from bootstrap.workflows.apply import apply
from bootstrap.workflows.planning import inputs_digest, make_plan
from support.fakes import INTERNAL, MASTER, SALT, FakeTools, make_tools, with_lab

MODELS = """
version = 1
[gateway]
port = 4123
[secrets.OPENAI_API_KEY]
optional = true
[backends.openai]
kind = "openai"
key = "OPENAI_API_KEY"
[[models]]
alias = "big"
backend = "openai"
upstream = "gpt-4o"
fallbacks = ["lab-echo"]
[profiles]
small = ["lab-echo"]
"""
PROVIDER_KEY = "sk-test-provider-0123456789abcdef01234567"


@pytest.fixture
def tools(tmp_path: Path) -> FakeTools:
    """A lab with the echo model only."""
    return make_tools(tmp_path)


def applied(tools: FakeTools) -> FakeTools:
    """Return the tools after an apply, with the reads forgotten."""
    apply(tools)
    for provider in tools.providers.values():
        provider.reads.clear()
    return tools


def actions(plan: Plan) -> dict[str, Action]:
    """Return what happens, by target."""
    return {change.target.name: change.action for change in plan.changes}


def text_of(tools: FakeTools, name: str) -> str:
    """Return the file of a target."""
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    path = next(target.path for target in wanted if target.name == name)
    return Path(path).read_text()


@pytest.mark.parametrize("auth", ["guard", "master-key"])
def test_the_database_of_the_lab_reaches_the_gateway(tmp_path: Path, auth: str) -> None:
    lab = f'[gateway]\nauth = "{auth}"\n[secrets.DATABASE_URL]\n'
    url = "postgresql://lab@db.example/litellm"
    tools = make_tools(
        tmp_path, lab, secrets={MASTER_KEY: MASTER, SALT_KEY: SALT, "DATABASE_URL": url}
    )
    apply(tools)
    name = names.GATEWAY_ENV if auth == "guard" else names.ENV_FILE
    assert f"DATABASE_URL='{url}'\n" in text_of(tools, name)


def digest(tools: FakeTools) -> str:
    """Return the digest of the inputs."""
    return inputs_digest(tools, targets(tools.lab, tools.places, tools.service.kind))


class TestFirstPlan:
    def test_everything_is_created_and_nothing_touched(
        self, tools: FakeTools, tmp_path: Path
    ) -> None:
        before = sorted(tmp_path.rglob("*"))
        plan = make_plan(tools)
        assert set(actions(plan).values()) == {Action.CREATE}
        assert {names.CONFIG, names.ENV_FILE, names.UNIT, names.DROID_SETTINGS} <= set(
            actions(plan)
        )
        assert plan.starts
        assert plan.reload
        assert plan.fresh
        assert "changed" in plan.gateway
        assert sorted(tmp_path.rglob("*")) == before
        assert tools.service.calls == []
        assert tools.state.saves == 0

    def test_a_plan_can_be_printed_without_showing_a_key(self, tools: FakeTools) -> None:
        assert MASTER not in repr(make_plan(tools))

    def test_each_secret_is_read_once(self, tools: FakeTools) -> None:
        make_plan(tools)
        assert tools.reads == [f"sops:{STORE}#{name}" for name in GENERATED]

    def test_files_only_leaves_the_gateway_out(self, tools: FakeTools) -> None:
        plan = make_plan(tools, running=False)
        assert (plan.gateway, plan.starts, plan.reload) == ("", False, True)

    def test_a_supervisor_gets_its_own_file_instead_of_a_unit(self, tmp_path: Path) -> None:
        found = actions(make_plan(make_tools(tmp_path, kind="supervisor")))
        assert names.SUPERVISOR in found
        assert names.UNIT not in found

    def test_a_missing_master_key_stops_the_plan(self, tmp_path: Path) -> None:
        with pytest.raises(SecretNotFoundError, match="no source holds LITELLM_MASTER_KEY"):
            make_plan(make_tools(tmp_path, secrets={SALT_KEY: SALT}))

    def test_keys_stand_in_the_config_only_where_the_lab_wants_that(self, tmp_path: Path) -> None:
        for number, literal in enumerate(("false", "true")):
            folder = tmp_path / str(number)
            folder.mkdir()
            tools = make_tools(folder, f"[gateway]\nport = 4123\nliteral_keys = {literal}\n")
            apply(tools, start=False)
            config = text_of(tools, names.CONFIG)
            assert (INTERNAL in config) is (literal == "true")
            assert MASTER not in config
            assert MASTER not in text_of(tools, names.GATEWAY_ENV)
            assert MASTER in text_of(tools, names.ENV_FILE)

    def test_a_template_of_the_lab_that_would_not_work_is_refused(self, tools: FakeTools) -> None:
        own = Path(tools.lab.root) / "templates/litellm/config.yaml.j2"
        own.parent.mkdir(parents=True)
        own.write_text("model_list: []\n")
        with pytest.raises(
            ConfigError, match=r"config\.yaml would not work: model_list lacks lab-echo"
        ):
            make_plan(tools)


class TestNothingChanged:
    def test_nothing_is_decrypted_and_nothing_planned(self, tools: FakeTools) -> None:
        plan = make_plan(applied(tools))
        assert not plan
        assert not plan.fresh
        assert tools.reads == []

    def test_force_looks_closely_all_the_same(self, tools: FakeTools) -> None:
        plan = make_plan(applied(tools), force=True)
        assert not plan
        assert plan.fresh
        assert len(tools.reads) == len(GENERATED)

    def test_a_gateway_that_stopped_is_started_without_a_decryption(self, tools: FakeTools) -> None:
        applied(tools).service.stop()
        plan = make_plan(tools)
        assert (plan.gateway, plan.starts) == ("it is not running", True)
        assert tools.reads == []
        assert not make_plan(tools, running=False)

    def test_a_gateway_that_was_not_restarted_after_the_last_write_is_restarted(
        self, tools: FakeTools
    ) -> None:
        applied(tools).state.values["gateway"] = "older"
        plan = make_plan(tools)
        assert (plan.gateway, plan.starts, plan.reload) == ("it runs with older files", False, True)

    @pytest.mark.parametrize("lost", ["targets", "seen", "inputs", "gateway"])
    def test_a_state_with_a_part_missing_is_survived(self, tools: FakeTools, lost: str) -> None:
        del applied(tools).state.values[lost]
        make_plan(tools)


class TestDrift:
    def test_a_file_edited_by_hand_is_reported_as_a_conflict_with_the_difference(
        self, tools: FakeTools
    ) -> None:
        config = Path(applied(tools).places.litellm) / "config.yaml"
        config.write_text(config.read_text() + "# my note\n")
        plan = make_plan(tools)
        assert actions(plan) == {names.CONFIG: Action.CONFLICT}
        assert plan.conflicts[0].why == "edited by hand since keyturn wrote it"
        assert "-# my note" in plan.conflicts[0].details
        assert plan.gateway == ""
        forced = make_plan(tools, force=True)
        assert actions(forced) == {names.CONFIG: Action.UPDATE}
        assert forced.changes[0].backup
        assert forced.gateway == "config.yaml changed"

    def test_a_file_that_keyturn_never_wrote_is_reported(self, tools: FakeTools) -> None:
        config = Path(tools.places.litellm) / "config.yaml"
        config.parent.mkdir(parents=True)
        config.write_text("model_list: []\n")
        assert make_plan(tools).conflicts[0].why == "not written by keyturn"

    def test_a_mode_that_was_opened_is_drift_but_no_reason_to_restart(
        self, tools: FakeTools
    ) -> None:
        Path(applied(tools).places.env_file).chmod(0o644)
        plan = make_plan(tools)
        assert actions(plan) == {names.ENV_FILE: Action.MODE}
        assert plan.gateway == ""

    def test_a_file_that_was_removed_is_made_again(self, tools: FakeTools) -> None:
        Path(applied(tools).places.env_file).unlink()
        assert actions(make_plan(tools)) == {names.ENV_FILE: Action.CREATE}

    def test_a_key_in_a_file_that_somebody_else_wrote_is_not_shown(self, tools: FakeTools) -> None:
        env_file = Path(applied(tools).places.env_file)
        env_file.write_text(f"{MASTER_KEY}=hunter2\nOTHER={MASTER}\n")
        shown = repr(make_plan(tools))
        assert "hunter2" not in shown
        assert MASTER not in shown
        assert f"<{MASTER_KEY} " in shown


class TestInputs:
    def test_the_same_inputs_have_the_same_digest(self, tools: FakeTools) -> None:
        assert digest(tools) == digest(tools) != ""

    def test_an_edit_of_the_lab_changes_it(self, tools: FakeTools) -> None:
        assert digest(with_lab(tools, "[gateway]\nport = 4124\n")) != digest(tools)

    def test_a_template_of_the_labs_own_changes_it(self, tools: FakeTools) -> None:
        before = digest(tools)
        own = Path(tools.lab.root) / "templates/litellm/litellm.env.j2"
        own.parent.mkdir(parents=True)
        own.write_text("# mine\n")
        later = replace(tools, templates=TemplateFolder(tools.lab.root))
        assert digest(later) != before

    def test_a_template_that_may_not_be_read_is_said_to_be_that(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(path: PurePath, real: Path) -> None:
            raise PermissionError(errno.EACCES, "x")

        monkeypatch.setattr(machine, "read", refused)
        with pytest.raises(ConfigError) as caught:
            TemplateFolder(tmp_path).text("litellm/config.yaml.j2")
        assert caught.value.why == "permission denied"

    def test_a_change_of_the_encrypted_store_changes_it(self, tools: FakeTools) -> None:
        before = digest(tools)
        store = tools.providers["sops"]
        store.write(tools.lab.secrets[MASTER_KEY].sources[0], tools.new_key())
        assert digest(tools) != before

    def test_a_profile_changes_it(self, tmp_path: Path) -> None:
        tools = make_tools(tmp_path, MODELS, secrets={
            MASTER_KEY: MASTER, SALT_KEY: SALT, "OPENAI_API_KEY": PROVIDER_KEY
        })  # fmt: skip
        assert digest(with_lab(tools, MODELS, "small")) not in ("", digest(tools))

    def test_another_program_changes_it(self, tools: FakeTools) -> None:
        assert digest(replace(tools, keyturn="/opt/keyturn")) != digest(tools)

    @pytest.mark.parametrize("form", [f'{{"{MASTER_KEY}": "ENC[x]"}}', f"{MASTER_KEY}: ENC[x]\n"])
    def test_stores_in_json_and_yaml_are_recognised(self, tmp_path: Path, form: str) -> None:
        place = "secrets/x.enc.json"
        refs = f'["sops:{place}#{MASTER_KEY}", "env:{MASTER_KEY}"]'
        tools = make_tools(
            tmp_path, f"[secrets.{MASTER_KEY}]\nsources = {refs}\n[secrets.{SALT_KEY}]\n"
        )
        (Path(tools.lab.root) / place).write_text(form)
        assert digest(tools)


class TestAlwaysRead:
    """Where a key could come from a place that does not show whether it changed."""

    def test_a_keyring_first_source_is_read_by_every_plan(self, tmp_path: Path) -> None:
        keyring = f"keyring:keyturn#{MASTER_KEY}"
        tools = make_tools(tmp_path, f'[secrets.{MASTER_KEY}]\nsources = ["{keyring}"]\n')
        tools.providers["keyring"].values[keyring] = MASTER
        assert digest(applied(tools)) == ""
        assert not make_plan(tools)
        assert keyring in tools.reads
        tools.providers["keyring"].values[keyring] = PROVIDER_KEY
        assert names.ENV_FILE in actions(make_plan(tools))

    def test_without_a_store_every_plan_reads(self, tmp_path: Path) -> None:
        tools = make_tools(tmp_path, secrets={})
        env = tools.providers["env"].values
        env.update({f"env:{MASTER_KEY}": MASTER, f"env:{SALT_KEY}": SALT})
        (Path(tools.lab.root) / STORE).unlink()
        assert digest(applied(tools)) == ""
        env[f"env:{MASTER_KEY}"] = PROVIDER_KEY
        assert names.ENV_FILE in actions(make_plan(tools))

    def test_a_name_that_the_store_lacks_is_read_from_where_it_is(self, tmp_path: Path) -> None:
        tools = make_tools(tmp_path, secrets={SALT_KEY: SALT})
        env = tools.providers["env"].values
        env[f"env:{MASTER_KEY}"] = MASTER
        assert not make_plan(applied(tools))
        env[f"env:{MASTER_KEY}"] = PROVIDER_KEY
        assert actions(make_plan(tools))[names.ENV_FILE] is Action.UPDATE


class TestOptionalModels:
    def with_key(self, tmp_path: Path, *, present: bool) -> FakeTools:
        """Return a lab whose model `big` needs a provider key."""
        held = {MASTER_KEY: MASTER, SALT_KEY: SALT}
        return make_tools(
            tmp_path, MODELS, secrets=held | ({"OPENAI_API_KEY": PROVIDER_KEY} if present else {})
        )

    def test_a_model_whose_key_is_absent_is_left_out_everywhere(self, tmp_path: Path) -> None:
        tools = self.with_key(tmp_path, present=False)
        apply(tools, start=False)
        for name in (names.CONFIG, names.CAPS, names.DROID_SETTINGS, names.DROID_OVERLAY):
            assert "big" not in text_of(tools, name)
            assert "lab-echo" in text_of(tools, name)
        assert "OPENAI_API_KEY" not in text_of(tools, names.ENV_FILE)

    def test_it_appears_once_the_key_is_there(self, tmp_path: Path) -> None:
        tools = self.with_key(tmp_path, present=False)
        apply(tools, start=False)
        store = tools.providers["sops"]
        store.write(tools.lab.secrets["OPENAI_API_KEY"].sources[0], tools.new_key())
        assert {names.CONFIG, names.GATEWAY_ENV, names.DROID_SETTINGS} <= set(
            actions(make_plan(tools))
        )
        apply(tools, start=False)
        assert "os.environ/OPENAI_API_KEY" in text_of(tools, names.CONFIG)
        assert tools.new_key.made[0] in text_of(tools, names.GATEWAY_ENV)

    def test_a_profile_leaves_models_and_their_keys_out(self, tmp_path: Path) -> None:
        tools = with_lab(self.with_key(tmp_path, present=True), MODELS, "small")
        apply(tools, start=False)
        assert "big" not in text_of(tools, names.CONFIG)
        assert PROVIDER_KEY not in text_of(tools, names.ENV_FILE)
