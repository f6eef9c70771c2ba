"""What would change and why, as data.

`apply` carries a plan out, `plan` prints it, `check` fails if there is one: one planner.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from bootstrap.domain.content import Content, FileState, Write
from bootstrap.domain.droid import Merge, foreign_problems, lost_note, merge_models, retire_legacy
from bootstrap.domain.errors import ConflictError
from bootstrap.domain.keyset_change import keys_that_change
from bootstrap.domain.targets import Owner, Target, Touches

# Turns the bytes found (or None) and the bytes wanted into lines that are safe to show.
Diff = Callable[[bytes | None, bytes], Sequence[str]]


class Action(Enum):
    """What happens to a target."""

    CREATE = "create"
    UPDATE = "update"
    REMOVE = "remove"
    MODE = "chmod"
    CONFLICT = "conflict"
    NOTE = "note"


@dataclass(frozen=True)
class Change:
    """One target that is not as it should be.

    Attributes:
        target: Which.
        action: What happens to it; CONFLICT stops `apply`, NOTE does nothing.
        why: One clause.
        details: Lines that show the difference, redacted.
        write: What to write, or None.
        backup: Whether the file found is copied aside first.
        lab: The folder of the other lab that answers for it, where that is the conflict.
    """

    target: Target
    action: Action
    why: str
    details: tuple[str, ...] = ()
    write: Write | None = None
    backup: bool = False
    lab: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything `apply` would do.

    Attributes:
        changes: In the order in which they are carried out.
        remember: What the state file says of each target afterwards, by target name.
        gateway: Why the gateway must start or restart; empty if it need not.
        starts: Whether it is not running now.
        reload: Whether the service manager must re-read its files first.
        fresh: False where the inputs were seen to be unchanged and nothing was decrypted.
        new_keys: Names of the secrets that are made and stored first.
        inputs: What it was made from, as it stood before it was read; None where that was given.
    """

    changes: tuple[Change, ...] = ()
    remember: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gateway: str = ""
    starts: bool = False
    reload: bool = False
    fresh: bool = True
    new_keys: tuple[str, ...] = ()
    inputs: str | None = None

    @property
    def writes(self) -> tuple[Write, ...]:
        """The files to put in force."""
        return tuple(c.write for c in self.changes if c.write is not None)

    @property
    def conflicts(self) -> tuple[Change, ...]:
        """Targets that `apply` refuses to touch without --force."""
        return tuple(c for c in self.changes if c.action is Action.CONFLICT)

    @property
    def drift(self) -> tuple[Change, ...]:
        """Changes other than notes."""
        return tuple(c for c in self.changes if c.action is not Action.NOTE)

    def __bool__(self) -> bool:
        return bool(self.drift or self.gateway)


@dataclass(frozen=True)
class Decision:
    """The outcome for one target: a change or none, and what to remember of it."""

    change: Change | None
    remember: Mapping[str, Any]


def decide(
    target: Target,
    wanted: Content | None,
    found: FileState | None,
    last: Mapping[str, Any],
    *,
    gateway_url: str,
    aliases: Sequence[str],
    force: bool,
    diff: Diff,
) -> Decision:
    """Return what to do about one target.

    Args:
        target: Which.
        wanted: Its rendered bytes; None for targets that nothing is rendered for.
        found: What stands there, or None.
        last: What the state remembers of it; empty if keyturn never wrote it.
        gateway_url: The gateway's base URL, by which droid's entries are recognised.
        aliases: The catalogue's aliases.
        force: Overwrite what was edited by hand, keeping a backup.
        diff: Shows a difference safely.
    """
    if target.owner is Owner.DROID and wanted is not None:
        return _droid(target, wanted, found, last, gateway_url, force)
    if target.owner is Owner.CLAUDE and wanted is not None:
        from bootstrap.domain.plan_claude import decide_claude  # which needs this module

        return decide_claude(target, wanted, found, last, force)
    if target.owner is Owner.KEYSET and wanted is not None:
        return _keyset(target, wanted, found)
    if target.owner is Owner.LEGACY:
        return _legacy(target, found, gateway_url, aliases)
    if wanted is None:
        return Decision(None, last)
    return _whole(target, wanted, found, last, force, diff)


def _whole(
    target: Target,
    wanted: Content,
    found: FileState | None,
    last: Mapping[str, Any],
    force: bool,
    diff: Diff,
) -> Decision:
    remember = {"path": str(target.path), "digest": wanted.digest}
    if found is None:
        return Decision(_change(target, Action.CREATE, "missing", wanted, None, diff), remember)
    if found.content == wanted:
        if found.mode == target.mode:
            return Decision(None, remember)
        why = f"mode is {found.mode:04o}, should be {target.mode:04o}"
        return Decision(_change(target, Action.MODE, why, wanted, found, diff), remember)
    if found.content.digest in (last.get("digest"), last.get("next")):
        return Decision(
            _change(target, Action.UPDATE, "out of date", wanted, found, diff), remember
        )
    why = (
        "edited by hand since keyturn wrote it" if last.get("digest") else "not written by keyturn"
    )
    if force:
        change = _change(target, Action.UPDATE, f"{why}; replaced by --force", wanted, found, diff)
        return Decision(replace(change, backup=True), remember)
    details = tuple(diff(found.content.data, wanted.data))
    kind = Action.NOTE if target.owner is Owner.GUEST else Action.CONFLICT
    return Decision(Change(target, kind, why, details), last)


def _keyset(target: Target, wanted: Content, found: FileState | None) -> Decision:
    remember = {"path": str(target.path), "digest": wanted.digest}
    details: tuple[str, ...] = ()
    if found is None:
        why, action = "missing", Action.CREATE
    elif found.content != wanted:
        details = keys_that_change(found.content.data, wanted.data)
        why, action = "it does not name the keys in force, and only those", Action.UPDATE
    elif found.mode != target.mode:
        why, action = f"mode is {found.mode:04o}, should be {target.mode:04o}", Action.MODE
    else:
        return Decision(None, remember)
    write = Write.over(found, target.path, wanted, target.mode)
    return Decision(Change(target, action, why, details, write), remember)


def _droid(
    target: Target,
    wanted: Content,
    found: FileState | None,
    last: Mapping[str, Any],
    gateway_url: str,
    force: bool,
) -> Decision:
    entries = json.loads(wanted.data)["customModels"]
    current = None if found is None else found.content.data

    def merge(data: bytes | None) -> Merge:
        known = last.get("entries", {})
        return merge_models(data, entries, gateway_url=gateway_url, last_written=known, force=force)

    def again(data: bytes) -> Content:
        merged = merge(data)
        if merged.conflicts:
            raise ConflictError(
                f"{target.path} changed while keyturn worked",
                why=f"edited by hand: {', '.join(merged.conflicts)}",
                fix="keyturn plan shows it",
            )
        return Content(merged.data)

    merged = merge(current)
    remember = {"path": str(target.path), "entries": dict(merged.written)}
    notes = () if current is None else _droid_notes(current, merged.lost_default)
    details = (*(str(change) for change in merged.changes), *notes)
    if merged.conflicts:
        why = f"edited by hand: {', '.join(merged.conflicts)}"
        return Decision(Change(target, Action.CONFLICT, why, details), last)
    if found is not None and merged.data == current:
        return Decision(_droid_unchanged(target, found, notes), remember)
    if found is None and not entries:
        return Decision(None, remember)
    mode = found.mode & 0o700 if found else 0o600
    write = Write.over(found, target.path, Content(merged.data), mode, again)
    action = Action.CREATE if found is None else Action.UPDATE
    why = "missing" if found is None else "our model entries differ"
    return Decision(
        Change(target, action, why, details, write, backup=force and found is not None), remember
    )


def _droid_unchanged(target: Target, found: FileState, notes: tuple[str, ...]) -> Change | None:
    """Return what is left to do or to say where our entries are as they should be."""
    if found.mode & 0o077:
        why = f"mode is {found.mode:04o}, and a key stands in it"
        write = Write.over(found, target.path, found.content, 0o600)
        return Change(target, Action.MODE, why, notes, write)
    if notes:
        return Change(target, Action.NOTE, "droid does not read it as it is", notes)
    return None


def _droid_notes(current: bytes, lost_default: str | None) -> tuple[str, ...]:
    """Return what the user should know about the file, beyond what we change in it."""
    ignored = tuple(
        f"note: droid ignores the whole file: {problem}" for problem in foreign_problems(current)
    )
    return ignored if lost_default is None else (*ignored, lost_note(lost_default))


def _legacy(
    target: Target, found: FileState | None, gateway_url: str, aliases: Sequence[str]
) -> Decision:
    if found is None:
        return Decision(None, {})
    legacy = retire_legacy(found.content.data, aliases=aliases, gateway_url=gateway_url)
    notes = tuple(
        f"kept {name}: it asks this gateway for a model that lab.toml does not have"
        for name in legacy.kept
    )
    if legacy.problem:
        why = f"legacy file that droid cannot read: {legacy.problem}"
        return Decision(Change(target, Action.NOTE, why), {})
    if not legacy.removed:
        note = Change(target, Action.NOTE, "legacy file with models of its own", notes)
        return Decision(note if notes else None, {})
    details = (*(f"- {name} (now in settings.json)" for name in legacy.removed), *notes)
    content = None if legacy.data is None else Content(legacy.data)
    write = Write.over(found, target.path, content, found.mode & 0o700 or 0o600)
    if content is None:
        why = "legacy file: droid copies its models into settings.json, where they go stale"
        return Decision(Change(target, Action.REMOVE, why, details, write, backup=True), {})
    why = "legacy copies of our models"
    return Decision(Change(target, Action.UPDATE, why, details, write, backup=True), {})


def _change(
    target: Target, action: Action, why: str, wanted: Content, found: FileState | None, diff: Diff
) -> Change:
    old = None if found is None else found.content.data
    details = () if action is Action.MODE else tuple(diff(old, wanted.data))
    return Change(target, action, why, details, Write.over(found, target.path, wanted, target.mode))


def gateway_reason(changes: Sequence[Change]) -> str:
    """Return why these changes make the gateway restart; empty if they do not."""
    names = [
        c.target.path.name
        for c in changes
        if c.target.touches is not Touches.NOTHING
        and c.write is not None
        and c.action is not Action.MODE
    ]
    return f"{', '.join(names)} changed" if names else ""
