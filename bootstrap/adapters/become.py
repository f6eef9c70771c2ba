"""Replace this process by a program, with secrets in its environment and nowhere else.

Imports next to nothing: `keyturn exec` waits for it.
"""

import os
import sys

from bootstrap.domain.errors import ExitCode, LabError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

    from bootstrap.domain.secret import Secret

# What could decrypt more than the program was given, or carries what direnv exported.
_WITHHELD_PREFIXES = ("SOPS_AGE_", "DIRENV_")
_WITHHELD = ("CREDENTIALS_DIRECTORY",)


class CannotExecError(LabError):
    """The program cannot be run; the exit code says which of the two ways, as env(1) does."""

    def __init__(self, program: str, *, missing: bool) -> None:
        self.exit_code = ExitCode.EXEC_NOT_FOUND if missing else ExitCode.EXEC_NOT_EXECUTABLE
        super().__init__(
            f"{program} cannot be run",
            why="there is no such program on PATH" if missing else "it is not executable",
            fix="check its name" if missing else f"chmod +x {program}",
        )


def child_environment(
    parent: "Mapping[str, str]",
    secrets: "Mapping[str, Secret]",
    *,
    withheld: "Iterable[str]" = (),
    keep: "Iterable[str]" = (),
) -> dict[str, str]:
    """Return the environment of the program.

    Args:
        parent: This process's.
        secrets: What it is given, by name.
        withheld: Further names that it must not see, such as those that sources read from.
        keep: Names that pass although they would be withheld.
    """
    kept, dropped = set(keep), set(withheld) | set(_WITHHELD)
    child = {
        name: value
        for name, value in parent.items()
        if name in kept or not (name.startswith(_WITHHELD_PREFIXES) or name in dropped)
    }
    for name, secret in secrets.items():
        child[name] = secret.reveal()
    return child


def become(argv: "Sequence[str]", environment: "Mapping[str, str]") -> "NoReturn":
    """Replace this process: same pid, terminal, stdin, process group, signal handling.

    Raises:
        CannotExecError: The program is missing (127) or not executable (126).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    _restore_signals()
    try:
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606 - no shell on purpose
    except FileNotFoundError:
        raise CannotExecError(argv[0], missing=True) from None
    except OSError:
        raise CannotExecError(argv[0], missing=False) from None


def _restore_signals() -> None:
    """Give SIGPIPE and SIGXFSZ back their default action, which Python had set to ignore."""
    import signal

    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
