"""`rotate` and `recover`: parse, one workflow call, show, exit code."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated

import typer

from bootstrap.cli import rotation_show as show
from bootstrap.cli.complete import secret_names
from bootstrap.cli.open_rotation import after_rotation, settle
from bootstrap.cli.rotation_choice import Wish, can_wait
from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.errors import UsageError
from bootstrap.domain.grace import HELD_S, IDLE_S, UNTIL_UNUSED, Grace, parse_grace
from bootstrap.domain.rotation import is_open, owes_hook
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY, SALT_KEY
from bootstrap.domain.uses import ProgramUse
from bootstrap.wiring import labs, rotations, signals
from bootstrap.workflows.preflight import start_if_down
from bootstrap.workflows.recover import Recovered
from bootstrap.workflows.recover import recover as recover_rotation
from bootstrap.workflows.rotate import rotate as rotate_secrets
from bootstrap.workflows.rotation_preview import preview
from bootstrap.workflows.rotation_status import status as rotation_status
from bootstrap.workflows.tools import RotationTools, Tools
from bootstrap.workflows.uses import holders

_NO_WISH = Wish()
NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help=f"The secret to rotate; {MASTER_KEY} if none.",
        show_default=False,
        autocompletion=secret_names,
    ),
]
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
            "keyturn rotate --grace until-unused --no-wait",
            "keyturn rotate --restart",
            "pass show openai/new | keyturn rotate OPENAI_API_KEY --value-stdin",
            "keyturn rotate REDIS_PASSWORD",
            "keyturn rotate --all",
            "keyturn rotate --status",
            "keyturn rotate --log",
        ),
    )(rotate)
    command(app, "recover", examples=("keyturn recover",))(recover)


def rotate(
    session: Session,
    name: NameArgument = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every secret whose value keyturn makes, together.")
    ] = False,
    grace: GraceOption = None,
    wait: Annotated[
        bool | None,
        typer.Option(
            "--wait/--no-wait",
            help="Stay until the old key is retired, or not [default: with --grace until-unused]",
            show_default=False,
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="No grace time: the key has leaked.")] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Restart the gateway too, refusing no connection."),
    ] = False,
    gateway_down: Annotated[
        bool, typer.Option("--gateway-down", help="Start the gateway first, if it does not run.")
    ] = False,
    value_stdin: Annotated[
        bool, typer.Option("--value-stdin", help="Take the new value from standard input.")
    ] = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make a value for a secret of unknown use.")
    ] = False,
    i_know: Annotated[
        bool, typer.Option("--i-know", help=f"Rotate {SALT_KEY}: its database gets unreadable.")
    ] = False,
    re_encrypt: Annotated[
        bool,
        typer.Option("--re-encrypt", help="Have LiteLLM encrypt its database with the new key."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the protocol and what would change.")
    ] = False,
    status: Annotated[
        bool,
        typer.Option("--status", help="Show the last rotation, and who still uses its old key."),
    ] = False,
    log: Annotated[bool, typer.Option("--log", help="Show the record of all rotations.")] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Finish an open rotation now, or with --wait in its time."),
    ] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Go back to the old key.")] = False,
    as_json: JsonOption = False,
) -> int | None:
    """Put a new key in force everywhere, prove it, and retire the old one.

    Without NAME the master key. Ends all new or all old, proven: exit 0 rotated, 5 undone, 6
    recovery needed. --status: 0, or 3 where an old key can be retired, or 6.
    """
    modes = {"--dry-run": dry_run, "--status": status, "--log": log, "--resume": resume}
    modes["--abort"] = abort
    _refuse_mixed(modes, {"--now": now, "--grace": bool(grace)})
    _refuse_mixed({**modes, "--resume": False, "--wait": bool(wait)})
    wish = Wish(name, everything, value_stdin, generate, i_know, re_encrypt, restart, gateway_down)
    if status or log or resume or abort:  # what is said of a new rotation does not change that one
        more = {"--grace": bool(grace), "--now": now and not resume}
        _refuse_mixed({**modes, **wish.words, **more})
    root = session.root()
    tools = labs.tools(root, session.progress)
    using = labs.rotation(tools)
    if status:
        stands = rotation_status(tools, using, busy=rotations.is_busy(root))
        show.show_status(session, stands)
        return stands.exit_code
    if log:
        show.show_log(session, *rotations.audit(root).entries())
        return None
    if resume or abort:
        with signals.termination_raises(), labs.lock(root):
            done = recover_rotation(tools, using, abort=abort, now=resume and not wait)
        show.show_settled(session, done)
        after_rotation(session, root, tools, using, wait=bool(wait))
        return None
    names = wish.names(tools.lab, trial=dry_run)
    if dry_run:
        _, held_by = _grace(tools, grace, names, now=now)
        found = preview(tools, using, names, re_encrypt=re_encrypt, restart=restart)
        show.show_preview(session, found, held_by, wish.left_out(tools.lab))
        return None
    new = labs.read_secret_from_stdin() if value_stdin else None
    waits = (grace or "").startswith(UNTIL_UNUSED) if wait is None else wait
    rotate_names(session, root, tools, names, grace, now=now, new=new, wish=wish, wait=waits)
    return None


def rotate_names(
    session: Session,
    root: PurePath,
    tools: Tools,
    names: tuple[str, ...],
    grace: str | None,
    *,
    now: bool,
    new: Secret | None = None,
    wish: Wish = _NO_WISH,
    wait: bool = False,
) -> None:
    """Rotate these secrets of the lab together, and show the summary.

    Args:
        session: Where to show it.
        root: The lab's folder.
        tools: The lab and everything around it.
        names: The secrets.
        grace: What `--grace` says, or None.
        now: No grace time, and none left to an earlier rotation.
        new: The value to put in force; None makes one.
        wish: What else the command line says.
        wait: Stay until the old ones are retired.
    """
    using = labs.rotation(tools)
    _run_what_is_owed(session, root, tools, using, now=now)
    with signals.termination_raises(), labs.lock(root):
        _refuse_waiting(settle(session, tools, using, now=now))
        if wish.gateway_down:
            start_if_down(tools)
        wanted, held_by = _grace(tools, grace, names, now=now)
        done = rotate_secrets(
            tools,
            using,
            new=new,
            grace_s=wanted.seconds,
            idle_s=wanted.idle_s,
            names=names,
            re_encrypt=wish.re_encrypt,
            restart=wish.restart,
        )
    show.show_rotated(session, tools, done, held_by, wish.left_out(tools.lab))
    after_rotation(session, root, tools, using, wait=wait)


def recover(session: Session, as_json: JsonOption = False) -> int | None:
    """Finish or undo a rotation that a crash left open. Safe to repeat."""
    root = session.root()
    tools = labs.tools(root, session.progress)
    using = labs.rotation(tools)
    with signals.termination_raises(), labs.lock(root):
        show.show_settled(session, recover_rotation(tools, using))
    after_rotation(session, root, tools, using)
    return None


def _run_what_is_owed(
    session: Session, root: PurePath, tools: Tools, using: RotationTools, *, now: bool
) -> None:
    """Run what `[rotate] after` names for an earlier rotation, whose journal will be replaced."""
    records = using.journal.records()
    if not tools.lab.rotate.after or not (is_open(records) or owes_hook(records)):
        return
    with signals.termination_raises(), labs.lock(root):
        _refuse_waiting(settle(session, tools, using, now=now))
    after_rotation(session, root, tools, using)


def _refuse_waiting(done: Recovered) -> None:
    if done.outcome != "waiting" or done.retire_at is None:
        return
    raise UsageError(
        "an earlier rotation is not over yet",
        why=f"its old key {done.refused} is accepted until {show.when(done.retire_at)}",
        fix="wait, or end it: keyturn rotate --resume; with a leaked key: keyturn rotate --now",
    )


def _refuse_mixed(*groups: Mapping[str, bool]) -> None:
    for group in groups:
        given = [option for option, asked in group.items() if asked]
        if len(given) > 1:
            why = ", ".join(given)
            raise UsageError("these options exclude each other", why=why, fix="give one of them")


def _grace(
    tools: Tools, text: str | None, names: tuple[str, ...], *, now: bool
) -> tuple[Grace, tuple[ProgramUse, ...]]:
    """Return the grace time, and the programs for whose sake keyturn chose it.

    Raises:
        UsageError: The text is no grace time, or the secrets can have none.
    """
    if now:
        return Grace(), ()
    if text is None:
        if not can_wait(tools.lab, names):
            return Grace(), ()
        if tools.lab.rotate.grace is not None:
            return tools.lab.rotate.grace, ()
        held_by = holders(tools, names)
        return (Grace(HELD_S, IDLE_S) if held_by else Grace()), held_by
    grace = parse_grace(text)
    if grace is None:
        raise UsageError(
            "bad --grace",
            why="it is not a duration, and not until-unused",
            fix="write 90s, 10m, 8h, until-unused or until-unused:8h",
        )
    if not can_wait(tools.lab, names):
        raise UsageError(
            f"there is no grace time for {', '.join(names)}",
            why="keyturn does not decide for how long the old value is accepted",
            fix="rotate without --grace",
        )
    return grace, ()
