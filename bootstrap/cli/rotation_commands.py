"""`rotate` and `recover`: parse, one workflow call, show, exit code."""

import time
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated

import typer

from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.duration import parse_duration, show_duration
from bootstrap.domain.errors import ExitCode, RecoveryNeededError, UsageError
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret_spec import MASTER_KEY, SALT_KEY
from bootstrap.wiring import labs, signals
from bootstrap.workflows.recover import Recovered, open_rotation
from bootstrap.workflows.recover import recover as recover_rotation
from bootstrap.workflows.rotate import Rotated
from bootstrap.workflows.rotate import rotate as rotate_key
from bootstrap.workflows.rotation_preview import Preview, preview
from bootstrap.workflows.tools import RotationTools, Tools

NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="The secret to rotate.")]
GraceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Accept the old key for this long: 90s, 10m, 8h.", show_default=False
    ),
]
_MOST_NAMED = 12


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(
        app,
        "rotate",
        examples=(
            "keyturn rotate",
            "keyturn rotate --dry-run",
            "keyturn rotate --grace 10m",
            "keyturn rotate --restart",
            "pass show lab/key | keyturn rotate --value-stdin",
            "keyturn rotate --status",
        ),
    )(rotate)
    command(app, "recover", examples=("keyturn recover",))(recover)


def rotate(
    session: Session,
    name: NameArgument = MASTER_KEY,
    grace: GraceOption = None,
    now: Annotated[bool, typer.Option("--now", help="No grace time: the key has leaked.")] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Restart the gateway too, refusing no connection."),
    ] = False,
    value_stdin: Annotated[
        bool, typer.Option("--value-stdin", help="Take the new key from standard input.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the protocol and what would change.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Show the last rotation.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish an open rotation now.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Go back to the old key.")] = False,
    as_json: JsonOption = False,
) -> int | None:
    """Put a new master key in force everywhere, prove it, and retire the old one.

    Ends all new or all old, proven: exit 0 rotated, 5 undone, 6 recovery needed.
    """
    modes = {"--dry-run": dry_run, "--status": status, "--resume": resume, "--abort": abort}
    _refuse_mixed(name, modes, {"--now": now, "--grace": bool(grace)})
    root = session.root()
    tools = labs.tools(root, session.progress)
    using = labs.rotation(tools)
    if status:
        return _status(session, using)
    if dry_run:
        _show_preview(session, preview(tools, using, restart=_restart(tools, asked=restart)))
        return None
    new = labs.read_secret_from_stdin() if value_stdin else None
    with signals.termination_raises(), labs.lock(root):
        if resume or abort:
            return _settled(session, recover_rotation(tools, using, abort=abort, now=resume))
        _refuse_waiting(settle(session, tools, using, now=now))
        done = rotate_key(
            tools,
            using,
            new=new,
            grace_s=_grace(tools, grace, now=now),
            restart=_restart(tools, asked=restart),
        )
    _show_rotated(session, tools, done)
    return None


def recover(session: Session, as_json: JsonOption = False) -> int | None:
    """Finish or undo a rotation that a crash left open. Safe to repeat."""
    root = session.root()
    tools = labs.tools(root, session.progress)
    using = labs.rotation(tools)
    with signals.termination_raises(), labs.lock(root):
        return _settled(session, recover_rotation(tools, using))


def settle(session: Session, tools: Tools, using: RotationTools, *, now: bool = False) -> Recovered:
    """Bring an open rotation to its end before another command writes, and say so."""
    done = recover_rotation(tools, using, now=now)
    if done.outcome not in ("nothing", "waiting"):
        session.progress.note(
            f"An earlier rotation was {done.outcome}: {done.in_force} is in force."
        )
    return done


def say_open(session: Session, using: RotationTools) -> None:
    """Say that a rotation is open, for commands that only read."""
    if session.quiet or session.as_json:
        return
    try:
        last = open_rotation(using)
    except RecoveryNeededError as error:
        session.progress.note(f"{error.what}; {error.fix}")
        return
    if last is None:
        return
    if last.step is Step.PROVEN and last.retire_at is not None:
        words = f"{last.old} is accepted until {_when(last.retire_at)}, beside {last.new}"
    else:
        words = f"A rotation was left open after: {last.step.value}. Next: keyturn recover"
    session.progress.note(words)


def _refuse_waiting(done: Recovered) -> None:
    if done.outcome != "waiting" or done.retire_at is None:
        return
    raise UsageError(
        "an earlier rotation is not over yet",
        why=f"its old key {done.refused} is accepted until {_when(done.retire_at)}",
        fix="wait, or end it: keyturn rotate --resume; with a leaked key: keyturn rotate --now",
    )


def _refuse_mixed(name: str, *groups: Mapping[str, bool]) -> None:
    if name == SALT_KEY:
        raise UsageError(
            f"{SALT_KEY} is never rotated",
            why="LiteLLM encrypts what its database holds with it, and without the old one could "
            "never read that again",
            fix="leave it as it is; a changed master key does not touch it: keyturn rotate",
        )
    if name != MASTER_KEY:
        raise UsageError(
            f"{name} is not rotated by this command",
            why=f"it rotates {MASTER_KEY}",
            fix="change the value in its store, then: keyturn apply",
        )
    for group in groups:
        given = [option for option, asked in group.items() if asked]
        if len(given) > 1:
            why = ", ".join(given)
            raise UsageError("these options exclude each other", why=why, fix="give one of them")


def _grace(tools: Tools, text: str | None, *, now: bool) -> float:
    if now:
        return 0.0
    if text is None:
        return tools.lab.rotate.grace_s or 0.0
    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError("bad --grace", why="it is not a duration", fix="write 90s, 10m or 8h")
    return seconds


def _restart(tools: Tools, *, asked: bool) -> bool:
    return asked or tools.lab.rotate.restart == "always"


def _status(session: Session, using: RotationTools) -> int:
    records = using.journal.records()
    last = records[-1] if records else None
    is_open = open_rotation(using) is not None
    session.document({"open": is_open, "last": last.to_dict() if last else None})
    if last is None:
        session.print("No rotation yet.")
        return ExitCode.DONE
    session.print(f"{last.name} {last.old} -> {last.new}: {last.step.value} {_when(last.at)}")
    if last.step is Step.PROVEN and last.retire_at is not None:
        session.print(f"the old key is accepted until {_when(last.retire_at)}")
    elif is_open:
        session.print("it was left open; next: keyturn recover")
    return ExitCode.DONE


def _settled(session: Session, done: Recovered) -> int:
    session.document(vars(done))
    if done.outcome == "nothing":
        session.print("No rotation is open.")
    elif done.outcome == "waiting" and done.retire_at is not None:
        session.print(
            f"{done.in_force} is in force; {done.refused} is accepted until "
            f"{_when(done.retire_at)}; to end it now: keyturn rotate --resume"
        )
    else:
        session.print(f"{done.outcome}: {done.in_force} is in force, {done.refused} is refused")
    return ExitCode.DONE


def _show_rotated(session: Session, tools: Tools, done: Rotated) -> None:
    session.document(
        {
            "old": done.old,
            "new": done.new,
            "retire_at": done.retire_at,
            "targets": list(done.files),
            "restarted": done.restarted,
        }
    )
    session.print(f"rotated  {done.old} -> {done.new}, proven at {tools.gateway.url}")
    more = len(done.files) - _MOST_NAMED
    session.print(
        f"targets  {', '.join(done.files[:_MOST_NAMED])}{f' and {more} more' if more > 0 else ''}"
    )
    if done.restarted:
        session.print(f"gateway  a fresh {tools.service.name} serves ({tools.service.kind})")
    if done.retire_at is not None:
        left = show_duration(max(0.0, done.retire_at - time.time()))
        session.print(f"grace    {done.old} is accepted for {left}, until {_when(done.retire_at)}")
    session.print("clients  droid: nothing to do, it reads the new key within a second")
    session.print("         shells and programs that were given the key: start them again, or")
    session.print(f"         direnv reload in {PurePath(tools.lab.root)}")


def _show_preview(session: Session, found: Preview) -> None:
    session.document(
        {
            "old": found.old,
            "steps": [step.value for step in found.steps],
            "targets": [str(path) for path in found.targets],
            "restarts": found.restarts,
        }
    )
    session.print(f"{MASTER_KEY} {found.old} -> a new random key")
    for step in found.steps:
        session.print(f"  {step.value:12} {found.words[step]}")
    for path in found.targets:
        session.print(f"      {path}")


def _when(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))
