"""`keyturn clients`: what is set up, by which means, with which key, and seen working when."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.cli.show import short
from bootstrap.domain.client_ways import chosen_way, setups
from bootstrap.domain.errors import ExitCode
from bootstrap.domain.lab import Lab
from bootstrap.wiring import client_list, found_lab, labs
from bootstrap.workflows.clients import ClientRow, clients, probe


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    examples = ("keyturn clients", "keyturn clients --probe", "keyturn clients --json")
    command(app, "clients", examples=examples)(list_clients)


def list_clients(
    session: Session,
    ask: Annotated[
        bool,
        typer.Option("--probe", help="Ask one question through each client that is installed."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Show each client: how it gets the key, which key it has, and whether it was seen working.

    Exit 1 if a client holds another key than the store, or a probe got no answer.
    """
    tools = labs.tools(session.root(), session.progress)
    desk = client_list.desk(tools)
    if ask:
        with labs.lock(tools.lab.root), session.progress.step("ask through each client"):
            rows = probe(desk)
    else:
        rows = clients(desk)
    for row in rows:
        _show(session, row, found_lab.home())
    for problem in desk.problems:
        session.warn(f"{problem.what}: {problem.why}; {problem.fix}")
    broken = [{"what": p.what, "why": p.why, "fix": p.fix} for p in desk.problems]
    session.document({"clients": [_data(row) for row in rows], "problems": broken})
    bad = [r for r in rows if _stale(r) or (ask and r.seen is not None and not r.seen.works)]
    return ExitCode.FAILED if bad else ExitCode.DONE


def _stale(row: ClientRow) -> bool:
    return row.way is not None and row.written and not row.current


def _show(session: Session, row: ClientRow, home: Any) -> None:
    if row.way is None:
        session.print(Text.assemble((f"{row.name:10}", "dim"), f"not set up: {row.why}"))
        return
    place = f" in {short(row.file, home)}" if row.file else ""
    session.print(Text.assemble((f"{row.name:10}", "cyan"), f"{row.way.name}{place}"))
    marks = ", ".join(row.fingerprints) or "none in a file"
    state, style = ("", "dim")
    if not row.written:
        state, style = "  not written yet: keyturn apply", "yellow"
    elif _stale(row):
        state, style = "  not the key in force: keyturn apply, keyturn doctor", "bold red"
    session.print(Text.assemble("          key      ", marks, (state, style)))
    session.print(Text.assemble("          learns   ", (row.way.learns, "dim")))
    session.print(Text.assemble("          why      ", (row.why, "dim")))
    if row.version:
        session.print(Text.assemble("          version  ", (_version(row), "dim")))
    session.print(Text.assemble("          seen     ", _seen(row)))


def _version(row: ClientRow) -> str:
    if row.version in row.setup.tested or not row.setup.tested:
        return row.version
    return f"{row.version}; keyturn was tested with {', '.join(row.setup.tested)}"


def _seen(row: ClientRow) -> str:
    if row.setup.program is None:
        return "never: it has no command that could be asked"
    if row.seen is None:
        where = "not asked yet: keyturn clients --probe"
        return where if row.program else f"{row.setup.program} is not installed"
    when = datetime.fromtimestamp(row.seen.at).astimezone().strftime("%Y-%m-%d %H:%M")
    if row.seen.works:
        return f"working on {when}, with key {row.seen.fingerprint}"
    return f"NOT working on {when}: {row.seen.detail}"


def _data(row: ClientRow) -> dict[str, Any]:
    seen = row.seen
    return {
        "client": row.name,
        "title": row.setup.title,
        "way": row.way.name if row.way else None,
        "why": row.why,
        "file": str(row.file) if row.file else None,
        "written": row.written,
        "fingerprints": list(row.fingerprints),
        "current": row.current,
        "learns": row.way.learns if row.way else None,
        "program": str(row.program) if row.program else None,
        "version": row.version or None,
        "tested": list(row.setup.tested),
        "seen": None
        if seen is None
        else {"at": seen.at, "works": seen.works, "fingerprint": seen.fingerprint},
    }


def ways(lab: Lab, version: Callable[[str], str]) -> list[dict[str, str]]:
    """Return, for `plan`, how each client that is set up gets the key, and why.

    Args:
        lab: The lab.
        version: Program -> the version that is installed.
    """
    rows = []
    for name, setup in setups(lab).items():
        if chosen_way(name, setup, lab)[0] is not None:
            installed = version(setup.program) if setup.program else ""
            way, why = chosen_way(name, setup, lab, installed)
            rows += [{"client": name, "way": way.name, "why": why}] if way is not None else []
    return rows
