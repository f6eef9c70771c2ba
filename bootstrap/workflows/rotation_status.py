"""Where the last rotation stands, who still uses its old key, and what will happen."""

from dataclasses import dataclass
from enum import Enum

from bootstrap.domain.errors import ExitCode
from bootstrap.domain.rotation import Part, Record, is_open
from bootstrap.domain.uses import KeyUse, ProgramUse
from bootstrap.workflows.tools import RotationTools, Tools
from bootstrap.workflows.uses import counters, is_unused, replaced_at


class Stands(Enum):
    """How it stands."""

    NONE = "none"  # there was none
    ENDED = "ended"  # closed, or undone
    RUNNING = "running"  # another keyturn works on it
    WAITING = "waiting"  # the old key is accepted until its grace time ends
    UNUSED = "unused"  # it could be retired now: nobody uses it
    OVER = "over"  # its grace time has ended; the store still has to forget it
    LEFT_OPEN = "left open"  # a crash or a failure left it half done


_EXIT = {
    Stands.UNUSED: ExitCode.DRIFT,
    Stands.OVER: ExitCode.DRIFT,
    Stands.LEFT_OPEN: ExitCode.RECOVERY_NEEDED,
}


@dataclass(frozen=True)
class OldUse:
    """The old value of one secret, and who uses it.

    Attributes:
        part: Which.
        use: How it was used, as the guard counted.
        users: The programs that have sent it since the new one was proven, the latest first.
    """

    part: Part
    use: KeyUse
    users: tuple[ProgramUse, ...]


@dataclass(frozen=True)
class Status:
    """What `rotate --status` shows.

    Attributes:
        stands: How it stands.
        last: The journal's last line, or None.
        old: What was in force before, and who uses it.
        problem: Why the counts are not known; empty where they are.
    """

    stands: Stands
    last: Record | None = None
    old: tuple[OldUse, ...] = ()
    problem: str = ""

    @property
    def users(self) -> tuple[ProgramUse, ...]:
        """Who uses any of them."""
        return tuple(user for old in self.old for user in old.users)

    @property
    def exit_code(self) -> int:
        """3 where the next keyturn command has something to finish, 6 where it is half done."""
        return _EXIT.get(self.stands, ExitCode.DONE)


def status(tools: Tools, using: RotationTools, *, busy: bool) -> Status:
    """Return how the last rotation stands. Changes nothing, decrypts nothing.

    Args:
        tools: The lab and everything around it.
        using: Journal and vault.
        busy: Whether another keyturn holds the lab's lock.

    Raises:
        RecoveryNeededError: The journal is damaged.
    """
    records = using.journal.records()
    if not records:
        return Status(Stands.NONE)
    last, found = records[-1], counters(tools.files, tools.places.litellm)
    since = replaced_at(records)
    old = [(part, found.of(part.old)) for part in last.parts]
    uses = tuple(OldUse(part, use, use.users(since)) for part, use in old)
    stands = _stands(tools, last, busy=busy) if is_open(records) else Stands.ENDED
    return Status(stands, last, uses, found.problem)


def _stands(tools: Tools, last: Record, *, busy: bool) -> Stands:
    if not last.in_grace or last.retire_at is None:
        return Stands.RUNNING if busy else Stands.LEFT_OPEN
    if tools.clock.now() >= last.retire_at:
        return Stands.OVER
    return Stands.UNUSED if is_unused(tools, last) else Stands.WAITING
