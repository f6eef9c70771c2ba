"""Plans, readings and summaries as text for people, and as data for --json."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from rich.text import Text

from bootstrap.cli.session import Session
from bootstrap.domain.next_steps import next_steps
from bootstrap.domain.plan import Action, Plan
from bootstrap.wiring.calling import called
from bootstrap.workflows.apply import Applied
from bootstrap.workflows.bootstrap import Bootstrapped
from bootstrap.workflows.check import Health, Reading
from bootstrap.workflows.init import Made
from bootstrap.workflows.tools import Tools

_ACTION_STYLE = {
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.REMOVE: "red",
    Action.MODE: "yellow",
    Action.CONFLICT: "bold red",
    Action.NOTE: "dim",
}
_HEALTH_STYLE = {
    Health.WELL: "green",
    Health.NOTE: "cyan",
    Health.DRIFT: "yellow",
    Health.UNWELL: "bold red",
}


def short(path: PurePath, home: PurePath) -> str:
    """Return the path with the home folder as `~`."""
    if path == home:
        return "~"
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def show_plan(session: Session, tools: Tools, plan: Plan, *, details: bool) -> None:
    """Print a plan: one line a target, and the redacted difference below it."""
    home = tools.places.home
    for name in plan.new_keys:
        made = f"{'new key':9}", "green"
        session.print(Text.assemble(made, f"{name}  ", ("a key of a client's own", "dim")))
    for change in plan.changes:
        word = f"{change.action.value:9}", _ACTION_STYLE[change.action]
        path = f"{short(change.target.path, home)}  "
        session.print(Text.assemble(word, path, (change.why, "dim")))
        if details:
            for row in change.details:
                session.print(Text(f"          {row}", style=_diff_style(row)))
    if plan.gateway:
        verb = "start" if plan.starts else "restart"
        session.print(
            Text.assemble(
                (f"{verb:9}", "yellow"),
                f"{tools.service.name} ({tools.service.kind})  ",
                (plan.gateway, "dim"),
            )
        )
    if not plan:
        session.print("Nothing to change.")


def _diff_style(row: str) -> str:
    return {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "dim")


def plan_data(tools: Tools, plan: Plan) -> dict[str, Any]:
    """Return a plan for --json."""
    return {
        "lab": str(tools.lab.root),
        "changed": bool(plan),
        "decrypted": plan.fresh,
        "new_keys": list(plan.new_keys),
        "changes": [
            {
                "target": change.target.name,
                "path": str(change.target.path),
                "action": change.action.value,
                "why": change.why,
                "diff": list(change.details),
            }
            for change in plan.changes
        ],
        "service": {
            "name": tools.service.name,
            "kind": tools.service.kind,
            "action": ("start" if plan.starts else "restart") if plan.gateway else None,
            "why": plan.gateway or None,
        },
    }


def show_applied(session: Session, tools: Tools, applied: Applied) -> None:
    """Print what `apply` did."""
    if applied.installed:
        show_installed(session, tools)
    show_plan(session, tools, applied.plan, details=session.verbose)
    for original, copy in applied.backups:
        session.print(f"backup   {short(original, tools.places.home)} is kept as {copy}")
    if applied.proven:
        session.print(
            Text.assemble(
                ("proven   ", "bold green"),
                f"{tools.gateway.url}: no key refused, wrong key refused, right key accepted; "
                f"{len(applied.models)} model{'' if len(applied.models) == 1 else 's'}",
            )
        )
    else:
        session.print("next     keyturn apply, which starts the gateway and asks it")


def show_installed(session: Session, tools: Tools) -> None:
    """Print where the gateway's program is now."""
    path = short(tools.program, tools.places.home)
    session.print(Text.assemble(("installed", "green"), f" {path}"))


def applied_data(tools: Tools, applied: Applied) -> dict[str, Any]:
    """Return what `apply` did, for --json."""
    return {
        **plan_data(tools, applied.plan),
        "backups": [{"path": str(a), "backup": str(b)} for a, b in applied.backups],
        "installed": applied.installed,
        "proven": applied.proven,
        "url": tools.gateway.url,
        "models": list(applied.models),
    }


def show_made(session: Session, made: Made, home: PurePath) -> None:
    """Print what `init` made, and shout about a new identity."""
    for path, what in made.created:
        session.print(
            Text.assemble(("created  ", "green"), f"{short(path, home)}  ", (what, "dim"))
        )
    for path in made.kept if session.verbose or not made.created else ():
        session.print(Text.assemble(("there    ", "dim"), short(path, home)))
    if made.identity is not None:
        session.print()
        session.print(
            Text.assemble(
                ("BACK UP ", "bold yellow"),
                f"{short(made.identity, home)} now: without it nobody can decrypt this lab, ",
                "not even you.",
            )
        )


def made_data(made: Made) -> dict[str, Any]:
    """Return what `init` made, for --json."""
    return {
        "lab": str(made.root),
        "created": [{"path": str(path), "what": what} for path, what in made.created],
        "kept": [str(path) for path in made.kept],
        "new_identity": str(made.identity) if made.identity else None,
    }


def show_bootstrapped(session: Session, done: Bootstrapped) -> None:
    """Print the summary: what was made, where, what each client should do next."""
    tools, home = done.tools, done.tools.places.home
    changed = bool(done.made.created or done.applied.plan or done.installed)
    if done.made.created:
        show_made(session, done.made, home)
        session.print()
    if done.installed and not done.applied.installed:
        show_installed(session, tools)
    show_applied(session, tools, done.applied)
    if done.registered:
        session.print(
            Text.assemble(
                ("default  ", "green"),
                f"{tools.lab.root} is the lab that keyturn uses from any folder",
            )
        )
    if not changed and not session.verbose:
        return
    session.print()
    session.print(Text("Next", style="bold"))
    for client, step in next_steps(tools.lab, tools.places, called(tools.lab.root)):
        session.print(Text.assemble((f"  {client:12} ", "cyan"), step))


def bootstrapped_data(done: Bootstrapped) -> dict[str, Any]:
    """Return the summary for --json."""
    tools = done.tools
    steps = next_steps(tools.lab, tools.places, called(tools.lab.root))
    return {
        **applied_data(tools, done.applied),
        "init": made_data(done.made),
        "program": str(done.program),
        "installed": done.installed,
        "next": [{"client": client, "step": step} for client, step in steps],
    }


def show_readings(session: Session, readings: Sequence[Reading]) -> None:
    """Print one line a reading, and the command that mends it."""
    for reading in readings:
        session.print(
            Text.assemble(
                (f"{reading.health.value:6}", _HEALTH_STYLE[reading.health]),
                f" {reading.topic}: ",
                (reading.detail, "dim"),
            )
        )
        if reading.fix and reading.health is not Health.WELL:
            session.print(Text(f"         fix: {reading.fix}"))


def readings_data(readings: Sequence[Reading], code: int) -> dict[str, Any]:
    """Return the readings for --json."""
    return {
        "exit_code": code,
        "readings": [
            {"topic": r.topic, "health": r.health.value, "detail": r.detail, "fix": r.fix or None}
            for r in readings
        ],
    }
