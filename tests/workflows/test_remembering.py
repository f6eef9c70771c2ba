"""What keyturn remembers of the files that it is about to write."""

from pathlib import Path

import pytest

from bootstrap.domain.content import Content, Write
from bootstrap.domain.plan import Action, Change, Plan
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import SALT_KEY
from bootstrap.domain.targets import ENV_FILE, targets
from bootstrap.workflows.memory import intend, remember_salt
from support.rotation_fakes import World, make_world

OLD, NEW, OTHER = (Content(text).digest for text in (b"old", b"new", b"other"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


@pytest.mark.parametrize(
    ("stands_there", "known"), [(OLD, OLD), (NEW, NEW), (OTHER, OLD), (None, OLD)]
)
def test_a_file_that_is_replaced_on_the_way_back_stays_known_until_it_is(
    world: World, stands_there: str | None, known: str
) -> None:
    tools = world.tools
    wanted = targets(tools.lab, tools.places, tools.service.kind)
    target = next(target for target in wanted if target.name == ENV_FILE)
    tools.state.save({"targets": {ENV_FILE: {"digest": OLD, "next": NEW}}})
    write = Write(target.path, Content(b"back"), target.mode, stands_there)
    intend(tools, Plan((Change(target, Action.UPDATE, "out of date", (), write),)))
    row = tools.state.load()["targets"][ENV_FILE]
    assert row == {"digest": known, "next": Content(b"back").digest}


def test_the_salt_key_is_remembered_by_its_fingerprint_until_another_is_meant(world: World) -> None:
    world.tools.state.save({})
    first, second = Secret("sk-test-salt-1"), Secret("sk-test-salt-2")
    for salt, replaced, known in (
        (None, True, None),
        (first, False, first),
        (second, False, first),
        (second, True, second),
    ):
        secrets = {} if salt is None else {SALT_KEY: salt}
        remember_salt(world.tools, secrets, replaced=replaced)
        found = world.tools.state.load().get("salt")
        assert found == (None if known is None else known.fingerprint())
