"""Replace this process by a program, with secrets in its environment and nowhere else.

Imports next to nothing: `keyturn exec` waits for it.
"""

import posix
import sys

from bootstrap.adapters.ending import restore_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import NoReturn

    from bootstrap.domain.secret import Secret

# What could decrypt more than the program was given, or carries what direnv exported.
_WITHHELD_PREFIXES = ("SOPS_AGE_", "DIRENV_")
_WITHHELD = ("CREDENTIALS_DIRECTORY",)
_ENOEXEC = 8  # of every POSIX system; the errno module takes 0.1 ms
_PATH = "/usr/local/bin:/usr/bin:/bin"


def child_environment(
    parent: "Mapping[str, str]",
    secrets: "Mapping[str, Secret]",
    *,
    withheld: "Iterable[str]" = (),
    keep: "Iterable[str]" = (),
    clean: bool = False,
) -> dict[str, str]:
    """Return the environment of the program.

    Args:
        parent: This process's.
        secrets: What it is given, by name.
        withheld: Further names that it must not see, such as those that sources read from.
        keep: Names that pass although they would be withheld.
        clean: Pass nothing of the parent's but `keep`.
    """
    kept, dropped = set(keep), {*withheld, *_WITHHELD}
    child = {
        name: value
        for name, value in parent.items()
        if name in kept or not (clean or name in dropped or name.startswith(_WITHHELD_PREFIXES))
    }
    for name, secret in secrets.items():
        child[name] = secret.reveal()
    return child


def is_stale(environ: "Mapping[str, str]", name: str, secret: "Secret") -> bool:
    """Tell whether a variable holds another value than the secret that was found elsewhere."""
    return environ.get(name, "") not in ("", secret.reveal())


def become(
    argv: "Sequence[str]", environment: "Mapping[str, str]", path: str | None = None
) -> "NoReturn":
    """Replace this process: same pid, terminal, stdin, process group, signal handling.

    Args:
        argv: The program and its arguments.
        environment: Its variables.
        path: Where to look for it if the environment has no PATH.

    Raises:
        CannotExecError: The program is missing (127), it is not executable (126), or a word or a
            value is one that no process can be given (125).
        Interrupted: A signal arrived meanwhile.
    """
    sys.stdout.flush()
    _flush_warnings()
    restore_signals()
    program = argv[0]
    if not program or "/" in program:
        places = [program] if program else []
    else:
        folders = (environment.get("PATH") or path or _PATH).split(":")
        places = [f"{folder or '.'}/{program}" for folder in folders]
        places = [place for place in places if posix.access(place, posix.F_OK)]
    refused: Exception | None = None
    for place in places:
        try:
            _execute(place, argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error
        except OSError as error:
            refused = error
            break
        except ValueError as error:  # its text may quote the value
            refused = error
            break
    from bootstrap.adapters.cannot_exec import explain

    raise explain(program, refused) from None


def _flush_warnings() -> None:
    try:
        sys.stderr.flush()
    except OSError:  # one that nobody can read is no reason to stop
        return


def _execute(place: str, argv: "Sequence[str]", environment: "Mapping[str, str]") -> "NoReturn":
    """Become the program at `place`; a script without `#!` is the shell's, as for every shell."""
    try:
        posix.execve(place, list(argv), dict(environment))
    except OSError as error:
        if error.errno != _ENOEXEC or not _is_text(place):
            raise
        shell = "/bin/sh"
        posix.execve(shell, [shell, place, *argv[1:]], dict(environment))


def _is_text(place: str) -> bool:
    with open(place, "rb") as file:  # noqa: PTH123
        return b"\0" not in file.read(256)
