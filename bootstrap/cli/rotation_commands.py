"""`rotate` and `recover`: parse, one workflow call, show, exit code."""

from collections.abc import Mapping
from typing import Annotated

import typer

from bootstrap.cli import rotation_show as show
from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.client_effects import effects
from bootstrap.domain.errors import LabError, RecoveryNeededError, UsageError
from bootstrap.domain.grace import HELD_S, IDLE_S, Grace, parse_grace
from bootstrap.domain.rotation import Step
from bootstrap.domain.secret_spec import MASTER_KEY, SALT_KEY
from bootstrap.domain.uses import ProgramUse
from bootstrap.wiring import labs, signals
from bootstrap.workflows.recover import Recovered, open_rotation
from bootstrap.workflows.recover import recover as recover_rotation
from bootstrap.workflows.rotate import rotate as rotate_key
from bootstrap.workflows.rotation_preview import preview
from bootstrap.workflows.rotation_status import status as rotation_status
from bootstrap.workflows.tools import RotationTools, Tools
from bootstrap.workflows.uses import holders, replaced_at

NameArgument = Annotated[str, typer.Argument(metavar="[NAME]", help="The secret to rotate.")]
GraceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Accept the old key for this long: 90s, 10m, 8h, until-unused, until-unused:8h "
        "[default: 0, or until-unused:1h where the gateway has seen who holds it]",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(
        app,
        "rotate",
        examples=(
            "keyturn rotate",
            "keyturn rotate --dry-run",
            "keyturn rotate --grace 10m",
            "keyturn rotate --grace until-unused:8h",
            "pass show lab/key | keyturn rotate --value-stdin",
            "keyturn rotate --status",
            "keyturn rotate --log",
        ),
    )(rotate)
    command(app, "recover", examples=("keyturn recover",))(recover)


def rotate(
    session: Session,
    name: NameArgument = MASTER_KEY,
    grace: GraceOption = None,
    now: Annotated[bool, typer.Option("--now", help="No grace time: the key has leaked.")] = False,
    value_stdin: Annotated[
        bool, typer.Option("--value-stdin", help="Take the new key from standard input.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the protocol and what would change.")
    ] = False,
    status: Annotated[
        bool,
        typer.Option("--status", help="Show the last rotation, and who still uses its old key."),
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Show the record of all rotations.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish an open rotation now.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Go back to the old key.")] = False,
    as_json: JsonOption = False,
) -> int | None:
    """Put a new master key in force everywhere, prove it, and retire the old one.

    Ends all new or all old, proven: exit 0 rotated, 5 undone, 6 recovery needed. --status: 0, or 3
    where an old key can be retired, or 6.
    """
    modes = {"--dry-run": dry_run, "--status": status, "--log": log, "--resume": resume}
    modes["--abort"] = abort
    _refuse_mixed(name, modes, {"--now": now, "--grace": bool(grace)})
    root = session.root()
    tools = labs.tools(root, session.progress)
    using = labs.rotation(tools)
    if status:
        found = rotation_status(tools, using, busy=labs.is_busy(root))
        show.show_status(session, found)
        return found.exit_code
    if log:
        show.show_log(session, *labs.audit(root).entries())
        return None
    if dry_run:
        _, held_by = _grace(tools, grace, now=now)
        show.show_preview(session, preview(tools, using), held_by)
        return None
    new = labs.read_secret_from_stdin() if value_stdin else None
    with signals.termination_raises(), labs.lock(root):
        if resume or abort:
            show.show_settled(session, recover_rotation(tools, using, abort=abort, now=resume))
            return None
        _refuse_waiting(settle(session, tools, using, now=now))
        wanted, held_by = _grace(tools, grace, now=now)
        done = rotate_key(tools, using, new=new, grace_s=wanted.seconds, idle_s=wanted.idle_s)
    show.show_rotated(session, tools, done, held_by, effects(tools.lab, tools.keyturn))
    _run_after(session, tools, done.old, done.new)
    return None


def recover(session: Session, as_json: JsonOption = False) -> int | None:
    """Finish or undo a rotation that a crash left open. Safe to repeat."""
    root = session.root()
    tools = labs.tools(root, session.progress)
    using = labs.rotation(tools)
    with signals.termination_raises(), labs.lock(root):
        show.show_settled(session, recover_rotation(tools, using))
    return None


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
        words = f"{last.old} is accepted until {show.when(last.retire_at)}, beside {last.new}"
    else:
        words = f"A rotation was left open after: {last.step.value}. Next: keyturn recover"
    session.progress.note(words)


def rotated_at(using: RotationTools) -> float:
    """Return when the master key was replaced last, in seconds since 1970; 0 if unknown."""
    try:
        return replaced_at(using.journal.records())
    except RecoveryNeededError:  # `say_open` has said so
        return 0.0


def _refuse_waiting(done: Recovered) -> None:
    if done.outcome != "waiting" or done.retire_at is None:
        return
    raise UsageError(
        "an earlier rotation is not over yet",
        why=f"its old key {done.refused} is accepted until {show.when(done.retire_at)}",
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


def _grace(tools: Tools, text: str | None, *, now: bool) -> tuple[Grace, tuple[ProgramUse, ...]]:
    """Return the grace time, and the programs for whose sake keyturn chose it."""
    if now:
        return Grace(), ()
    if text is None:
        if tools.lab.rotate.grace is not None:
            return tools.lab.rotate.grace, ()
        held_by = holders(tools) if tools.lab.guarded else ()
        return (Grace(HELD_S, IDLE_S) if held_by else Grace()), held_by
    grace = parse_grace(text)
    if grace is None:
        raise UsageError(
            "bad --grace",
            why="it is not a duration, and not until-unused",
            fix="write 90s, 10m, 8h, until-unused or until-unused:8h",
        )
    return grace, ()


def _run_after(session: Session, tools: Tools, old: str, new: str) -> None:
    """Run what the lab wants run after a rotation; that it fails is a warning."""
    if not tools.lab.rotate.after:
        return
    try:
        with session.progress.step("run what [rotate] after names"):
            labs.run_after_rotation(tools.lab, MASTER_KEY, old, new)
    except LabError as error:
        session.progress.note(f"warning: {error}; {error.fix}")
