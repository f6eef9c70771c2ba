"""The Typer app: every command but `exec` runs through here."""

import io
import sys
from typing import Annotated

import typer

from bootstrap import __version__
from bootstrap.cli import (
    adopt_command,
    ci_command,
    clients_command,
    commands,
    doctor_commands,
    key_commands,
    models_command,
    rotation_commands,
    scan_command,
    service_commands,
    shell_init,
)
from bootstrap.cli.session import (
    ColorOption,
    LabOption,
    QuietOption,
    Session,
    VerboseOption,
    set_globals,
)
from bootstrap.domain.errors import ExitCode

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
commands.register(app)
doctor_commands.register(app)
rotation_commands.register(app)
service_commands.register(app)
key_commands.register(app)
models_command.register(app)
adopt_command.register(app)
clients_command.register(app)
scan_command.register(app)
ci_command.register(app)
shell_init.register(app)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"keyturn {__version__}")
        raise typer.Exit


@app.callback()
def root(
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


def run(words: list[str]) -> int:
    """Run the command that `words` spell, and return its exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a path, or our own marks, in a Latin-1 terminal
        sys.stdout.reconfigure(errors="backslashreplace")
    code: object = None
    try:
        app(args=words, prog_name="keyturn")
    except SystemExit as done:
        code = done.code
    return code if isinstance(code, int) else ExitCode.DONE
