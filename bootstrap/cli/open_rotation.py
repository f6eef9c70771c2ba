"""What a rotation that is still open, or has just ended, asks of the commands around it."""

import time
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePath

from bootstrap.cli.rotation_show import grace_over, when
from bootstrap.cli.rotation_wait import wait_for_end
from bootstrap.cli.session import Session
from bootstrap.domain.errors import LabError, RecoveryNeededError
from bootstrap.domain.rotation import owes_hook, verb
from bootstrap.wiring import labs, rotations
from bootstrap.workflows.recover import Recovered, open_rotation, recover
from bootstrap.workflows.tools import RotationTools, Tools
from bootstrap.workflows.uses import replaced_at


def settle(session: Session, tools: Tools, using: RotationTools, *, now: bool = False) -> Recovered:
    """Bring an open rotation to its end before another command writes, and say so."""
    done = recover(tools, using, now=now)
    if done.outcome not in ("nothing", "waiting"):
        new = done.in_force
        session.progress.note(
            f"An earlier rotation was {done.outcome}: {new} {verb(new)} in force."
        )
    return done


def say_open(session: Session, using: RotationTools) -> None:
    """Say that a rotation is open, for commands that only read."""
    if session.quiet or session.as_json:
        return
    try:
        last = open_rotation(using)
    except RecoveryNeededError as error:
        session.progress.note(f"{error.what}; {error.fix}")
        return
    if last is None:
        return
    if last.in_grace and last.retire_at is not None and last.retire_at <= time.time():
        words = f"{grace_over(last)}. Next: keyturn recover"
    elif last.in_grace and last.retire_at is not None:
        old, until = last.old_words, when(last.retire_at)
        words = f"{old} {verb(old)} accepted until {until}, beside {last.new_words}"
    else:
        words = f"A rotation was left open after: {last.step.value}. Next: keyturn recover"
    session.progress.note(words)


def rotated_at(using: RotationTools) -> float:
    """Return when the master key was replaced last, in seconds since 1970; 0 if unknown."""
    try:
        return replaced_at(using.journal.records())
    except RecoveryNeededError:  # `say_open` has said so
        return 0.0


def after_rotation(
    session: Session, root: PurePath, tools: Tools, using: RotationTools, *, wait: bool = False
) -> None:
    """Run what `[rotate] after` names, if a rotation still owes that; then wait.

    One that succeeded, or that was taken back after that: the program is told so likewise.

    The lab's lock is not held: that program may be a keyturn command. A process that dies before
    it is noted as run leaves it to the next keyturn command that writes, so it can run twice.

    Args:
        session: Where to say what is done.
        root: The lab's folder.
        tools: The lab and everything around it.
        using: With the journal.
        wait: Stay until the old key is retired.
    """
    owing = owes_hook(using.journal.records()) if tools.lab.rotate.after else None
    if owing is not None:
        try:
            with session.progress.step("run what [rotate] after names"):
                rotations.run_after(tools.lab, owing.moves)
        except LabError as error:
            session.warn(f"{error}; {error.fix}")
        with suppress(LabError), labs.lock(root):  # who holds it now may find it owed, too
            last = owes_hook(using.journal.records())
            if last is not None and last.new == owing.new:
                using.journal.add(replace(last, owes_hook=False))
    if wait:
        wait_for_end(session, root, tools, using)
