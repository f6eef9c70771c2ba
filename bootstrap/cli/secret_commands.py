"""`get`, `list` and `exec`: what only needs the secrets, and so loads nothing of the gateway's."""

from typing import Annotated

import typer

from bootstrap.cli.complete import ExecCommand, secret_names
from bootstrap.cli.session import JsonOption, Session, command, session_globals
from bootstrap.wiring import found_lab, output
from bootstrap.workflows.resolve import late_sources

SourceOption = Annotated[
    str | None,
    typer.Option(
        metavar="SCHEME",
        help="Ask only this kind of source: sops, keyring, env, file.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(
        app,
        "get",
        examples=(
            "keyturn get LITELLM_MASTER_KEY | wc -c",
            'eval "$(keyturn get --shell LITELLM_MASTER_KEY)"',
        ),
    )(get)
    command(app, "list", examples=("keyturn list", "keyturn list --json"))(list_secrets)
    app.command(
        "exec",
        help="Run a program with the lab's secrets in its environment, and become it.\n\nExamples:"
        '\n\n    keyturn exec -- droid exec "review this"'
        "\n\n    keyturn exec --secret OPENAI_API_KEY=env:CI_KEY -- python app.py",
        short_help="Run a program with the lab's secrets in its environment, and become it.",
        cls=ExecCommand,
        add_help_option=False,
    )(_exec)


def _exec(context: typer.Context) -> None:
    """Run `exec` where options stand before its name; without any, `main` takes a shorter way."""
    from bootstrap.cli.exec_command import run_exec

    before = session_globals()
    lab = ("--lab", before.lab) if before.lab else ()
    quiet = ("--quiet",) if before.quiet else ()
    raise typer.Exit(run_exec([*lab, *quiet, *context.args]))


def get(
    session: Session,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", show_default=False, autocompletion=secret_names),
    ],
    shell: Annotated[
        bool, typer.Option("--shell", help="Print `export NAME=value` lines.")
    ] = False,
    reveal: Annotated[bool, typer.Option("--reveal", help="Allow a terminal to show it.")] = False,
    source: SourceOption = None,
) -> None:
    """Write one secret to a pipe; refuses a terminal unless --reveal is given."""
    output.refuse_unless_possible(names, shell=shell, reveal=reveal)
    resolver = found_lab.resolver(session.root(), source)
    found = resolver.resolve_all(names)
    for line in late_sources(found.values()):
        session.warn(line)
    output.write({name: item.secret for name, item in found.items()}, shell=shell)


def list_secrets(
    session: Session, source: SourceOption = None, as_json: JsonOption = False
) -> None:
    """Show the lab's secrets: names, sources and fingerprints, never a value."""
    resolver = found_lab.resolver(session.root(), source)
    rows = []
    for name in resolver.names:
        survey = resolver.survey(name)
        used = next((str(ref) for ref, value, _ in survey if value is not None), None)
        rows.append(
            {
                "name": name,
                "source": used,
                "sources": [
                    {
                        "ref": str(ref),
                        "fingerprint": value.fingerprint() if value else None,
                        "why_not": why or None,
                    }
                    for ref, value, why in survey
                ],
            }
        )
        session.print(name)
        for ref, value, why in survey:
            mark = "*" if str(ref) == used else " "
            session.print(f"  {mark} {ref}  {value.fingerprint() if value else why}")
    session.document({"secrets": rows})
