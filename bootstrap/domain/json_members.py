"""Set or remove single members of objects in a JSON file that belongs to somebody else.

Like `bootstrap.domain.json_edit`, which does it for the entries of a list: every other byte stays.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial

from bootstrap.domain.comma_list import CommaList, Layout
from bootstrap.domain.jsonc import Document, Object, malformed, parse, plain, same


def set_member(data: bytes | None, path: Sequence[str], value: object) -> bytes:
    """Return `data` with the member at `path` set; objects on the way are made where missing.

    Args:
        data: The file; None makes a new document.
        path: Keys from the root; at least one.
        value: Any JSON value.

    Raises:
        MalformedJson: `data` is malformed, or something on the way is no object.
    """
    document = parse(data if data is not None else b"{}\n")
    holder, rest = _holder(document, path)
    for key in reversed(rest[1:]):
        value = {key: value}
    found = holder.last(rest[0])
    if found is not None and same(plain(found.value), value):
        return document.text.encode()
    layout = Layout.of(document)
    members = CommaList(document.text, holder, layout)
    if found is None:
        members.append(partial(_member, rest[0], value, layout))
    else:
        at = next(i for i, member in enumerate(holder.members) if member is found)
        start = document.text[found.start : found.value.start]
        members.items[at] = start + _dumped(value, layout, None)
    return _joined(document, holder, members)


def remove_member(data: bytes, path: Sequence[str]) -> bytes:
    """Return `data` without the member at `path`; as it is where there is none.

    Raises:
        MalformedJson: `data` is malformed, or something on the way is no object.
    """
    document = parse(data)
    holder, rest = _holder(document, path)
    if len(rest) > 1 or holder.last(rest[0]) is None:
        return data
    members = CommaList(document.text, holder, Layout.of(document))
    for at in range(len(holder.members) - 1, -1, -1):
        if holder.members[at].key == rest[0]:
            members.remove(at)
    return _joined(document, holder, members)


def set_members(data: bytes | None, members: Mapping[tuple[str, ...], object]) -> bytes:
    """Return `data` with several members set, or taken out.

    Args:
        data: The file; None makes a new document.
        members: By path; None takes the member out.

    Raises:
        MalformedJson: As `set_member`.
    """
    data = data if data is not None else b"{}\n"
    for path, value in members.items():
        data = remove_member(data, path) if value is None else set_member(data, path, value)
    return data


def _holder(document: Document, path: Sequence[str]) -> tuple[Object, Sequence[str]]:
    """Return the innermost object on the way that is there, and the keys that are left."""
    node = document.root
    for depth, key in enumerate(path[:-1]):
        member = node.last(key)
        if member is None:
            return node, path[depth:]
        if not isinstance(member.value, Object):
            raise malformed(document.text, member.value.start, f'"{key}" is not an object')
        node = member.value
    return node, path[-1:]


def _joined(document: Document, holder: Object, members: CommaList) -> bytes:
    text = document.text
    return f"{text[: holder.start]}{{{members}}}{text[holder.end :]}".encode()


def _member(key: str, value: object, layout: Layout, indent: str | None) -> str:
    return f"{json.dumps(key)}:{' ' if layout.spaced else ''}{_dumped(value, layout, indent)}"


def _dumped(value: object, layout: Layout, indent: str | None) -> str:
    separators = (", ", ": ") if layout.spaced else (",", ":")
    if indent is None or not layout.unit or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=layout.unit)
    return text.replace("\n", layout.newline + indent)
