"""`keyturn adopt`: take over a gateway that was set up by hand."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from bootstrap.cli import show
from bootstrap.cli.open_rotation import after_rotation, settle
from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.errors import ExitCode
from bootstrap.wiring import adopt as wiring
from bootstrap.wiring import found_lab, labs, signals
from bootstrap.wiring.adopt_survey import Survey
from bootstrap.workflows.adopt import Adopted, Adoptee
from bootstrap.workflows.adopt import adopt as take_over
from bootstrap.workflows.adopt_plan import plan_lines, refuse_none
from bootstrap.workflows.bootstrap import choose_root

_STYLE = {"weak": "bold yellow", "missing": "yellow", "left out": "yellow", "stop": "yellow"}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("keyturn adopt ~/lab --dry-run", "keyturn adopt ~/lab --yes")
    command(app, "adopt", examples=examples)(adopt)


def adopt(
    session: Session,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The lab's folder.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Its LiteLLM config [default: that of the running process or unit]",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="Its port [default: that of the unit, of droid's settings, 4000]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Carry the plan out.")] = False,
    without_models: Annotated[
        bool,
        typer.Option("--without-models", help="Even where none of its models can be carried over."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Take over a LiteLLM gateway that was set up by hand: its key, its models, its clients.

    Without --yes it only shows the plan, and exits 3. The key stays and moves into the encrypted
    store, the models move into lab.toml, provider keys into the store. Every file that changes is
    copied first; the old gateway serves until the new one is ready to start, and comes back where
    that fails.
    """
    given = None if folder is None else found_lab.absolute(folder)
    here, home = found_lab.working_directory(), found_lab.absolute(Path(found_lab.home()))
    root = given or choose_root(found_lab.locate(session.lab), here, home, "adopt")
    wiring.await_old(root, session.progress)
    look = Survey(root, config, port)
    adoptee = look.adoptee()
    if not adoptee:
        session.print("Nothing to adopt: no gateway, config or key that keyturn did not put there.")
        session.document({"adopted": False, "plan": []})
        return ExitCode.DONE
    rows = plan_lines(adoptee, wiring.preview(adoptee))
    if dry_run or not yes:
        _show_plan(session, rows)
        if not dry_run:
            session.print("Nothing was changed. To do it: keyturn adopt --yes")
        session.document({"adopted": False, "plan": _plan_data(rows)})
        return ExitCode.DONE if dry_run else ExitCode.DRIFT
    if not without_models:
        refuse_none(adoptee)
    using = wiring.desk(
        look, session.progress, lambda tools: settle(session, tools, labs.rotation(tools))
    )
    with signals.termination_raises():
        done = take_over(adoptee, using, session.progress)
    _show_done(session, adoptee, done)
    session.document({"adopted": True, "plan": _plan_data(rows), **_data(done)})
    after_rotation(session, done.tools.lab.root, done.tools, labs.rotation(done.tools))
    return ExitCode.DONE


def _show_plan(session: Session, rows: list[tuple[str, str, str]]) -> None:
    for verb, what, why in rows:
        style = _STYLE.get(verb, "cyan")
        session.print(Text.assemble((f"{verb:9}", style), f"{what}  ", (why, "dim")))


def _show_done(session: Session, adoptee: Adoptee, done: Adopted) -> None:
    show.show_applied(session, done.tools, done.applied)
    home = done.tools.places.home
    for path in done.edited:
        session.print(Text.assemble(("edited   ", "green"), show.short(path, home)))
        if path.name == ".envrc":
            session.print(Text.assemble(("next     ", "cyan"), f"direnv allow {path.parent}"))
    for path in done.leftovers:
        row = show.short(path, home), "  holds the key still; edit it by hand"
        session.print(Text.assemble(("look at  ", "yellow"), *row))
    if done.backups:
        folder = show.short(done.backups[0][1].parent, home)
        what = f"{len(done.backups)} files as they were, in {folder}; the old key stands there"
        session.print(Text.assemble(("copies   ", "green"), what))
    if adoptee.weakness is not None:
        what = f"the key is kept, but {adoptee.weakness}. A new one everywhere: keyturn rotate"
        session.print(Text.assemble(("weak     ", "bold yellow"), what))


def _plan_data(rows: list[tuple[str, str, str]]) -> list[dict[str, str]]:
    return [{"verb": verb, "what": what, "why": why} for verb, what, why in rows]


def _data(done: Adopted) -> dict[str, Any]:
    return {
        **show.applied_data(done.tools, done.applied),
        "backups": [{"path": str(a), "backup": str(b)} for a, b in done.backups],
        "edited": [str(path) for path in done.edited],
        "leftovers": [str(path) for path in done.leftovers],
    }
