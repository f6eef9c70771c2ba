"""`env:NAME`: secrets from the environment, read-only. For CI, and last in a lab's own order."""

from bootstrap.adapters.variables import variables
from bootstrap.domain.base_errors import SecretNotFoundError
from bootstrap.domain.secret import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import PurePath

    from bootstrap.domain.ref import SecretRef


class EnvironProvider:
    """Reads variables of this process.

    Args:
        root: The lab's folder; every provider gets it, this one has no use for it.
        environ: The variables; None for those of this process, looked up at each read.
    """

    scheme = "env"

    def __init__(self, root: "PurePath", environ: "Mapping[str, str] | None" = None) -> None:
        self._environ = variables() if environ is None else environ

    def unavailable(self, ref: "SecretRef") -> str | None:
        """Return None: there is always an environment."""
        return None

    def read(self, ref: "SecretRef") -> Secret:
        """Return the value of the variable; see `bootstrap.ports.Provider`.

        Raises:
            SecretNotFoundError: The variable is unset or empty.
        """
        text = self._environ.get(ref.place)
        if not text:
            raise SecretNotFoundError(
                f"no secret at {ref}",
                why=f"the variable {ref.place} is {'not set' if text is None else 'empty'}",
                fix=f"export {ref.place}, or in CI map it from the job's secret store",
            )
        return Secret(text)
