"""`rotate --wait`: stay until the old key is retired, and say who still uses it."""

import gc
import time
from pathlib import PurePath

from bootstrap.cli.rotation_show import used_by, when
from bootstrap.cli.session import Session
from bootstrap.domain.duration import show_duration
from bootstrap.domain.errors import RotationUndoneError
from bootstrap.domain.rotation import Record, verb
from bootstrap.domain.uses import ProgramUse
from bootstrap.wiring import labs, signals
from bootstrap.workflows.recover import Recovered, open_rotation
from bootstrap.workflows.recover import recover as recover_rotation
from bootstrap.workflows.rotation_wait import wait_until_retired, waits
from bootstrap.workflows.tools import RotationTools, Tools

# The same users are named again after this time.
_AGAIN_S = 600.0


def wait_for_end(session: Session, root: PurePath, tools: Tools, using: RotationTools) -> None:
    """Wait for the end of a grace time, if there is one, and show that it came.

    Raises:
        RotationUndoneError: Another command went back to the old key.
    """
    last = open_rotation(using)
    if last is None or not waits(last):
        return

    def retire() -> Recovered:
        with labs.lock(root):
            now = labs.tools(root, session.progress)  # lab.toml may have changed since
            return recover_rotation(now, labs.rotation(now))

    gc.enable()  # `main` does without it, which is for commands that end soon
    watch = _Watch(session)
    session.progress.note("Ctrl-C ends the waiting and leaves the old key accepted until then.")
    with signals.termination_raises(), session.progress.step(_words(last)):
        done = wait_until_retired(tools, using, retire, watch)
    if done.outcome == "undone":
        raise RotationUndoneError(
            f"the rotation was undone: {last.old_words} {verb(last.old_words)} in force",
            why="another keyturn command went back to it while this one waited",
            fix="keyturn rotate --log",
        )
    session.print(f"retired  {last.old_words} {verb(last.old_words)} refused, proven")


def _words(last: Record) -> str:
    """Return what a line of a terminal can hold."""
    old, until = last.old_words, when(last.retire_at or 0.0)
    if last.idle_s is None:
        return f"wait until {until}, when {old} {verb(old)} refused"
    idle = show_duration(last.idle_s)
    return f"wait until {old} {verb(old)} unused for {idle}, at most until {until}"


class _Watch:
    """Says who still uses the old key, when that changes and once in a while."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._said: tuple[str, ...] = ()
        self._at = 0.0

    def __call__(self, users: tuple[ProgramUse, ...]) -> None:
        """Take notice of who has used it."""
        programs = tuple(sorted(user.program for user in users))
        if programs == self._said and time.monotonic() - self._at < _AGAIN_S:
            return
        self._said, self._at = programs, time.monotonic()
        for line in used_by(users):
            self._session.progress.note(f"used by  {line}")
