"""A file that its owner rewrites all the time is merged again, and given up after some tries."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bootstrap.adapters.files import LocalFiles
from bootstrap.domain import targets as names
from bootstrap.domain.content import Write
from bootstrap.domain.errors import ConflictError
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.workflows.force import deploy, prove_targets
from bootstrap.workflows.planning import needed_secrets, only_secrets
from bootstrap.workflows.tools import NamedSecrets
from support.fakes import MASTER
from support.rotation_fakes import NEW, World, make_world


class BusyFiles(LocalFiles):
    """Files whose owner is faster than we are, for the first few times.

    Attributes:
        left: How often it still is.
    """

    def __init__(self, left: int) -> None:
        self.left = left

    def replace_all(self, writes: Sequence[Write]) -> None:
        """Replace them, unless their owner was faster."""
        if writes and self.left:
            self.left -= 1
            raise ConflictError("it changed", why="another program wrote it", fix="run it again")
        super().replace_all(writes)


class ForgetfulFiles(LocalFiles):
    """Files whose owner at once puts back what was there before."""

    def replace_all(self, writes: Sequence[Write]) -> None:
        """Replace nothing that lasts."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def with_files(world: World, files: LocalFiles) -> World:
    object.__setattr__(world.tools, "files", files)
    return world


def with_new(world: World) -> NamedSecrets:
    secrets = only_secrets(world.tools.resolver.resolve_all(needed_secrets(world.tools)))
    return {**secrets, MASTER_KEY: Secret(NEW)}


def test_deploying_tries_again(world: World) -> None:
    deploy(with_files(world, BusyFiles(3)).tools, with_new(world))
    assert NEW in world.path(names.DROID_SETTINGS).read_text()


def test_deploying_gives_up(world: World) -> None:
    with pytest.raises(ConflictError):
        deploy(with_files(world, BusyFiles(1000)).tools, with_new(world))
    assert MASTER in world.path(names.DROID_SETTINGS).read_text()


def test_proving_mends_what_its_owner_put_back(world: World) -> None:
    plan = prove_targets(with_files(world, BusyFiles(3)).tools, with_new(world))
    assert NEW in world.path(names.DROID_SETTINGS).read_text()
    assert names.DROID_SETTINGS not in [change.target.name for change in plan.drift]


def test_proving_gives_up_where_the_key_does_not_stay(world: World) -> None:
    with pytest.raises(ConflictError, match="does not keep the new key"):
        prove_targets(with_files(world, ForgetfulFiles()).tools, with_new(world))
