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

from bootstrap.domain.base_errors import (
    ConfigError,
    ExitCode,
    Interrupted,
    LabError,
    ProviderUnavailableError,
    SecretError,
    SecretNotFoundError,
    StoreDamagedError,
    UsageError,
)

__all__ = [
    "ConfigError",
    "ConflictError",
    "ExitCode",
    "GatewayError",
    "Interrupted",
    "LabError",
    "LockedError",
    "OpenGatewayError",
    "ProviderUnavailableError",
    "RecoveryNeededError",
    "RotationUndoneError",
    "SecretError",
    "SecretNotFoundError",
    "ServiceError",
    "StoreDamagedError",
    "TargetError",
    "UnencodedSecretError",
    "UsageError",
    "cause_of",
]


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


def cause_of(failure: BaseException) -> str:
    """Return our errors in their own words and foreign ones by type: their text may quote a key."""
    return str(failure) if isinstance(failure, LabError) else type(failure).__name__
