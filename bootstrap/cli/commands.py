"""One function per command: parse, one workflow call, show, exit code."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bootstrap.cli import show
from bootstrap.cli.clients_command import ways
from bootstrap.cli.open_rotation import after_rotation, rotated_at, say_open, settle
from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.errors import ExitCode
from bootstrap.wiring import client_versions, found_lab, labs, signals
from bootstrap.workflows import check as checks
from bootstrap.workflows.apply import apply as apply_plan
from bootstrap.workflows.bootstrap import Builder
from bootstrap.workflows.bootstrap import bootstrap as bootstrap_lab
from bootstrap.workflows.init import init as init_lab
from bootstrap.workflows.planning import make_plan

PortOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, help="The gateway's port in a new lab [default: 4000]", show_default=False
    ),
]
NoStartOption = Annotated[bool, typer.Option("--no-start", help="Start nothing, prove nothing.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that were edited by hand, keeping backups.")
]
ProfileOption = Annotated[
    str | None, typer.Option(help="Use this profile of lab.toml.", show_default=False)
]
FolderArgument = Annotated[
    Path | None, typer.Argument(metavar="DIR", help="The lab's folder.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add every command to `app`, in the order in which a new user needs them."""
    command(
        app,
        "bootstrap",
        examples=(
            "keyturn bootstrap",
            "keyturn bootstrap ~/lab --port 4010",
            "keyturn bootstrap --no-start",
        ),
    )(bootstrap)
    command(app, "init", examples=("keyturn init", "keyturn init ~/lab --port 4010"))(init)
    command(app, "plan", examples=("keyturn plan", "keyturn plan --exit-code --json"))(plan)
    command(app, "apply", examples=("keyturn apply", "keyturn apply --dry-run"))(apply)
    command(app, "check", examples=("keyturn check", "keyturn check --deep --json"))(check)


def bootstrap(
    session: Session,
    folder: FolderArgument = None,
    port: PortOption = None,
    no_start: NoStartOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a lab where there is none, install and start the gateway, and prove it.

    Safe to repeat: a second run changes nothing. Without DIR it takes the lab that is found as for
    every command, else it makes one in the current folder.
    """
    root = None if folder is None else found_lab.absolute(folder)
    builder = Builder(
        locate=lambda: found_lab.locate(session.lab),
        here=found_lab.working_directory(),
        home=found_lab.absolute(Path(found_lab.home())),
        desk=labs.desk,
        tools=lambda at: labs.tools(at, session.progress),
        settle=lambda tools: settle(session, tools, labs.rotation(tools)),
        lock=labs.lock,
        register=labs.register_default,
    )
    with signals.termination_raises():
        done = bootstrap_lab(
            builder, session.progress, folder=root, port=port, start=not no_start, force=force
        )
    show.show_bootstrapped(session, done)
    session.document(show.bootstrapped_data(done) if session.as_json else None)
    after_rotation(session, done.tools.lab.root, done.tools, labs.rotation(done.tools))


def init(
    session: Session,
    folder: FolderArgument = None,
    port: PortOption = None,
    no_start: Annotated[
        bool, typer.Option("--no-start", help="As for bootstrap; init starts nothing anyway.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write lab.toml, .sops.yaml, an age identity and an encrypted store with fresh keys.

    Never overwrites: a second run says what is there already, and adds what is missing.
    """
    root = found_lab.absolute(folder or Path(session.lab or "."))
    with signals.termination_raises(), labs.lock(root):
        made = init_lab(labs.desk(root), port=port)
    show.show_made(session, made, found_lab.home())
    session.document(show.made_data(made))


def plan(
    session: Session,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 3 if there are changes.")
    ] = False,
    force: ForceOption = False,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> int:
    """Show what `apply` would change and why, without any value."""
    tools = labs.tools(session.root(), session.progress, profile=profile)
    say_open(session, labs.rotation(tools))
    found = make_plan(tools, force=force)
    show.show_plan(session, tools, found, details=True)
    handed = ways(tools.lab, client_versions.versions(tools.places))
    for row in handed:
        what = f"{row['way']}  ", (row["why"], "dim")
        session.print(Text.assemble((f"{row['client']:9} ", "cyan"), *what))
    session.document({**show.plan_data(tools, found), "clients": handed})
    return ExitCode.DRIFT if exit_code and found else ExitCode.DONE


def apply(
    session: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan only.")] = False,
    no_start: NoStartOption = False,
    force: ForceOption = False,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> int | None:
    """Make this machine agree with the lab: files, then the gateway once, then proof.

    Nothing changed: nothing is written, nothing is restarted.
    """
    root = session.root()
    tools = labs.tools(root, session.progress, profile=profile)
    if dry_run:
        found = make_plan(tools, force=force, running=not no_start)
        show.show_plan(session, tools, found, details=True)
        session.document(show.plan_data(tools, found))
        return None
    with signals.termination_raises(), labs.lock(root):
        settle(session, tools, labs.rotation(tools))
        done = apply_plan(tools, force=force, start=not no_start)
    show.show_applied(session, tools, done)
    session.document(show.applied_data(tools, done))
    after_rotation(session, root, tools, labs.rotation(tools))
    return None


def check(
    session: Session,
    deep: Annotated[bool, typer.Option("--deep", help="Also ask for one chat completion.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Say whether the lab is well. Changes nothing; exit 0 well, 1 unwell, 3 drift only."""
    tools = labs.tools(session.root(), session.progress)
    using = labs.rotation(tools)
    say_open(session, using)
    readings = checks.check(tools, deep=deep, rotated_at=rotated_at(using))
    code = checks.exit_code(readings)
    show.show_readings(session, readings)
    session.document(show.readings_data(readings, code))
    return code
