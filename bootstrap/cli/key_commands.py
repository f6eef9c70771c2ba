"""`keyturn key`: client keys, issued, listed, revoked and rotated one by one."""

import time
from pathlib import PurePath
from typing import Annotated

import typer

from bootstrap.cli.rotation_commands import rotate_names
from bootstrap.cli.rotation_show import use_data
from bootstrap.cli.session import JsonOption, Session, command
from bootstrap.domain.duration import parse_duration, show_ago, show_duration
from bootstrap.domain.errors import UsageError
from bootstrap.domain.lab import ClientKey, Lab
from bootstrap.domain.table import did_you_mean
from bootstrap.domain.uses import USES_FILE, Counters
from bootstrap.wiring import found_lab, keys, labs
from bootstrap.workflows import client_keys
from bootstrap.workflows.uses import counters

NameArgument = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
TtlOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="For how long it is accepted: 90m, 8h, 30d.", show_default=False
    ),
]
RevealOption = Annotated[bool, typer.Option("--reveal", help="Allow a terminal to show it.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Client keys: keys of limited scope and life, for programs and people.",
        short_help="Client keys: keys of limited scope and life, for programs and people.",
    )
    command(
        group,
        "issue",
        examples=(
            "keyturn key issue reviewer --models lab-echo --ttl 8h | pass insert -m lab/reviewer",
            "keyturn key issue laptop --reveal",
        ),
    )(issue)
    command(group, "list", examples=("keyturn key list", "keyturn key list --json"))(list_keys)
    command(group, "revoke", examples=("keyturn key revoke reviewer",))(revoke)
    command(
        group,
        "rotate",
        examples=(
            "keyturn key rotate reviewer --ttl 8h | pass insert -m lab/reviewer",
            "keyturn key rotate droid",
            "keyturn key rotate --all",
        ),
    )(rotate)
    app.add_typer(group, name="key")


def issue(
    session: Session,
    name: NameArgument,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="ALIAS,…", help="The only models it may use [default: all]", show_default=False
        ),
    ] = None,
    ttl: TtlOption = None,
    reveal: RevealOption = False,
) -> None:
    """Make a key, put it in force at the next request, and write it to a pipe, once.

    The gateway keeps a digest only. Without --ttl the key has no end.
    """
    keys.refuse_terminal(reveal=reveal)
    root = session.root()
    scope = _scope(found_lab.load(root), models)
    end = _seconds(ttl, "--ttl")
    client_keys.issue(keys.desk(root), name, scope, end, give=keys.write)
    session.progress.note(f"{name}: in force at the next request; this was the only time it shows")


def list_keys(session: Session, as_json: JsonOption = False) -> None:
    """Show the client keys: names, fingerprints, models, ends and uses, never a key."""
    now = time.time()
    desk = keys.desk(session.root())
    found = client_keys.listed(desk)
    uses = counters(desk.files, desk.path.parent)
    rows = [
        {
            "name": key.name,
            "replaced": key.is_replaced,
            "of": "lab" if key.is_labs else "issued",
            "fingerprint": key.fingerprint,
            "models": None if key.models is None else list(key.models),
            "not_after": key.not_after,
            "expired": not key.is_valid(now),
            "used": None if uses.problem else use_data(uses.of(key.fingerprint)),
        }
        for key in found
    ]
    session.document({"keys": rows, "note": uses.problem or None})
    for key in found:
        scope = "all models" if key.models is None else ", ".join(key.models)
        used = _used(uses, key.fingerprint, now)
        session.print(f"{key.name}  {key.fingerprint}  {used}  {scope}  {_end(key.not_after, now)}")
    if not rows:
        session.print("no client keys")
    if uses.problem:
        session.print(f"note: who uses them is not known, of {USES_FILE}: {uses.problem}")


def revoke(session: Session, name: NameArgument) -> None:
    """Take a key out of force, at the next request."""
    root = session.root()
    if _own(found_lab.load(root), name):
        raise UsageError(
            f"{name} has the lab's own key for it",
            why="client_keys in lab.toml gives it one, and keyturn apply would put it back",
            fix=f"keyturn key rotate --now {name}; or write client_keys = false, keyturn apply",
        )
    if not client_keys.revoke(keys.desk(root), name):
        raise client_keys.unknown(name)
    session.print(f"revoked  {name}")


def rotate(
    session: Session,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The key.", show_default=False)
    ] = None,
    ttl: TtlOption = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Accept the old key for this long, too.", show_default=False
        ),
    ] = None,
    now: Annotated[bool, typer.Option("--now", help="No grace time: the key has leaked.")] = False,
    whole: Annotated[
        bool, typer.Option("--all", help="Every key that client_keys in lab.toml gives.")
    ] = False,
    reveal: RevealOption = False,
    as_json: JsonOption = False,
) -> None:
    """Replace a key by a fresh one of the same scope.

    A key that was issued: written to a pipe; without --ttl its end stays as it was, without
    --grace the old one is refused at once. A key that client_keys in lab.toml gives a client:
    as keyturn rotate does it, in the store and the client's files, proven.
    """
    if (name is None) is not whole or (now and grace):
        raise UsageError(
            "these words do not go together",
            why="it takes either a NAME or --all, and either --grace or --now",
            fix="keyturn key rotate NAME",
        )
    root = session.root()
    lab = found_lab.load(root)
    own = lab.client_keys if name is None else _own(lab, name)
    if name is None or own:
        if ttl is not None:
            why = "the key that the lab gives a client has no end"
            raise UsageError("bad --ttl", why=why, fix="leave it out")
        _rotate_own(session, root, own, grace, now=now)
        return
    grace_s = _seconds(grace, "--grace")
    keys.refuse_terminal(reveal=reveal)
    new_end = _seconds(ttl, "--ttl")
    client_keys.rotate(keys.desk(root), name, new_end, grace_s or 0.0, give=keys.write)
    end = f"in {show_duration(grace_s)}" if grace_s else "at the next request"
    session.progress.note(f"{name}: the old key is refused {end}")


def _rotate_own(
    session: Session,
    root: PurePath,
    own: tuple[ClientKey, ...],
    grace: str | None,
    *,
    now: bool,
) -> None:
    if not own:
        raise UsageError(
            "no client has a key of its own",
            why="client_keys in lab.toml gives none",
            fix="write client_keys = true in lab.toml, then: keyturn apply",
        )
    tools = labs.tools(root, session.progress)
    names = tuple(key.secret for key in own if tools.lab.scope(key))
    rotate_names(session, root, tools, names, grace, now=now)


def _own(lab: Lab, name: str) -> tuple[ClientKey, ...]:
    return tuple(key for key in lab.client_keys if key.client == name)


def _scope(lab: Lab, text: str | None) -> list[str] | None:
    if text is None:
        return None
    aliases = [model.alias for model in lab.models]
    wanted = [word.strip() for word in text.split(",") if word.strip()]
    for alias in wanted:
        if alias not in aliases:
            why = "no entry under [[models]] in lab.toml"
            raise UsageError(
                f"there is no model {alias}", why=why, fix=did_you_mean(alias, aliases)
            )
    if not wanted:
        fix = f"use one of: {', '.join(aliases)}"
        raise UsageError("bad --models", why="it names no model", fix=fix)
    return wanted


def _seconds(text: str | None, option: str) -> float | None:
    if text is None:
        return None
    seconds = parse_duration(text)
    if not seconds:
        why = "it is not a duration above 0, of 100 years at most"
        raise UsageError(f"bad {option}", why=why, fix="write 90m, 8h or 30d")
    return seconds


def _used(uses: Counters, fingerprint: str, now: float) -> str:
    """Return when a key was used last, and by which program."""
    if uses.problem:
        return "use unknown"
    use = uses.of(fingerprint)
    last = use.last_by_others()
    if not last:
        return "never used"
    by = f" by {use.users(0)[0].program}" if use.users(0) else ""
    return f"used {show_ago(now - last)}{by}"


def _end(not_after: float | None, now: float) -> str:
    if not_after is None:
        return "no end"
    return "expired" if not_after <= now else f"for {show_duration(not_after - now)}"
