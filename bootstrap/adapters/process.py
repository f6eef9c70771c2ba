"""Run a program to its end: nothing to prompt on, a time limit, no credentials it need not have.

Importing this module is cheap, because `keyturn exec` waits for it. A program that is named by its
path and runs here is started without `subprocess`, too.
"""

from bootstrap.adapters.paths import is_void
from bootstrap.adapters.variables import variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.adapters.patience import Patience

# SOPS_AGE_KEY is a private key, DIRENV_DIFF a compressed copy of every secret that direnv exported.
PRIVATE_PREFIXES = ("SOPS_AGE_", "DIRENV_")


# Knows what did not end in time, where that is remembered; see `bootstrap.adapters.patience`.
patience: "Patience | None" = None


class Finished:
    """What is left of a program that ended.

    Attributes:
        returncode: Its exit status; -N where signal N ended it.
        stdout: What it printed. May hold a secret, so repr() gives only the length.
        stderr: What it complained; may quote a secret, so never show it.
    """

    __slots__ = ("returncode", "stderr", "stdout")

    def __init__(self, returncode: int, stdout: bytes, stderr: bytes) -> None:
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr

    def __repr__(self) -> str:
        return (
            f"Finished({self.returncode}, stdout {len(self.stdout)} bytes, "
            f"stderr {len(self.stderr)} bytes)"
        )


def scrubbed(environ: "Mapping[str, str]", keep: "Sequence[str]" = ()) -> dict[str, str]:
    """Return `environ` without the variables that carry an age identity or direnv's copies.

    Nor with XDG variables that are void: the program would look in another place than we do.

    Args:
        environ: Variables by name.
        keep: Prefixes to let through nevertheless, for example `SOPS_AGE_` for sops itself.
    """
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(tuple(keep))
        or not (name.startswith(PRIVATE_PREFIXES) or is_void(name, value))
    }


def run(
    argv: "Sequence[str]",
    *,
    stdin: bytes | None = None,
    env: "Mapping[str, str] | None" = None,
    cwd: str | None = None,
    timeout_s: float,
    keep: "Sequence[str]" = (),
) -> Finished:
    """Run a program in a session of its own and return what it left.

    Without a controlling terminal a program that wants a passphrase fails at once instead of
    waiting for ever (seen with sops 3.11.0 and an SSH identity). A secret belongs in `stdin` or
    `env`, never in `argv`, which every user of the machine can read.

    Args:
        argv: The program and its arguments; no shell is involved.
        stdin: What it reads; None for nothing at all.
        env: Its variables before scrubbing (see `scrubbed`); None for our own.
        cwd: Where it runs; None for here.
        timeout_s: Seconds until it, and what it started, is killed.
        keep: See `scrubbed`.

    Raises:
        OSError: It cannot be started, or prints more than anybody could want (64 MiB).
        TimeoutError: It did not end in time (an OSError as well).
    """
    remembering = patience  # a thread that was given up may still be here when that ends
    if remembering is None:
        return _run(argv, stdin, env, cwd, timeout_s, keep)
    with remembering.asking(argv):
        return _run(argv, stdin, env, cwd, timeout_s, keep)


def _run(
    argv: "Sequence[str]",
    stdin: bytes | None,
    env: "Mapping[str, str] | None",
    cwd: str | None,
    timeout_s: float,
    keep: "Sequence[str]",
) -> Finished:
    from bootstrap.adapters.spawn import Child, can_spawn

    environment = scrubbed(variables() if env is None else env, keep)
    child: Child
    if can_spawn(argv[0], cwd):
        child = Child(argv, stdin, environment)
    else:
        from bootstrap.adapters.spawn_elsewhere import ChildElsewhere

        child = ChildElsewhere(argv, stdin, environment, cwd)
    try:
        return Finished(*child.run(timeout_s))
    except TimeoutError:  # `from None`: without the output so far
        raise TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s") from None
