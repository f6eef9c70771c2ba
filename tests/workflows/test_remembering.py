"""What keyturn remembers of the files that it is about to write."""

from pathlib import Path

import pytest

from bootstrap.domain.content import Content, Write
from bootstrap.domain.plan import Action, Change, Plan
from bootstrap.domain.targets import ENV_FILE, targets
from bootstrap.workflows.memory import intend
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
