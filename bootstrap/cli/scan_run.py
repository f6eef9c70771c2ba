"""What `keyturn scan` does and shows."""

import re
import time
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from rich.text import Text

from bootstrap.cli.session import Session
from bootstrap.domain.errors import ExitCode, Interrupted, UsageError
from bootstrap.domain.scan_keys import SoughtKey, State
from bootstrap.domain.scan_places import Find, Kind, Level, exit_code, shown_name
from bootstrap.wiring import found_lab, labs, rotations
from bootstrap.wiring import scan as wiring
from bootstrap.workflows.scan import Scanned, scan, sought

_STYLE = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.EXPECTED: "dim"}
_FINGERPRINT = re.compile("[0-9a-f]{8}")
_MOST_LINES_SHOWN = 8


def run(
    session: Session,
    paths: Sequence[str],
    marks: Sequence[str],
    *,
    only: bool,
    spared: Sequence[str],
) -> int:
    """Search, show what was found, and return the exit status.

    Args:
        session: Where to show it.
        paths: What the user named.
        marks: Further fingerprints, as the user wrote them.
        only: Search nothing but `paths`.
        spared: Paths to leave out.

    Raises:
        UsageError: The words do not fit.
        Interrupted: Ctrl-C; what was found by then is shown.
    """
    marks = [mark.lower() for mark in marks]
    _check(paths, marks, only=only)
    tools = labs.tools(session.root(), session.progress)
    entries, _ = rotations.audit(tools.lab.root).entries()
    what = sought(tools, labs.rotation(tools), entries, marks)
    hunter, short = wiring.hunter(what)
    haystacks = wiring.haystacks(tools, paths, only=only, spared=spared)
    result, started = Scanned(what.keys), time.monotonic()
    try:
        scan(result, hunter, haystacks, session.progress)
    except KeyboardInterrupt:
        _show(session, result, short, time.monotonic() - started)
        stop = Interrupted(2)
        stop.outcome = "the search is not complete; nothing was changed"
        raise stop from None
    _show(session, result, short, time.monotonic() - started)
    return exit_code(result.finds)


def _check(paths: Sequence[str], marks: Sequence[str], *, only: bool) -> None:
    if only and not paths:
        raise UsageError(
            "--only is about the paths that are named", why="there are none", fix="name one"
        )
    for mark in marks:
        if not _FINGERPRINT.fullmatch(mark):
            raise UsageError(
                "that is no fingerprint",
                why="it is not 8 hexadecimal digits",
                fix="see: keyturn rotate --log, keyturn list",
            )


def _show(session: Session, result: Scanned, short: Sequence[str], took_s: float) -> None:
    session.document(_data(result, short))
    home = found_lab.home()
    shown = result.finds if session.verbose else result.unwanted
    for key in result.keys:
        rows = [find for find in shown if find.key == key]
        if rows:
            session.print(
                Text.assemble((f"{key.name} {key.fingerprint}", "bold"), f"  {state(key)}")
            )
        for row in rows:
            where = _where(row, home)
            session.print(Text.assemble((f"  {row.level.value:9}", _STYLE[row.level]), where))
            session.print(Text.assemble("           ", (row.means, "dim")))
            if row.next:
                session.print(f"           next: {row.next}")
    for path, why in result.left_out if session.verbose else ():
        session.print(Text(f"left out   {_short(path, home)}: {why}", style="dim"))
    for name in short:
        session.print(f"note       {name} is too short to be looked for")
    session.print(_summary(result, took_s))


def state(key: SoughtKey) -> str:
    """Return what a key is good for, in words."""
    if key.state is State.IN_FORCE:
        return "in force"
    if key.state is State.OTHER:
        return "the other key of a rotation that is not closed"
    if key.state is State.ACCEPTED:
        return "accepted" if key.at is None else f"accepted until {_when(key.at)}"
    return "rotated out" if key.at is None else f"rotated out on {_when(key.at)}"


def _when(epoch: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(epoch))


def _where(find: Find, home: PurePath) -> str:
    place = find.place
    text = _short(place.name, home)
    if find.lines:
        lines = ",".join(str(line) for line in find.lines[:_MOST_LINES_SHOWN])
        more = len(find.lines) - _MOST_LINES_SHOWN
        text += f":{lines}{f' and {more} more lines' if more > 0 else ''}"
    elif place.kind is Kind.FILE:
        text += f", at byte {find.offset}"
    if place.kind is Kind.FILE_NAME:
        text += ", in its name"
    if place.kind is Kind.ARGUMENTS:
        text += ": its arguments"
    if place.part:
        what = "variable " if place.kind in (Kind.ENVIRONMENT, Kind.MANAGER) else ""
        text += f": {what}{shown_name(place.part)}"
    return f"{text} (encoded)" if find.encoded else text


def _short(name: bytes, home: PurePath) -> str:
    text, start = shown_name(name), f"{home}/"
    return f"~/{text[len(start) :]}" if text.startswith(start) else text


def _summary(result: Scanned, took_s: float) -> Text:
    searched = (
        f"searched {result.files} files and {result.others} other things, "
        f"{result.size / 1e6:.0f} MB, for {len(result.keys)} keys in {took_s:.1f} s"
    )
    if result.left_out:
        searched += f"; {len(result.left_out)} were left out (-v)"
    if not result.complete:
        return Text(f"not complete: {searched}", style="bold yellow")
    nothing = not result.files and not result.others
    verdict = "" if result.unwanted or nothing else "No key lies where it should not. "
    return Text.assemble((verdict, "bold green"), (searched, "dim"))


def _data(result: Scanned, short: Sequence[str]) -> dict[str, Any]:
    return {
        "exit_code": exit_code(result.finds) if result.complete else ExitCode.INTERRUPTED,
        "complete": result.complete,
        "keys": [
            {
                "name": key.name,
                "fingerprint": key.fingerprint,
                "state": key.state.name.lower(),
                "at": key.at,
                "found": [_found(find) for find in result.finds if find.key == key],
            }
            for key in result.keys
        ],
        "searched": {"files": result.files, "others": result.others, "bytes": result.size},
        "left_out": [{"name": shown_name(name), "why": why} for name, why in result.left_out],
        "too_short": list(short),
    }


def _found(find: Find) -> dict[str, Any]:
    return {
        "kind": find.place.kind.value,
        "place": shown_name(find.place.name),
        "part": shown_name(find.place.part) or None,
        "lines": list(find.lines),
        "offset": find.offset,
        "encoded": find.encoded,
        "level": find.level.value,
        "means": find.means,
        "next": find.next or None,
    }
