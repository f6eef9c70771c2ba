"""`keyturn doctor` and `keyturn explain`."""

from typing import Annotated

import typer

from bootstrap.cli import doctor_show
from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.doctor.groups import codes, parse_codes
from bootstrap.domain.errors import ExitCode, UsageError
from bootstrap.wiring import doctor as wired
from bootstrap.wiring import signals
from bootstrap.workflows import doctor as workflow

CodesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CODE]...",
        help="Only these, or all that begin so: KT105, KT1. Default: all.",
        show_default=False,
        autocompletion=lambda: list(codes()),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(
        app,
        "doctor",
        examples=(
            "keyturn doctor",
            "keyturn doctor KT1",
            "keyturn doctor --fix --dry-run",
            "keyturn doctor --fix KT105 KT106",
            "keyturn doctor --undo",
        ),
    )(doctor)
    command(app, "explain", examples=("keyturn explain KT105", "keyturn explain"))(explain)


def doctor(
    session: Session,
    words: CodesArgument = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safe to mend; shows each change first.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take back the last --fix.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fix: show the changes and make none.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also ask what takes longer, such as droid's own doctor.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Find what is wrong with this setup, say what it means, and mend what is safe to mend.

    Read-only without --fix. Exits with 1 only where there is an error. Every file that a fix
    changes is copied aside first, readable by you only.
    """
    if (undo and (fix or words)) or (dry_run and not fix):
        raise UsageError(
            "these options do not go together",
            why="--undo stands alone, and --dry-run needs --fix",
            fix="keyturn doctor --help",
        )
    chosen = parse_codes(words or [])
    tools = wired.tools(session.lab, deep=deep)
    if undo:
        with signals.termination_raises():
            undone = workflow.undo(tools)
        doctor_show.show_undone(session, undone)
        return ExitCode.DONE
    if not fix:
        with session.progress.step("look at everything"):
            findings = workflow.examine(tools, chosen)
        doctor_show.show_findings(session, findings)
        code = workflow.exit_code(findings)
        session.document(doctor_show.findings_data(findings, code))
        return code
    return _fix(session, tools, chosen, dry_run=dry_run)


def _fix(session: Session, tools: workflow.DoctorTools, chosen: list[str], *, dry_run: bool) -> int:
    nothing = "Nothing that --fix could mend."
    if dry_run:
        shown = workflow.preview(tools, chosen)
        doctor_show.show_mending(session, shown)
        if not any(doctor_show.mending_data(shown).values()):
            session.print(nothing)
        session.document({"dry_run": True, "changes": [doctor_show.mending_data(shown)]})
        return ExitCode.DONE
    steps = []

    def show(shown: workflow.ShownMending) -> None:
        doctor_show.show_mending(session, shown)
        steps.append(doctor_show.mending_data(shown))

    with signals.termination_raises():
        findings, failed = workflow.fix(tools, chosen, show)
    if not steps:
        session.print(nothing)
    elif any(step["files"] or step["commands"] for step in steps):
        session.print("To take it back: keyturn doctor --undo\n")
    doctor_show.show_findings(session, findings)
    for summary in failed:
        session.print(f"failed: {summary}")
    code = ExitCode.FAILED if failed else workflow.exit_code(findings)
    data = doctor_show.findings_data(findings, code)
    session.document({**data, "changes": steps, "failed": list(failed)})
    return code


def explain(
    session: Session,
    word: Annotated[
        str | None,
        typer.Argument(
            metavar="[CODE]",
            help="For example KT105.",
            show_default=False,
            autocompletion=lambda: list(codes()),
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Say at length what a code of doctor's means; without one, list them all."""
    known = codes()
    if word is None:
        for code in known.values():
            session.print(f"{code.id}  {code.title}")
        session.document([doctor_show.code_data(code) for code in known.values()])
        return ExitCode.DONE
    (chosen,) = parse_codes([word])
    if chosen not in known:
        raise UsageError(
            f"{chosen} stands for several codes",
            why="one is explained at a time",
            fix="list them: keyturn explain",
        )
    doctor_show.show_code(session, known[chosen])
    session.document(doctor_show.code_data(known[chosen]))
    return ExitCode.DONE
