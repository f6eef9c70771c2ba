"""`keyturn exec`, parsed by hand: importing a command-line library takes longer than the job."""

import sys

from bootstrap.domain.errors import ExitCode, LabError, UsageError

_USAGE = """\
usage: keyturn exec [OPTIONS] -- PROGRAM [ARG]...

Run a program with the lab's secrets in its environment, and become it: its exit status, signals
and terminal are its own. The program never starts when a secret is missing.

options:
  --secret NAME[=REF]  give it this secret (repeatable) [default: [exec] in lab.toml]
  --lab DIR            the lab's folder
  --source SCHEME      ask only sources of this scheme: sops, keyring, env, file
  --keep NAME          let this variable pass although it could decrypt more (repeatable)
  -h, --help           show this

SOPS_AGE_*, DIRENV_*, CREDENTIALS_DIRECTORY and the variables that the lab's sources read from are
withheld from the program.

exit status: the program's own; 2 usage, 125 a secret is missing, 126 not executable, 127 not found

examples:
  keyturn exec -- droid exec "review this"
  keyturn exec --secret OPENAI_API_KEY=env:CI_KEY -- python app.py
"""
_TAKES_VALUE = {"--secret": "pairs", "--lab": "lab", "--source": "source", "--keep": "keep"}


def run_exec(words: list[str]) -> int:
    """Become the program that `words` name; return an exit status only if that failed."""
    try:
        options, argv = _parse(words)
        if argv is None:
            sys.stdout.write(_USAGE)
            return ExitCode.DONE
        from bootstrap.wiring.execution import run_program

        run_program(
            argv,
            lab=options["lab"][-1] if options["lab"] else None,
            pairs=options["pairs"],
            source=options["source"][-1] if options["source"] else None,
            keep=options["keep"],
        )
    except LabError as error:
        sys.stderr.write(f"error: {error.what}\ncause: {error.why}\nfix:   {error.fix}\n")
        code = error.exit_code
        return ExitCode.EXEC_FAILED if code in (ExitCode.FAILED, ExitCode.LOCKED) else code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # `main` knows what to do
        raise
    except Exception as error:  # noqa: BLE001 - its text may quote a secret
        kind = type(error).__name__
        sys.stderr.write(f"error: this is a bug in keyturn\ncause: {kind}\nfix:   report it\n")
        return ExitCode.EXEC_FAILED


def _parse(words: list[str]) -> "tuple[dict[str, list[str]], list[str] | None]":
    options: dict[str, list[str]] = {name: [] for name in _TAKES_VALUE.values()}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if word in ("-h", "--help"):
            return options, None
        flag, equals, value = word.partition("=")
        if flag in _TAKES_VALUE:
            if not equals:
                if not rest:
                    raise _usage(f"{flag} needs a value")
                value = rest.pop(0)
            options[_TAKES_VALUE[flag]].append(value)
        elif word in ("-q", "--quiet", "-v", "--verbose", "--no-color"):
            continue
        elif word.startswith("-"):
            raise _usage(f"there is no option {flag}")
        else:
            rest.insert(0, word)
            break
    if not rest:
        raise _usage("no program is named")
    return options, rest


def _usage(why: str) -> UsageError:
    return UsageError("keyturn exec was called wrongly", why=why, fix="keyturn exec --help")
