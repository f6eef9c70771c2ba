"""The state diagram in ARCHITECTURE.md shows what journals really say: no more and no less."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bootstrap.domain.errors import RotationUndoneError
from bootstrap.domain.rotation import Record, Step, is_open
from bootstrap.domain.secret import Secret
from bootstrap.workflows.recover import recover
from bootstrap.workflows.rotate import rotate
from support.fakes import LAB
from support.homes import REPOSITORY
from support.rotation_fakes import BOOM, NEW, PLAIN, World, afresh, make_world, raises

Edge = tuple[str, str]
EDGE = re.compile(r"^    (\S+) --> (\S+?)(?::.*)?$", re.M)
OPEN = tuple(step for step in Step if is_open([Record(step, "", "", "", "", 0.0)]))


class Killed(BaseException):
    """The process is gone."""


def drawn() -> set[Edge]:
    """Return the edges of the diagram."""
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    diagram = text.partition("stateDiagram-v2\n")[2].partition("```")[0]
    return {(one, other) for one, other in EDGE.findall(diagram)}


def told(world: World) -> set[Edge]:
    """Return the edges that the journal went along."""
    steps = ["[*]", *world.steps]
    last = world.journal.records()[-1]
    return set(pairwise(steps if is_open([last]) else [*steps, "[*]"]))


def journals(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Edge]]:
    """Rotate in every way there is."""
    numbers = iter(range(1000))

    def world(text: str = LAB) -> World:
        root = folder / str(next(numbers))
        root.mkdir(mode=0o700)
        return make_world(root, text)

    for text in (LAB, PLAIN):
        done = world(text)
        rotate(done.tools, done.using, new=Secret(NEW))
        yield told(done)
    for step in OPEN[1 : OPEN.index(Step.RETIRED)]:
        failed = world()
        failed.journal.before = {step: raises(BOOM)}
        with pytest.raises(RotationUndoneError):
            rotate(failed.tools, failed.using, new=Secret(NEW))
        yield told(failed)
    kills = [("before", step, False) for step in (*OPEN[1:], Step.CLOSED)]
    # The last two: aborted although the new key is proven, and even where the old one is refused.
    late = [("before", Step.RETIRED, True), ("after", Step.RETIRED, True)]
    for when, step, abort in kills + late:
        dead = world()
        setattr(dead.journal, when, {step: raises(Killed())})
        with monkeypatch.context() as patch:
            patch.setattr("bootstrap.workflows.rotate._undo", lambda *_: None)
            with pytest.raises(Killed):
                rotate(dead.tools, dead.using, new=Secret(NEW))
        recover(dead.tools, afresh(dead), abort=abort)
        yield told(dead)
    waiting = world()
    rotate(waiting.tools, waiting.using, new=Secret(NEW), grace_s=60.0)
    recover(waiting.tools, afresh(waiting), now=True)
    yield told(waiting)


def test_every_step_is_drawn() -> None:
    assert {step for edge in drawn() for step in edge} == {"[*]", *(step.value for step in Step)}


@pytest.mark.faults
def test_what_is_drawn_is_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: set[Edge] = set()
    for edges in journals(tmp_path, monkeypatch):
        happened |= edges
    assert happened == drawn()
