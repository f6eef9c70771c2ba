"""The Typer app: every command but `exec` runs through here."""

import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from bootstrap import __version__
from bootstrap.cli.session import (
    ColorOption,
    LabOption,
    QuietOption,
    Session,
    VerboseOption,
    set_globals,
)
from bootstrap.domain.errors import ExitCode

# Which module has which commands, in the order in which the help shows them.
COMMANDS = {
    "commands": ("bootstrap", "init", "plan", "apply", "check"),
    "secret_commands": ("get", "list", "exec"),
    "doctor_commands": ("doctor", "explain"),
    "rotation_commands": ("rotate", "recover"),
    "service_commands": ("service",),
    "key_commands": ("key",),
    "models_command": ("models",),
    "adopt_command": ("adopt",),
    "clients_command": ("clients",),
    "scan_command": ("scan",),
    "ci_command": ("ci",),
    "shell_init": ("shell-init",),
}
_FLAGS = ("-q", "--quiet", "-v", "--verbose", "--no-color")
_WITH_VALUE = "--lab"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"keyturn {__version__}")
        raise typer.Exit


def _root(
    lab: LabOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    no_color: ColorOption = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Bootstrap, prove and rotate the keys of a self-hosted LLM gateway.

    Start with: keyturn bootstrap
    """
    set_globals(Session(lab=lab, quiet=quiet, verbose=verbose, color=not no_color))


def make(words: Sequence[str] = ()) -> typer.Typer:
    """Return the app with the commands that `words` may be about.

    To load all of them takes longer than many a command, so it is done only where none is named.
    """
    app = typer.Typer(
        name="keyturn",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Exit codes: 0 done, 1 foreseen failure, 2 usage, 3 drift, 5 rotation undone, "
        "6 recovery needed, 7 another keyturn holds the lock, 70 a bug, 130 interrupted.",
    )
    app.callback()(_root)
    named = _named(words)
    wanted = [module for module, names in COMMANDS.items() if named in names]
    for module in wanted or COMMANDS:
        import_module(f"bootstrap.cli.{module}").register(app)
    return app


def _named(words: Sequence[str]) -> str | None:
    """Return the command's name if only options that we know stand before it."""
    rest = iter(words)
    for word in rest:
        if word == _WITH_VALUE:
            next(rest, None)
        elif word not in _FLAGS and not word.startswith(f"{_WITH_VALUE}="):
            return word
    return None


def run(words: list[str]) -> int:
    """Run the command that `words` spell, and return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path, or our own marks, in a Latin-1 terminal
        sys.stdout.reconfigure(errors="backslashreplace")
    code: object = None
    try:
        make(words)(args=words, prog_name="keyturn")
    except SystemExit as done:
        code = done.code
    return code if isinstance(code, int) else ExitCode.DONE
