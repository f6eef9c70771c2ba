"""What a rotation refuses before anything is changed."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from bootstrap.domain import targets as names
from bootstrap.domain.errors import (
    ConfigError,
    ConflictError,
    GatewayError,
    LabError,
    ProviderUnavailableError,
)
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import INTERNAL_KEY, MASTER_KEY, SALT_KEY
from bootstrap.workflows.preflight import start_if_down
from bootstrap.workflows.rotate import rotate
from bootstrap.workflows.rotation_preview import preview
from support.fakes import LAB, MASTER
from support.rotation_fakes import HELD, NEW, PLAIN, World, make_world

NO_SALT = {name: value for name, value in HELD.items() if name != SALT_KEY}
SALT_OPTIONAL = f"[secrets.{SALT_KEY}]\noptional = true\n"
DATABASE = "[secrets.DATABASE_URL]\noptional = true\n"
CONFIG = "litellm/config.yaml.j2"


def refused(world: World, new: str = NEW, grace_s: float = 0.0) -> LabError:
    with pytest.raises(LabError) as caught:
        rotate(world.tools, world.using, new=Secret(new), grace_s=grace_s)
    assert caught.value.exit_code == 1
    assert world.steps == []
    assert world.store.puts == []
    return caught.value


def test_a_weak_key(tmp_path: Path) -> None:
    assert "good enough" in refused(make_world(tmp_path), "sk-1234").what


def test_the_key_in_force(tmp_path: Path) -> None:
    assert "is the old one" in refused(make_world(tmp_path), MASTER).what


def test_drift(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.path(names.ENV_FILE).unlink()
    error = refused(world)
    assert isinstance(error, ConflictError)
    assert "litellm.env: missing" in error.why


def test_a_keyset_that_others_may_write(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.path(names.KEYSET).chmod(0o666)
    assert "mode is 0666" in refused(world).why


def test_a_gateway_that_does_not_run(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.tools.service.stop()
    error = refused(world)
    assert "it is not running" in error.why
    assert "--gateway-down" in error.fix
    start_if_down(world.tools)
    start_if_down(world.tools)
    rotate(world.tools, world.using, new=Secret(NEW))
    assert world.steps


def test_a_gateway_that_does_not_run_is_not_started_on_files_that_are_not_the_labs(
    tmp_path: Path,
) -> None:
    world = make_world(tmp_path)
    world.tools.service.stop()
    world.path(names.ENV_FILE).unlink()
    start_if_down(world.tools)
    assert not world.tools.service.status().running
    assert "--gateway-down" not in refused(world).fix


def test_a_full_disk(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    asked: list[PurePath] = []

    def full(folders: Iterable[PurePath]) -> str:
        asked.extend(folders)
        return "/home has 12 KiB left"

    world.using = replace(world.using, no_room=full)
    assert refused(world).why == "/home has 12 KiB left"
    assert world.path(names.ENV_FILE).parent in asked
    assert world.tools.lab.root in asked


def test_a_gateway_that_refuses_the_key_in_force(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.gateway.refuses = {MASTER}
    assert isinstance(refused(world), GatewayError)


def test_a_source_that_keyturn_cannot_write(tmp_path: Path) -> None:
    lab = LAB + f'[secrets.{MASTER_KEY}]\nsources = ["env:{MASTER_KEY}"]\n'
    error = refused(make_world(tmp_path, lab, environ={MASTER_KEY: MASTER}))
    assert isinstance(error, ProviderUnavailableError)
    assert "env:LITELLM_MASTER_KEY" in error.what


def test_a_grace_time_without_the_guard(tmp_path: Path) -> None:
    assert isinstance(refused(make_world(tmp_path, PLAIN), grace_s=5.0), ConfigError)


def test_a_database_that_the_master_key_encrypts(tmp_path: Path) -> None:
    world = make_world(tmp_path, PLAIN + SALT_OPTIONAL + DATABASE, held=NO_SALT)
    error = refused(world)
    assert f"has a database and no {SALT_KEY}" in error.what
    assert f"the value of {MASTER_KEY} as {SALT_KEY}" in error.fix
    assert error.why.endswith(f"({MASTER_KEY}), and could never read them again")


def test_a_database_that_the_internal_key_encrypts(tmp_path: Path) -> None:
    world = make_world(tmp_path, LAB + SALT_OPTIONAL + DATABASE, held=NO_SALT)
    for given in ((INTERNAL_KEY,), (MASTER_KEY, INTERNAL_KEY)):
        with pytest.raises(ConfigError) as caught:
            rotate(world.tools, world.using, names=given)
        error = caught.value
        assert f"{INTERNAL_KEY} is not rotated: LiteLLM has a database" in error.what
        assert error.why.endswith(f"({INTERNAL_KEY}), and could never read them again")
        assert f"the value of {INTERNAL_KEY} as {SALT_KEY}" in error.fix
        assert "--re-encrypt" in error.fix
        assert error.fix.endswith(f"keyturn rotate {MASTER_KEY}") == (MASTER_KEY in given)
    assert world.steps == []


def test_a_database_that_the_internal_key_encrypts_is_no_obstacle_to_the_clients_key(
    tmp_path: Path,
) -> None:
    world = make_world(tmp_path, LAB + SALT_OPTIONAL + DATABASE, held=NO_SALT)
    before = world.path(names.GATEWAY_ENV).read_bytes()
    assert preview(world.tools, world.using).old
    rotate(world.tools, world.using, new=Secret(NEW))
    assert world.in_force(NEW, MASTER)
    assert world.path(names.GATEWAY_ENV).read_bytes() == before


def own_template(folder: Path, name: str, more: str) -> None:
    """Give the lab in `folder` a template of its own: the shipped one, and `more` at its end."""
    own = folder / "lab" / "templates" / name
    own.parent.mkdir(parents=True)
    own.write_text((Path(__file__).parents[2] / "templates" / name).read_text() + more)


@pytest.mark.parametrize(
    ("template", "more"),
    [
        (CONFIG, "\n  alerting_key: {{ secrets.LITELLM_MASTER_KEY | json }}\n"),
        ("litellm/gateway.env.j2", "OTHER={{ secrets.LITELLM_MASTER_KEY | dotenv }}\n"),
    ],
)
def test_a_database_that_the_clients_key_may_encrypt_since_an_own_template_gives_it_to_litellm(
    tmp_path: Path, template: str, more: str
) -> None:
    own_template(tmp_path, template, more)
    world = make_world(tmp_path, LAB + SALT_OPTIONAL + DATABASE, held=NO_SALT)
    error = refused(world)
    assert f"{MASTER_KEY} is not rotated: LiteLLM has a database" in error.what
    assert "a template of your own gives it to LiteLLM" in error.why
    assert error.fix.endswith("or remove it from that template")


def test_a_database_that_an_own_template_names(tmp_path: Path) -> None:
    own_template(tmp_path, CONFIG, '{% raw %}{% endraw %}\n  database_url: "postgresql://db"\n')
    world = make_world(tmp_path, PLAIN + SALT_OPTIONAL, held=NO_SALT)
    assert "has a database" in refused(world).what


def test_a_database_with_a_salt_key_is_no_obstacle(tmp_path: Path) -> None:
    world = make_world(tmp_path, LAB + DATABASE)
    rotate(world.tools, world.using, new=Secret(NEW))
    assert world.in_force(NEW, MASTER)


def test_no_salt_key_without_a_database_is_no_obstacle(tmp_path: Path) -> None:
    world = make_world(tmp_path, LAB + SALT_OPTIONAL, held=NO_SALT)
    rotate(world.tools, world.using, new=Secret(NEW))
    assert world.in_force(NEW, MASTER)


def test_entries_that_droid_has_put_back_are_no_reason(tmp_path: Path) -> None:
    """It rewrites its file from what it read before, also seconds after keyturn has looked."""
    world = make_world(tmp_path)
    settings = world.path(names.DROID_SETTINGS)
    settings.write_text(settings.read_text().replace(MASTER, "sk-test-of-an-earlier-rotation"))
    rotate(world.tools, world.using, new=Secret(NEW), grace_s=0.0)
    assert NEW in settings.read_text()
    assert world.in_force(NEW, MASTER)


def test_settings_of_droid_that_are_gone(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    world.path(names.DROID_SETTINGS).unlink()
    assert "settings.json: missing" in refused(world).why
