"""`keyturn exec`, parsed by hand: importing a command-line library takes longer than the job."""

import sys

from bootstrap.domain.base_errors import ExitCode, Interrupted, LabError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bootstrap.wiring.execution import ExecOptions

_TEXT = {
    "--lab": "lab",
    "--source": "source",
    "--client": "client",
    "--model": "model",
    "--gateway": "gateway",
}
_LISTS = {"--secret": "pairs", "--keep": "keep"}
_FLAGS = {
    "--clean": "clean",
    "--mask": "mask",
    "--ephemeral": "ephemeral",
    "--master": "master",
    "--trust-project": "trust_project",
    "-q": "quiet",
    "--quiet": "quiet",
}
# As env(1) and timeout(1) do: all else that keeps the program from starting is 125.
_OF_THE_PROGRAM = (ExitCode.EXEC_NOT_EXECUTABLE, ExitCode.EXEC_NOT_FOUND)
_NO_EFFECT = ("-v", "--verbose", "--no-color")
_ONLY_WITH_CLIENT = ("--model", "--gateway", "--ephemeral", "--master", "--trust-project")


def run_exec(words: list[str]) -> int:
    """Become the program that `words` name; return an exit status only if that failed."""
    try:
        from bootstrap.wiring.execution import ExecOptions, run_program

        options = ExecOptions()
        argv = _parse(words, options)
        if argv is None:
            from bootstrap.cli.exec_help import USAGE

            sys.stdout.write(USAGE)
            return ExitCode.DONE
        return run_program(argv, options)
    except LabError as error:
        _report(error.what, error.why, error.fix)
        return error.exit_code if error.exit_code in _OF_THE_PROGRAM else ExitCode.EXEC_FAILED
    except Interrupted as signal:
        return 128 + signal.signal_number
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # `main` knows what to do
        raise
    except Exception as error:  # noqa: BLE001 - its text may quote a secret
        _report("this is a bug in keyturn", type(error).__name__, "report it")
        return ExitCode.EXEC_FAILED


def _report(what: str, why: str, fix: str) -> None:
    """Say what failed; the exit status says it too where standard error takes nothing."""
    try:
        sys.stderr.write(f"error: {what}\ncause: {why}\nfix:   {fix}\n")
    except OSError:
        return


def _parse(words: list[str], options: "ExecOptions") -> list[str] | None:
    """Set `options` and return the program with its arguments; None where help is asked for."""
    place, end = 0, len(words)
    given = set()
    while place < end:
        word = words[place]
        if not word.startswith("-") or word == "-":
            break
        place += 1
        if word == "--":
            break
        if word in ("-h", "--help"):
            return None
        flag, equals, value = word.partition("=")
        given.add(flag)
        if flag in _TEXT or flag in _LISTS:
            if not equals:
                if place == end:
                    raise _usage(f"{flag} needs a value")
                value = words[place]
                place += 1
            if not value:
                raise _usage(f"{flag} needs a value")
            if flag in _LISTS:
                getattr(options, _LISTS[flag]).append(value)
            else:
                setattr(options, _TEXT[flag], value)
        elif word in _FLAGS:
            setattr(options, _FLAGS[word], True)
        elif word not in _NO_EFFECT:
            raise _usage(f"there is no option {flag}")
    if place == end:
        raise _usage("no program is named")
    if options.client is None:
        for flag in _ONLY_WITH_CLIENT:
            if flag in given:
                raise _usage(f"{flag} is for --client NAME, which is not given")
    return words[place:]


def _usage(why: str) -> UsageError:
    return UsageError("keyturn exec was called wrongly", why=why, fix="keyturn exec --help")
