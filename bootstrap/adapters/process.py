"""Run a program to its end: nothing to prompt on, a time limit, no credentials it need not have.

Importing this module is cheap, because `keyturn exec` waits for it. A program that is named by its
path and runs here is started without `subprocess`, too.
"""

from bootstrap.adapters.paths import is_void
from bootstrap.adapters.variables import variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

# SOPS_AGE_KEY is a private key, DIRENV_DIFF a compressed copy of every secret that direnv exported.
PRIVATE_PREFIXES = ("SOPS_AGE_", "DIRENV_")
_REAP_S = 5.0


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
        OSError: It cannot be started.
        TimeoutError: It did not end in time (an OSError as well).
    """
    from bootstrap.adapters.spawn import Child, can_spawn

    environment = scrubbed(variables() if env is None else env, keep)
    if can_spawn(argv[0], cwd):
        try:
            return Finished(*Child(argv, stdin, environment).run(timeout_s))
        except TimeoutError:
            raise _too_late(argv, timeout_s) from None
    import subprocess

    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _kill_group(child)
        # `from None`: the foreign exception carries the output so far.
        raise _too_late(argv, timeout_s) from None
    except BaseException:  # Ctrl-C reaches us, not the child's session
        _kill_group(child)
        raise
    return Finished(child.returncode, stdout, stderr)


def _too_late(argv: "Sequence[str]", timeout_s: float) -> TimeoutError:
    return TimeoutError(f"{argv[0]} did not end within {timeout_s:g} s")


def _kill_group(child: "subprocess.Popen[bytes]") -> None:
    """End the program and its children. It holds nothing that could need tidying."""
    import contextlib
    import os
    import signal

    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # unsent input is of no use any more
                pipe.close()
    child.wait(_REAP_S)
