"""What to do about Claude Code's `settings.json`: our members in it, every other byte kept.

The file is somebody else's: a member that has another value than we left there is a conflict, and
`--force` settles it with a backup. Claude Code ignores a file with a comment or an error in it, so
such a file is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bootstrap.domain.content import Content, FileState, Write
from bootstrap.domain.droid_schema import same_gateway
from bootstrap.domain.errors import TargetError
from bootstrap.domain.json_members import set_members
from bootstrap.domain.jsonc import MalformedJson
from bootstrap.domain.plan import Action, Change, Decision
from bootstrap.domain.targets import Target

Leaves = dict[tuple[str, ...], object]
_ADDRESS = ("env", "ANTHROPIC_BASE_URL")
_MODEL = ("model",)
_TOKEN = ("env", "ANTHROPIC_AUTH_TOKEN")


def decide_claude(
    target: Target, wanted: Content, found: FileState | None, last: Mapping[str, Any], force: bool
) -> Decision:
    """Return what to do about the file; see `bootstrap.domain.plan.decide`.

    Raises:
        TargetError: The file is no strict JSON object.
    """
    leaves = _leaves(json.loads(wanted.data))
    current = None if found is None else found.content.data
    there = _leaves(_parsed(target, current, leaves))
    before: Mapping[str, Any] = last.get("leaves", {})
    mine = [path for path, value in there.items() if before.get(".".join(path)) == _digest(value)]
    if same_gateway(there.get(_ADDRESS), str(leaves.get(_ADDRESS))):
        mine.append(_TOKEN)  # it opens our gateway, whichever key of a rotation it is
    if _MODEL in there and _MODEL not in mine:
        leaves.pop(_MODEL, None)  # somebody's choice is theirs
    leaves |= {path: None for path in mine if path not in leaves}
    changed = {path: value for path, value in leaves.items() if there.get(path) != value}
    remember = {
        "path": str(target.path),
        "leaves": {
            ".".join(p): _digest(v) for p, v in leaves.items() if v is not None and p != _TOKEN
        },
    }
    theirs = [".".join(p) for p in changed if there.get(p) is not None and p not in mine]
    names = tuple(
        f"{'remove' if value is None else 'set'} {'.'.join(path)}"
        for path, value in changed.items()
    )
    if theirs and not force:
        why = f"set by somebody else: {', '.join(theirs)}"
        return Decision(Change(target, Action.CONFLICT, why, names), last)
    if not changed and found is not None:
        return Decision(_mode(target, found), remember)
    data = set_members(current, changed)
    mode = 0o600 if found is None else found.mode & 0o700
    write = Write.over(found, target.path, Content(data), mode)
    action = Action.CREATE if found is None else Action.UPDATE
    why = "missing" if found is None else "our settings differ"
    backup = bool(theirs)
    return Decision(Change(target, action, why, names, write, backup), remember)


def _mode(target: Target, found: FileState) -> Change | None:
    if not target.secret or not found.mode & 0o077:
        return None
    why = f"mode is {found.mode:04o}, and a key stands in it"
    write = Write.over(found, target.path, found.content, 0o600)
    return Change(target, Action.MODE, why, (), write)


def _parsed(target: Target, data: bytes | None, leaves: Leaves) -> dict[str, object]:
    """Return the file's members; TargetError where `leaves` cannot be set in it."""
    if data is None:
        return {}
    try:
        set_members(data, dict.fromkeys(leaves))
        document = json.loads(data)
    except MalformedJson as error:
        why = str(error)
    except ValueError:
        why = "it is not strict JSON: a comment, perhaps"
    else:
        if isinstance(document, dict):
            return document
        why = "its root is not an object"
    raise TargetError(
        f"{target.path} cannot be changed",
        why=why,
        fix="correct it; until then Claude Code ignores the whole file",
    )


def _leaves(document: Mapping[str, object]) -> Leaves:
    """Return the members, and those of `env`, by key path."""
    flat: Leaves = {}
    for key, value in document.items():
        if key == "env" and isinstance(value, dict):
            flat |= {("env", name): inner for name, inner in value.items()}
        else:
            flat[(key,)] = value
    return flat


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
