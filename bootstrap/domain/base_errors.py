"""The errors that `keyturn exec` may meet, apart from all others.

`bootstrap.domain.errors` has the whole tree, and is what to import from. Only what exec waits for
imports from here: to make the other classes would take it a quarter of a millisecond.
"""


class ExitCode:
    """The exit statuses of every command (`keyturn exec` adds 125, 126 and 127)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DRIFT = 3
    ROTATION_UNDONE = 5
    RECOVERY_NEEDED = 6
    LOCKED = 7
    BUG = 70
    EXEC_FAILED = 125
    EXEC_NOT_EXECUTABLE = 126
    EXEC_NOT_FOUND = 127
    INTERRUPTED = 130


class LabError(Exception):
    """Base class: a failure that we foresaw and can explain.

    Args:
        what: What failed, naming the thing the user knows (a path, a unit, a reference).
        why: The cause in one clause.
        fix: What to type or edit next, in the imperative.
    """

    exit_code: int = ExitCode.FAILED

    def __init__(self, what: str, *, why: str, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what}: {self.why}"


class UsageError(LabError):
    """The command was called with words that do not fit."""

    exit_code = ExitCode.USAGE


class ConfigError(LabError):
    """The lab file or a template is missing, malformed or contradictory."""


class SecretError(LabError):
    """A secret could not be read or written."""


class SecretNotFoundError(SecretError):
    """The provider works, but holds no such name, or an empty value under it."""


class ProviderUnavailableError(SecretError):
    """The provider itself cannot be used here (locked, not installed, no identity).

    Attributes:
        late: Whether that is so because it did not answer in time.
    """

    late = False


class StoreDamagedError(SecretError):
    """The store exists but is tampered with, truncated, in conflict or not encrypted."""


class Interrupted(BaseException):  # like KeyboardInterrupt, not an error
    """A termination signal arrived; raised once so that undoing runs.

    Args:
        signal_number: The signal, for the exit status 128+n.

    Attributes:
        outcome: What it came to, one clause; who undoes or finishes something says so here.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.signal_number = signal_number
        self.outcome = "every file is either as before or complete"
