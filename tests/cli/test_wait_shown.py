"""What `rotate --wait` says, where another command ends the grace time."""

from pathlib import Path

import pytest

from bootstrap.cli.rotation_wait import wait_for_end
from bootstrap.cli.session import Session
from bootstrap.domain.errors import RotationUndoneError
from bootstrap.domain.secret import Secret
from bootstrap.workflows.recover import recover
from bootstrap.workflows.rotate import rotate
from support.fakes import MASTER
from support.rotation_fakes import NEW, RotationClock, World, afresh, make_world

OLD = Secret(MASTER).fingerprint()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def wait(world: World) -> None:
    wait_for_end(Session(), world.tools.lab.root, world.tools, world.using)


def meanwhile(monkeypatch: pytest.MonkeyPatch, world: World, *, abort: bool) -> None:
    """Have another command end the rotation."""

    def end(clock: RotationClock, seconds: float) -> None:
        monkeypatch.undo()
        recover(world.tools, afresh(world), now=True, abort=abort)

    monkeypatch.setattr(RotationClock, "sleep", end)


def test_without_a_grace_time_there_is_nothing_to_say(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    wait(world)
    assert capsys.readouterr() == ("", "")


def test_it_says_until_when_and_that_it_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rotate(world.tools, world.using, new=Secret(NEW), grace_s=600)
    meanwhile(monkeypatch, world, abort=False)
    wait(world)
    said = capsys.readouterr()
    assert "Ctrl-C ends the waiting and leaves the old key accepted" in said.err
    assert f", when {OLD} is refused …" in said.err
    assert said.out == f"retired  {OLD} is refused, proven\n"


def test_a_rotation_that_another_command_undoes_is_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate(world.tools, world.using, new=Secret(NEW), grace_s=600)
    meanwhile(monkeypatch, world, abort=True)
    with pytest.raises(RotationUndoneError) as caught:
        wait(world)
    assert f"the rotation was undone: {OLD} is in force" in caught.value.what
    assert caught.value.exit_code == 5
