"""Leave a world of doubles as a process does that is killed in the middle of a rotation."""

import shutil
from collections.abc import Callable

import pytest

from bootstrap.domain.errors import RecoveryNeededError
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret import Secret
from support.rotation_fakes import World


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches it may do anything about it."""


def kill(world: World, step: Step, run: Callable[[], object], *, before: bool = False) -> None:
    """Run a rotation that is killed before or after it notes `step`."""
    folders = (world.tools.places.home, world.tools.lab.root)
    held = [world.store.values, world.keyring.values]
    kept: list[dict[str, str]] = []
    passwords: set[str] = set()
    keys: list[Secret | None] = []

    def save() -> None:
        for folder in folders:
            shutil.copytree(folder, f"{folder}.kept", symlinks=True)
        kept.extend(dict(values) for values in held)
        passwords.update(world.redis.accepted)
        keys.append(world.gateway.key)
        raise Killed

    (world.journal.before if before else world.journal.after)[step] = save
    state = world.tools.state
    save_state = state.save

    def remember(values: dict[str, object]) -> None:
        if not kept:
            save_state(values)

    state.save = remember  # type: ignore[assignment,method-assign]
    with pytest.raises((Killed, RecoveryNeededError)):
        run()
    state.save = save_state  # type: ignore[method-assign]
    for folder in folders:  # what undoing did meanwhile is none of it
        shutil.rmtree(folder)
        shutil.move(f"{folder}.kept", folder)
    for values, before_it in zip(held, kept, strict=True):
        values.clear()
        values.update(before_it)
    world.redis.accepted = passwords
    world.gateway.key = keys[0]
