"""`rotate` and `recover`: parse, one workflow call, show, exit code."""

import time
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated

import typer

from bootstrap.cli.rotation_choice import Wish, can_wait, what_next
from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.duration import parse_duration, show_duration
from bootstrap.domain.errors import ExitCode, RecoveryNeededError, UsageError
from bootstrap.domain.lab import Lab
from bootstrap.domain.rotatable import Kind, kind_of
from bootstrap.domain.rotation import Step, verb
from bootstrap.domain.secret_spec import MASTER_KEY, SALT_KEY
from bootstrap.wiring import labs, signals
from bootstrap.workflows.recover import Recovered, open_rotation
from bootstrap.workflows.recover import recover as recover_rotation
from bootstrap.workflows.rotate import Rotated
from bootstrap.workflows.rotate import rotate as rotate_secrets
from bootstrap.workflows.rotation_preview import Preview, preview
from bootstrap.workflows.tools import RotationTools, Tools

NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help=f"The secret to rotate; {MASTER_KEY} if none.", show_default=False
    ),
]
GraceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Accept the old key for this long: 90s, 10m, 8h.", show_default=False
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
            "pass show openai/new | keyturn rotate OPENAI_API_KEY --value-stdin",
            "keyturn rotate REDIS_PASSWORD",
            "keyturn rotate --all",
            "keyturn rotate --status",
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
    now: Annotated[bool, typer.Option("--now", help="No grace time: the key has leaked.")] = False,
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
    status: Annotated[bool, typer.Option("--status", help="Show the last rotation.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Finish an open rotation now.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Go back to the old key.")] = False,
    as_json: JsonOption = False,
) -> int | None:
    """Put a new key in force everywhere, prove it, and retire the old one.

    Without NAME the master key. Ends all new or all old, proven: exit 0 rotated, 5 undone, 6
    recovery needed.
    """
    modes = {"--dry-run": dry_run, "--status": status, "--resume": resume, "--abort": abort}
    _refuse_mixed(modes, {"--now": now, "--grace": bool(grace)})
    wish = Wish(name, everything, value_stdin, generate, i_know, re_encrypt)
    root = session.root()
    tools = labs.tools(root, session.progress)
    using = labs.rotation(tools)
    if status:
        return _status(session, using)
    if resume or abort:
        with signals.termination_raises(), labs.lock(root):
            return _settled(session, recover_rotation(tools, using, abort=abort, now=resume))
    names = wish.names(tools.lab, trial=dry_run)
    grace_s = _grace(tools.lab, grace, names, now=now)
    if dry_run:
        _show_preview(
            session, preview(tools, using, names, re_encrypt=re_encrypt), wish.left_out(tools.lab)
        )
        return None
    new = labs.read_secret_from_stdin() if value_stdin else None
    with signals.termination_raises(), labs.lock(root):
        _refuse_waiting(settle(session, tools, using, now=now))
        done = rotate_secrets(
            tools, using, new=new, grace_s=grace_s, names=names, re_encrypt=re_encrypt
        )
    _show_rotated(session, tools, done, wish.left_out(tools.lab))
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
        old, until = last.old_words, _when(last.retire_at)
        words = f"{old} {verb(old)} accepted until {until}, beside {last.new_words}"
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


def _refuse_mixed(*groups: Mapping[str, bool]) -> None:
    for group in groups:
        given = [option for option, asked in group.items() if asked]
        if len(given) > 1:
            why = ", ".join(given)
            raise UsageError("these options exclude each other", why=why, fix="give one of them")


def _grace(lab: Lab, text: str | None, names: tuple[str, ...], *, now: bool) -> float:
    if now:
        return 0.0
    if text is None:
        return (lab.rotate.grace_s or 0.0) if MASTER_KEY in names else 0.0
    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError("bad --grace", why="it is not a duration", fix="write 90s, 10m or 8h")
    if not can_wait(lab, names):
        raise UsageError(
            f"there is no grace time for {', '.join(names)}",
            why="keyturn does not decide for how long the old value is accepted",
            fix="rotate without --grace",
        )
    return seconds


def _status(session: Session, using: RotationTools) -> int:
    records = using.journal.records()
    last = records[-1] if records else None
    is_open = open_rotation(using) is not None
    session.document({"open": is_open, "last": last.to_dict() if last else None})
    if last is None:
        session.print("No rotation yet.")
        return ExitCode.DONE
    for part in last.parts:
        session.print(f"{part.name} {part.old} -> {part.new}: {last.step.value} {_when(last.at)}")
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
        session.print(f"{done.outcome}: {done.in_force} is in force, {done.refused} is not")
    return ExitCode.DONE


def _show_rotated(
    session: Session, tools: Tools, done: Rotated, left_out: Mapping[str, str]
) -> None:
    session.document(
        {
            "old": done.old,
            "new": done.new,
            "retire_at": done.retire_at,
            "targets": list(done.files),
            "secrets": [{"name": p.name, "old": p.old, "new": p.new} for p in done.parts],
            "restarted": done.restarted,
            "to_do": list(done.to_do),
            "left_out": dict(left_out),
        }
    )
    for part in done.parts:
        name = "" if part.name == MASTER_KEY else f"{part.name} "
        stored_only = kind_of(tools.lab, part.name) is Kind.OTHER
        proof = "stored" if stored_only else f"proven at {tools.gateway.url}"
        session.print(f"rotated  {name}{part.old} -> {part.new}, {proof}")
    session.print(f"targets  {', '.join(done.files) or 'none'}")
    if done.restarted:
        session.print(f"gateway  {tools.service.name} was restarted to see it")
    if done.retire_at is not None:
        left = show_duration(max(0.0, done.retire_at - time.time()))
        old = ", ".join(part.old for part in done.parts)
        session.print(
            f"grace    {old} {verb(old)} accepted for {left}, until {_when(done.retire_at)}"
        )
    _show_what_next(session, tools, done, left_out)


def _show_what_next(
    session: Session, tools: Tools, done: Rotated, left_out: Mapping[str, str]
) -> None:
    names = tuple(part.name for part in done.parts)
    if MASTER_KEY in names:
        session.print("clients  droid: nothing to do, it reads the new key within a second")
        session.print("         shells and programs that were given the key: start them again, or")
        session.print(f"         direnv reload in {PurePath(tools.lab.root)}")
    for line in (*what_next(tools.lab, names), *done.to_do):
        session.print(f"next     {line}")
    for name, words in left_out.items():
        session.print(f"left out {name}: keyturn does not make it; {words}")


def _show_preview(session: Session, found: Preview, left_out: Mapping[str, str]) -> None:
    session.document(
        {
            "old": found.old,
            "steps": [step.value for step in found.steps],
            "targets": [str(path) for path in found.targets],
            "restarts": found.restarts,
            "secrets": dict(found.secrets),
            "models": list(found.models),
            "left_out": dict(left_out),
        }
    )
    for name, old in found.secrets.items():
        session.print(f"{name} {old} -> a new value")
    for step in found.steps:
        session.print(f"  {step.value:12} {found.words[step]}")
    for path in found.targets:
        session.print(f"      {path}")
    if found.restarts:
        session.print("  the gateway restarts to see it")
    if found.models:
        session.print(f"  proven by a completion of: {', '.join(found.models)}")
    for name, words in left_out.items():
        session.print(f"left out {name}: keyturn does not make it; {words}")


def _when(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))
