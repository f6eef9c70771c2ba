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
    """The program cannot be run; the exit code says in which way, as that of env(1) does."""

    def __init__(self, program: str, code: int, *, why: str, fix: str) -> None:
        self.exit_code = code
        super().__init__(f"{program} cannot be run", why=why, fix=fix)


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
        CannotExecError: The program is missing (127), it is not executable (126), or a word or a
            value is one that no process can be given (125).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    _restore_signals()
    try:
        if not argv[0]:
            raise FileNotFoundError
        os.execvpe(argv[0], list(argv), dict(environment))  # noqa: S606 - no shell on purpose
    except (FileNotFoundError, NotADirectoryError):
        why = "it, or the interpreter that it names, is not there or not on PATH"
        raise CannotExecError(
            argv[0], ExitCode.EXEC_NOT_FOUND, why=why, fix="check its name, and PATH"
        ) from None
    except PermissionError:
        raise CannotExecError(
            argv[0],
            ExitCode.EXEC_NOT_EXECUTABLE,
            why="it is not executable",
            fix=f"chmod +x {argv[0]}",
        ) from None
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise CannotExecError(
            argv[0], ExitCode.EXEC_NOT_EXECUTABLE, why=why, fix=f"look at it: file {argv[0]}"
        ) from None
    except ValueError:  # its text may quote the value
        why = "an argument or a secret holds a NUL or is not Unicode"
        raise CannotExecError(
            argv[0], ExitCode.EXEC_FAILED, why=why, fix="see which one: keyturn list"
        ) from None


def _restore_signals() -> None:
    """Give SIGPIPE and SIGXFSZ back their default action, which Python had set to ignore."""
    import signal

    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
