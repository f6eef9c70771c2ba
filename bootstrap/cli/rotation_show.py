"""Rotations as text for people, and as data for --json."""

import time
from typing import Any

from bootstrap.cli.session import Session
from bootstrap.domain.audit import Entry
from bootstrap.domain.client_effects import Effect
from bootstrap.domain.duration import show_ago, show_duration
from bootstrap.domain.rotation import Record
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.uses import KeyUse, ProgramUse
from bootstrap.workflows.recover import Recovered
from bootstrap.workflows.rotate import Rotated
from bootstrap.workflows.rotation_preview import Preview
from bootstrap.workflows.rotation_status import Stands, Status
from bootstrap.workflows.tools import Tools


def when(epoch: float) -> str:
    """Return a time as the local clock shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch))


def used_by(users: tuple[ProgramUse, ...]) -> list[str]:
    """Return a line for each program that used a key."""
    now = time.time()
    return [
        f"{user.program} ({user.requests} in all, last {when(user.last_seen)}, "
        f"{show_ago(now - user.last_seen)})"
        for user in users
    ]


def use_data(use: KeyUse, users: tuple[ProgramUse, ...] | None = None) -> dict[str, Any]:
    """Return how a key was used, for --json; `users` instead of all its programs."""
    return {
        "count": use.count,
        "last_seen": use.last_seen or None,
        "refused": use.refused,
        "last_refused": use.last_refused or None,
        "programs": [vars(user) for user in (use.programs if users is None else users)],
    }


def show_status(session: Session, found: Status) -> None:
    """Print how the last rotation stands, who still uses its old key, and what comes next."""
    last = found.last
    session.document(
        {
            "open": found.stands not in (Stands.NONE, Stands.ENDED),
            "stands": found.stands.value,
            "last": last.to_dict() if last else None,
            "old_key": use_data(found.use, found.users) if last else None,
            "note": found.problem or None,
            "exit_code": found.exit_code,
        }
    )
    if last is None:
        session.print("No rotation yet.")
        return
    session.print(f"{last.name} {last.old} -> {last.new}: {last.step.value} {when(last.at)}")
    for line in _comes_next(found.stands, last):
        session.print(line)
    if found.stands in (Stands.WAITING, Stands.UNUSED, Stands.OVER):
        _show_users(session, found, last)


def _comes_next(stands: Stands, last: Record) -> list[str]:
    if stands is Stands.LEFT_OPEN:
        return ["it was left open; next: keyturn recover"]
    if stands is Stands.RUNNING:
        return ["another keyturn works on it"]
    if last.retire_at is None or stands is Stands.ENDED:
        return []
    until = when(last.retire_at)
    recover = "the next keyturn command that writes, or now: keyturn recover"
    if stands is Stands.OVER:
        ended = f"the gateway refuses {last.old} since {until}"
        return [ended, f"the store forgets it with {recover}"]
    if stands is Stands.UNUSED:
        unused = f"nobody uses {last.old} any more; accepted until {until} all the same"
        return [unused, f"it is retired by {recover}"]
    lines = [f"the old key is accepted until {until}; to end it now: keyturn rotate --resume"]
    if last.idle_s is not None:
        lines.append(
            f"once nobody has used it for {show_duration(last.idle_s)}, the next keyturn command "
            "that writes retires it"
        )
    return lines


def _show_users(session: Session, found: Status, last: Record) -> None:
    if found.problem:
        session.print(f"note     who uses {last.old} is not known, of the counts: {found.problem}")
        return
    for line in used_by(found.users):
        session.print(f"used by  {line}")
    if not found.users:
        session.print(f"used by  nobody since {last.new} is in force")


def show_log(session: Session, entries: list[Entry], damaged: int) -> None:
    """Print the audit record, oldest first."""
    session.document({"rotations": [entry.to_dict() for entry in entries], "damaged": damaged})
    for entry in entries:
        until = entry.accepted_until
        more = f", {entry.old} accepted until {when(until)}" if until is not None else ""
        session.print(
            f"{when(entry.at)}  {entry.event.value:8} {entry.name} {entry.old} -> {entry.new}{more}"
        )
    if damaged:
        session.print(f"{damaged} lines are not sound")
    elif not entries:
        session.print("No rotation yet.")


def show_rotated(
    session: Session,
    tools: Tools,
    done: Rotated,
    held_by: tuple[ProgramUse, ...],
    after: tuple[Effect, ...],
) -> None:
    """Print the summary: what was done, until when the old key works, what each client needs.

    Args:
        session: Where to.
        tools: The lab and everything around it.
        done: What was done.
        held_by: The programs for whose sake there is a grace time that nobody asked for.
        after: What each client needs.
    """
    session.document(
        {
            "old": done.old,
            "new": done.new,
            "retire_at": done.retire_at,
            "idle_s": done.idle_s,
            "held_by": [vars(user) for user in held_by],
            "targets": list(done.files),
            "clients": [
                {"client": e.client, "action": e.effort.value, "how": e.words} for e in after
            ],
        }
    )
    session.print(f"rotated  {done.old} -> {done.new}, proven at {tools.gateway.url}")
    session.print(f"targets  {', '.join(done.files)}")
    if done.retire_at is not None:
        left = show_duration(max(0.0, done.retire_at - time.time()))
        session.print(f"grace    {done.old} is accepted for {left}, until {when(done.retire_at)}")
        if done.idle_s is not None:
            idle = show_duration(done.idle_s)
            session.print(
                f"         or until nobody has used it for {idle}; keyturn rotate --status"
            )
    for line in used_by(held_by):
        session.print(f"held by  {line}")
    width = max(len(effect.client) for effect in after)
    for number, effect in enumerate(after):
        label = "" if number else "clients"
        session.print(
            f"{label:8} {effect.client:{width}}  {effect.effort.value:10}  {effect.words}"
        )


def show_settled(session: Session, done: Recovered) -> None:
    """Print what `recover` found and did."""
    session.document(vars(done))
    if done.outcome == "nothing":
        session.print("No rotation is open.")
    elif done.outcome == "waiting" and done.retire_at is not None:
        session.print(
            f"{done.in_force} is in force; {done.refused} is accepted until "
            f"{when(done.retire_at)}; to end it now: keyturn rotate --resume"
        )
    else:
        session.print(f"{done.outcome}: {done.in_force} is in force, {done.refused} is refused")


def show_preview(session: Session, found: Preview, held_by: tuple[ProgramUse, ...]) -> None:
    """Print the protocol, the targets, and who holds the key in force."""
    session.document(
        {
            "old": found.old,
            "steps": [step.value for step in found.steps],
            "targets": [str(path) for path in found.targets],
            "restarts": found.restarts,
            "held_by": [vars(user) for user in held_by],
        }
    )
    session.print(f"{MASTER_KEY} {found.old} -> a new random key")
    for step in found.steps:
        session.print(f"  {step.value:12} {found.words[step]}")
    for path in found.targets:
        session.print(f"      {path}")
    for line in used_by(held_by):
        session.print(f"  held by  {line}")
