"""What every command has in common: global options, consoles, error printing, exit codes."""

import functools
import inspect
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from bootstrap.cli.progress import Paper, Plain, Quiet, Screen
from bootstrap.domain.errors import ExitCode, Interrupted, LabError, TargetError
from bootstrap.ports import Progress
from bootstrap.wiring import found_lab, output

if TYPE_CHECKING:
    from rich.text import Text

    from bootstrap.cli.terminal import Terminal

LabOption = Annotated[
    str | None,
    typer.Option(
        "--lab",
        metavar="DIR",
        help="The lab's folder. Default: $KEYTURN_LAB, this folder "
        "or one above it, the registered lab.",
        show_default=False,
    ),
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
VerboseOption = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
ColorOption = Annotated[
    bool, typer.Option("--no-color", help="No colours and no spinner (also: NO_COLOR).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
# What a terminal would obey, in the log lines that an error may quote.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# With these rich takes anything for a terminal.
_FORCED = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
_COMMON = (
    ("lab", LabOption, None),
    ("quiet", QuietOption, False),
    ("verbose", VerboseOption, False),
    ("no_color", ColorOption, False),
)


@dataclass
class Session:
    """One run of one command.

    Attributes:
        lab: `--lab`, or None.
        quiet: Say nothing but errors.
        verbose: Say more.
        color: Whether colours and spinners are wanted.
        as_json: Print one JSON document instead of text.
    """

    lab: str | None = None
    quiet: bool = False
    verbose: bool = False
    color: bool = True
    as_json: bool = False
    _documented: bool = field(default=False, init=False, repr=False)

    @cached_property
    def out(self) -> Screen:
        """Standard output."""
        return self._terminal("stdout") or Paper(lambda: sys.stdout)

    @cached_property
    def err(self) -> Screen:
        """Standard error."""
        return self._terminal("stderr") or Paper(lambda: sys.stderr)

    def _terminal(self, name: str) -> "Terminal | None":
        """Return the terminal behind a standard stream, or None where there is none."""
        stream: TextIO = getattr(sys, name)
        if not (stream.isatty() or any(os.environ.get(forced) for forced in _FORCED)):
            return None
        from bootstrap.cli.terminal import Terminal

        # Not `no_color`, which leaves bold and dim, and so escape codes.
        system: Literal["auto"] | None = "auto" if self.color else None
        to_err = name == "stderr"
        return Terminal(color_system=system, highlight=False, soft_wrap=True, stderr=to_err)

    @property
    def progress(self) -> Progress:
        """How this command says what it is doing."""
        if self.quiet or (self.as_json and not self.verbose):
            return Quiet()
        if not isinstance(self.err, Paper) and self.color:
            from bootstrap.cli.terminal import Spinner, Terminal

            if isinstance(self.err, Terminal) and self.err.is_terminal:
                return Spinner(self.err)
        return Plain(self.err)

    def root(self) -> PurePath:
        """Return the lab's folder; ConfigError if there is none."""
        return found_lab.require(self.lab)

    def print(self, text: "str | Text" = "") -> None:
        """Print a line of the result, unless quiet."""
        if self.quiet or self.as_json:
            return
        with output.explained():
            self.out.print(text, markup=False)

    def warn(self, text: str) -> None:
        """Print a line beside the result, unless quiet."""
        if not self.quiet:
            safe = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
            self.err.print(self._labelled("warning: ", safe), markup=False)

    def document(self, value: object) -> None:
        """Print the JSON document, where one was asked for."""
        if self.as_json:
            self._documented = True
            text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
            with output.explained():
                sys.stdout.write(text)
                sys.stdout.flush()

    def show_error(self, error: LabError) -> None:
        """Say what happened, why, and what to type next; after the document, as text."""
        if self.as_json and not self._documented:
            said = {"what": error.what, "why": error.why, "fix": error.fix}
            with suppress(TargetError):  # where it cannot be written it is said as text
                self.document({"error": {**said, "exit_code": error.exit_code}})
                return
        for word, text in (("error", error.what), ("cause", error.why), ("fix", error.fix)):
            label, safe = f"{word}:".ljust(7), _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
            with suppress(OSError):  # the exit status says it, too
                self.err.print(self._labelled(label, safe), markup=False)

    def _labelled(self, label: str, text: str) -> "str | Text":
        if isinstance(self.err, Paper):
            return label + text
        from rich.text import Text

        style = {"error": "bold red", "warni": "bold yellow"}.get(label[:5], "bold")
        return Text.assemble((label, style), text)


def command(app: typer.Typer, name: str, *, examples: Sequence[str]) -> Callable[..., Any]:
    """Register a function `(session, ...) -> exit code or None` as the command `name`.

    The global options are added to its own; its docstring and `examples` make the help.
    """

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        own = [p for key, p in inspect.signature(function).parameters.items() if key != "session"]
        kind = inspect.Parameter.KEYWORD_ONLY
        own = [parameter.replace(kind=kind) for parameter in own]
        common = [
            inspect.Parameter(key, kind, default=default, annotation=annotation)
            for key, annotation, default in _COMMON
        ]

        @functools.wraps(function)
        def run(**given: Any) -> None:
            session = _session(given)
            raise typer.Exit(guarded(session, lambda: function(session, **given)))

        run.__signature__ = inspect.Signature([*own, *common])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in (*own, *common)}
        help_text = inspect.getdoc(function) or ""
        shown = "\n\n".join(f"    {example}" for example in examples)
        app.command(
            name,
            help=f"{help_text}\n\nExamples:\n\n{shown}",
            short_help=help_text.partition("\n\n")[0],  # whole, where Typer would cut it off
        )(run)
        return function

    return register


def _session(given: dict[str, Any]) -> Session:
    before = _globals
    return Session(
        lab=given.pop("lab") or before.lab,
        quiet=given.pop("quiet") or before.quiet,
        verbose=given.pop("verbose") or before.verbose,
        color=not given.pop("no_color") and before.color and not os.environ.get("NO_COLOR"),
        as_json=bool(given.get("as_json", False)),
    )


# Global options given before the command's name.
_globals = Session()


def set_globals(session: Session) -> None:
    """Remember the options that stood before the command's name."""
    global _globals
    _globals = session


def session_globals() -> Session:
    """Return the options that stood before the command's name."""
    return _globals


def guarded(session: Session, action: Callable[[], int | None]) -> int:
    """Run `action`, show what went wrong, and return the exit code.

    A foreseen failure is three lines; a bug is a traceback without local variables, whose message
    is left out since a foreign exception may quote a secret.
    """
    try:
        return action() or ExitCode.DONE
    except LabError as error:
        session.show_error(error)
        return error.exit_code
    except (KeyboardInterrupt, Interrupted) as stop:
        number = getattr(stop, "signal_number", 2)
        outcome = getattr(stop, "outcome", "every file is either as before or complete")
        session.err.print(f"interrupted; {outcome}", markup=False)
        return ExitCode.INTERRUPTED if number == 2 else 128 + number
    except BrokenPipeError:  # `main` knows what to do
        raise
    except Exception as error:  # noqa: BLE001 - the last resort
        _report_bug(session, error)
        return ExitCode.BUG


def _report_bug(session: Session, error: Exception) -> None:
    frames = "".join(traceback.format_tb(error.__traceback__))
    session.err.print(
        f"{frames}{type(error).__name__}\n"
        "error: this is a bug in keyturn\n"
        "fix:   please report the lines above; they hold no secret",
        markup=False,
    )
