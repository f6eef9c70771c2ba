"""Rotations as text for people, and as data for --json."""

import time
from collections.abc import Mapping
from typing import Any

from bootstrap.cli.rotation_choice import what_next
from bootstrap.cli.session import Session
from bootstrap.domain.audit import Entry
from bootstrap.domain.client_effects import effects
from bootstrap.domain.duration import show_ago, show_duration
from bootstrap.domain.rotatable import Kind, kind_of
from bootstrap.domain.rotation import Record, verb
from bootstrap.domain.secret_spec import GENERATED, MASTER_KEY
from bootstrap.domain.uses import KeyUse, ProgramUse
from bootstrap.wiring.calling import called
from bootstrap.workflows.recover import Recovered
from bootstrap.workflows.rotate import Rotated
from bootstrap.workflows.rotation_preview import Preview
from bootstrap.workflows.rotation_status import Stands, Status
from bootstrap.workflows.tools import Tools

_MOST_NAMED = 12


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
            "old": [
                {"name": o.part.name, "fingerprint": o.part.old, "used": use_data(o.use, o.users)}
                for o in found.old
            ],
            "note": found.problem or None,
            "exit_code": found.exit_code,
        }
    )
    if last is None:
        session.print("No rotation yet.")
        return
    for part in last.parts:
        session.print(f"{part.name} {part.old} -> {part.new}: {last.step.value} {when(last.at)}")
    for line in _comes_next(found.stands, last):
        session.print(line)
    if found.stands in (Stands.WAITING, Stands.UNUSED, Stands.OVER):
        _show_users(session, found)


def _comes_next(stands: Stands, last: Record) -> list[str]:
    if stands is Stands.LEFT_OPEN:
        return ["it was left open; next: keyturn recover"]
    if stands is Stands.RUNNING:
        return ["another keyturn works on it"]
    if last.retire_at is None or stands is Stands.ENDED:
        return []
    until, old = when(last.retire_at), last.old_words
    recover = "the next keyturn command that writes, or now: keyturn recover"
    if stands is Stands.OVER:
        return [grace_over(last), f"it is forgotten with {recover}"]
    if stands is Stands.UNUSED:
        unused = f"nobody uses {old} any more; accepted until {until} all the same"
        return [unused, f"it is retired by {recover}"]
    lines = [f"the old key is accepted until {until}; to end it now: keyturn rotate --resume"]
    if last.idle_s is not None:
        lines.append(
            f"once nobody has used it for {show_duration(last.idle_s)}, the next keyturn command "
            "that writes retires it"
        )
    return lines


def grace_over(last: Record) -> str:
    """Say that the grace time of a rotation has ended: only the guard acts on that by itself."""
    until, old = when(last.retire_at or 0.0), last.old_words
    if all(part.name in GENERATED for part in last.parts):
        return f"the gateway refuses {old} since {until}"
    return f"the time of {old} was over at {until}, but a Redis still accepts its old password"


def _show_users(session: Session, found: Status) -> None:
    if found.problem:
        session.print(f"note     who uses it is not known, of the counts: {found.problem}")
        return
    for old in found.old:
        for line in used_by(old.users):
            session.print(f"used by  {line}: {old.part.name} {old.part.old}")
    if not found.users:
        session.print("used by  nobody since the new one is in force")


def show_log(session: Session, entries: list[Entry], damaged: int) -> None:
    """Print the audit record, oldest first."""
    session.document({"rotations": [entry.to_dict() for entry in entries], "damaged": damaged})
    for entry in entries:
        until = entry.accepted_until
        more = f"  old accepted until {when(until)}" if until is not None else ""
        for part in entry.parts:
            words = f"{entry.event.value:8} {part.name} {part.old} -> {part.new}"
            session.print(f"{when(entry.at)}  {words}{more}")
    if damaged:
        session.print(f"{damaged} lines are not sound")
    elif not entries:
        session.print("No rotation yet.")


def show_rotated(
    session: Session,
    tools: Tools,
    done: Rotated,
    held_by: tuple[ProgramUse, ...],
    left_out: Mapping[str, str],
) -> None:
    """Print the summary: what was done, until when the old keys work, what each client needs.

    Args:
        session: Where to.
        tools: The lab and everything around it.
        done: What was done.
        held_by: The programs for whose sake there is a grace time that nobody asked for.
        left_out: What `--all` left out: the command for each, by name.
    """
    names = tuple(part.name for part in done.parts)
    after = effects(tools.lab, called(tools.lab.root), names)
    session.document(
        {
            "old": done.old,
            "new": done.new,
            "retire_at": done.retire_at,
            "idle_s": done.idle_s,
            "held_by": [vars(user) for user in held_by],
            "targets": list(done.files),
            "secrets": [{"name": p.name, "old": p.old, "new": p.new} for p in done.parts],
            "restarted": done.restarted,
            "clients": [
                {"client": e.client, "action": e.effort.value, "how": e.words} for e in after
            ],
            "to_do": list(done.to_do),
            "left_out": dict(left_out),
        }
    )
    for part in done.parts:
        name = "" if part.name == MASTER_KEY else f"{part.name} "
        stored_only = kind_of(tools.lab, part.name) is Kind.OTHER
        proof = "stored" if stored_only else f"proven at {tools.gateway.url}"
        session.print(f"rotated  {name}{part.old} -> {part.new}, {proof}")
    named, more = ", ".join(done.files[:_MOST_NAMED]), len(done.files) - _MOST_NAMED
    session.print(f"targets  {named or 'none'}{f' and {more} more' if more > 0 else ''}")
    if done.restarted:
        session.print(f"gateway  a fresh {tools.service.name} serves ({tools.service.kind})")
    _show_grace(session, done, held_by)
    width = max((len(effect.client) for effect in after), default=0)
    for number, effect in enumerate(after):
        label = "" if number else "clients"
        words = f"{effect.client:{width}}  {effect.effort.value:10}  {effect.words}"
        session.print(f"{label:8} {words}")
    for line in (*what_next(tools.lab, names), *done.to_do):
        session.print(f"next     {line}")
    session.print("next     where the old key still lies: keyturn scan")
    _show_left_out(session, left_out)


def _show_grace(session: Session, done: Rotated, held_by: tuple[ProgramUse, ...]) -> None:
    if done.retire_at is None:
        return
    left = show_duration(max(0.0, done.retire_at - time.time()))
    old = ", ".join(part.old for part in done.parts)
    until = when(done.retire_at)
    session.print(f"grace    {old} {verb(old)} accepted for {left}, until {until}")
    if done.idle_s is not None:
        idle = show_duration(done.idle_s)
        session.print(f"         or until nobody has used it for {idle}; keyturn rotate --status")
    for line in used_by(held_by):
        session.print(f"held by  {line}")


def _show_left_out(session: Session, left_out: Mapping[str, str]) -> None:
    for name, words in left_out.items():
        session.print(f"left out {name}: keyturn does not make it; {words}")


def show_settled(session: Session, done: Recovered) -> None:
    """Print what `recover` found and did."""
    session.document(vars(done))
    new, old = done.in_force, done.refused
    if done.outcome == "nothing":
        session.print("No rotation is open.")
    elif done.outcome == "waiting" and done.retire_at is not None:
        session.print(
            f"{new} {verb(new)} in force; {old} {verb(old)} accepted until "
            f"{when(done.retire_at)}; to end it now: keyturn rotate --resume"
        )
    else:
        words = f"{new} {verb(new)} in force, {old} {verb(old)} not"
        session.print(f"{done.outcome}: {words}")


def show_preview(
    session: Session,
    found: Preview,
    held_by: tuple[ProgramUse, ...],
    left_out: Mapping[str, str],
) -> None:
    """Print the protocol, the targets, and who holds the keys in force."""
    session.document(
        {
            "old": found.old,
            "steps": [step.value for step in found.steps],
            "targets": [str(path) for path in found.targets],
            "restarts": found.restarts,
            "secrets": dict(found.secrets),
            "models": list(found.models),
            "held_by": [vars(user) for user in held_by],
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
        session.print("  the gateway restarts")
    if found.models:
        session.print(f"  proven by a completion of: {', '.join(found.models)}")
    for line in used_by(held_by):
        session.print(f"  held by  {line}")
    _show_left_out(session, left_out)
