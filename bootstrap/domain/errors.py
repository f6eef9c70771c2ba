"""Everything that can go wrong, as one tree with one root.

    LabError
      UsageError                    the command was called with words that do not fit
      ConfigError                   the lab file or a template is missing, malformed, contradictory
      SecretError                   a secret could not be read or written
        SecretNotFoundError         the provider works, the name is not in it (or is empty)
        ProviderUnavailableError    the provider itself cannot be used here
        StoreDamagedError           the store exists but is not a sound store any more
        UnencodedSecretError        a template printed a secret without an encoding filter
      TargetError                   a file we answer for cannot be read, merged or written
        ConflictError               it was edited by hand, or changed while we worked
      ServiceError                  the gateway's service cannot be started, stopped or asked
        NotReadyError               its program was started and does not come up
          KeptError                 so the process that served before was left alone
      GatewayError                  the gateway answers wrongly, or does not answer
        OpenGatewayError            it answers without a key
      LockedError                   another keyturn works on this lab
      RotationUndoneError           a rotation failed; the old key is proven in force again
      RecoveryNeededError           a rotation failed and so did undoing it

An error answers three questions: what happened, why, and what to type next. Adapters translate
foreign exceptions into this tree where they meet them; nothing above an adapter sees an OSError,
a CalledProcessError or a KeyringError. Nothing here may hold a secret, or text from a foreign
program that could quote one.
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
    """The provider itself cannot be used here (locked, not installed, no identity)."""


class StoreDamagedError(SecretError):
    """The store exists but is tampered with, truncated, in conflict or not encrypted."""


class UnencodedSecretError(SecretError):
    """A template printed a secret without an encoding filter."""


class TargetError(LabError):
    """A file that we answer for cannot be read, merged or written."""


class ConflictError(TargetError):
    """A target was edited by hand, or changed while we worked on it."""


class ServiceError(LabError):
    """The gateway's service cannot be started, stopped or asked."""


class NotReadyError(ServiceError):
    """The gateway's program was started and does not come up; its log says why."""


class KeptError(NotReadyError):
    """A fresh process does not come up, so the one that served before goes on serving."""


class GatewayError(LabError):
    """The gateway answers wrongly, or does not answer."""


class OpenGatewayError(GatewayError):
    """The gateway serves requests that carry no key."""


class LockedError(LabError):
    """Another keyturn works on this lab."""

    exit_code = ExitCode.LOCKED


class RotationUndoneError(LabError):
    """A rotation failed; the old key is proven in force again."""

    exit_code = ExitCode.ROTATION_UNDONE


class RecoveryNeededError(LabError):
    """A rotation failed and so did undoing it."""

    exit_code = ExitCode.RECOVERY_NEEDED


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


def cause_of(failure: BaseException) -> str:
    """Return our errors in their own words and foreign ones by type: their text may quote a key."""
    return str(failure) if isinstance(failure, LabError) else type(failure).__name__
