"""The entry point of the `keyturn` command.

`keyturn exec` takes a way of its own, past typer and everything else that it does not need, since
a person waits for it a hundred times a day.
"""

import posix
import sys

from bootstrap import __version__
from bootstrap.domain.base_errors import ExitCode, Interrupted


def main() -> int:
    """Run keyturn with the words of the command line, and return its exit status."""
    open_missing_descriptors()
    code = ExitCode.DONE
    failed = ExitCode.EXEC_FAILED if sys.argv[1:2] == ["exec"] else ExitCode.FAILED
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `keyturn list | head -1`
        _silence(sys.stdout, sys.stderr)
        return failed
    except Interrupted as signal:
        return 128 + signal.signal_number
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except OSError as error:
        _silence(sys.stdout)
        if code:  # it has been said
            return code
        why = posix.strerror(error.errno or 0).lower()
        try:
            sys.stderr.write(f"error: the output is incomplete\ncause: {why}\nfix:   df -h\n")
            sys.stderr.flush()
        except OSError:  # nobody can be told more than the exit status
            _silence(sys.stderr)
        return failed
    try:
        sys.stderr.flush()
    except OSError:  # the status counts nevertheless
        _silence(sys.stderr)
    return code


def _run(words: list[str]) -> int:
    if words[:1] == ["exec"]:
        from bootstrap.cli.exec_command import run_exec

        return run_exec(words[1:])
    if words == ["--version"]:  # without loading every command
        sys.stdout.write(f"keyturn {__version__}\n")
        return ExitCode.DONE
    from bootstrap.cli.app import run

    return run(words)


def open_missing_descriptors() -> None:
    """Put /dev/null where a standard stream was closed (`keyturn apply >&-`). Safe to repeat.

    Else the next file that is opened gets the number of standard output, and a secret on its way
    to a pipe could end in it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            posix.fstat(descriptor)
        except OSError:
            posix.open("/dev/null", posix.O_RDWR)
        if getattr(sys, name) is None:
            mode = "w" if descriptor else "r"
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115


def _silence(*streams: object) -> None:
    """Keep the interpreter from complaining once more when it flushes at exit."""
    null = posix.open("/dev/null", posix.O_WRONLY)
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        if stream in streams:
            posix.dup2(null, descriptor)
    posix.close(null)
