"""Wait in the foreground until the grace time of a rotation is over, and retire the old key then.

Nobody is kept from working meanwhile: no lock is held, nothing is written, and whoever ends the
waiting, however roughly, leaves the rotation in its grace time, which the guard ends by itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from bootstrap.domain.errors import Interrupted, LockedError
from bootstrap.domain.rotation import Record, Step, verb
from bootstrap.domain.uses import ProgramUse
from bootstrap.workflows.recover import Recovered, open_rotation
from bootstrap.workflows.tools import RotationTools, Tools
from bootstrap.workflows.uses import counters, is_unused, replaced_at

# The guard writes its counts every two seconds.
_POLL_S = 1.0


def wait_until_retired(
    tools: Tools,
    using: RotationTools,
    retire: Callable[[], Recovered],
    watch: Callable[[tuple[ProgramUse, ...]], None],
) -> Recovered:
    """Return once the old key of the open rotation is refused, proven.

    Another command may retire it, or go back to it, meanwhile: that ends the waiting as well.

    Args:
        tools: The lab and everything around it. The lab's lock is not held.
        using: Journal and vaults.
        retire: Takes the lock and recovers, with the lab as it is by then.
        watch: Is told again and again who has used the old key since the new one is in force.

    Raises:
        RecoveryNeededError: It could not be retired.
        Interrupted: A signal came; the old key is still accepted.
    """
    ours = open_rotation(using)
    if ours is None:
        return Recovered("nothing")
    while (last := open_rotation(using)) is not None and last.new == ours.new:
        if _is_due(tools, last):
            with suppress(LockedError):  # somebody else is at it
                done = retire()
                if done.outcome != "waiting":
                    return done
        with _left_waiting(last):
            watch(_users(tools, using, last))
            tools.clock.sleep(_POLL_S)
    return _ended(using, ours)


def waits(last: Record | None) -> bool:
    """Tell whether a rotation is in its grace time, given the last line of its open journal."""
    return last is not None and last.in_grace


def _is_due(tools: Tools, last: Record) -> bool:
    """Tell whether there is something to do: the time is over, or a crash left it half done."""
    if not waits(last) or last.retire_at is None:
        return True
    return tools.clock.now() >= last.retire_at or is_unused(tools, last)


def _users(tools: Tools, using: RotationTools, last: Record) -> tuple[ProgramUse, ...]:
    since = replaced_at(using.journal.records())
    found = counters(tools.files, tools.places.litellm)
    return tuple(user for part in last.parts for user in found.of(part.old).users(since))


def _ended(using: RotationTools, ours: Record) -> Recovered:
    """Return what another command made of it; a later rotation begins only after its end."""
    last = using.journal.records()[-1]
    if last.new == ours.new and last.step is Step.UNDONE:
        return Recovered("undone", ours.old_words, ours.new_words)
    return Recovered("finished", ours.new_words, ours.old_words)


@contextmanager
def _left_waiting(last: Record) -> Iterator[None]:
    try:
        yield
    except Interrupted as stop:
        new, old = last.new_words, last.old_words
        stop.outcome = (
            f"{new} {verb(new)} in force, proven; {old} {verb(old)} accepted until the grace time "
            "ends; to wait on: keyturn rotate --resume --wait; to end it: keyturn rotate --resume"
        )
        raise
