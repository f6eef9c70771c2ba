"""Change single entries of a list in a JSON file that belongs to somebody else.

Every byte outside the changed entries stays: comments, order, indentation, line ends, duplicate
keys, spellings of numbers and escapes. An entry that changes keeps everything but the values that
differ.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from bootstrap.domain.comma_list import CommaList, Layout
from bootstrap.domain.jsonc import Array, Document, Object, malformed, parse, plain, same


@dataclass(frozen=True)
class Append:
    """Add an entry after the last one."""

    entry: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True)
class Update:
    """Give members of the entry at `index` these values, and take those in `without` out."""

    index: int
    members: Mapping[str, object] = field(repr=False)
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remove:
    """Take the entry at `index` out."""

    index: int


Edit: TypeAlias = Append | Update | Remove


def entries_of(document: Document, array_key: str) -> Array | None:
    """Return the top-level list `array_key`, or None where the document has no such key.

    Raises:
        MalformedJson: The value of `array_key` is not a list.
    """
    member = document.root.last(array_key)
    if member is None:
        return None
    if not isinstance(member.value, Array):
        raise malformed(document.text, member.value.start, f'"{array_key}" is not a list')
    return member.value


def edit_document(document: Document, array_key: str, edits: Iterable[Edit]) -> bytes:
    """Return the document with the edits made to the top-level list `array_key`.

    Args:
        document: The file.
        array_key: The list's key. It is created where it is missing; where it stands twice the
            last one counts, as in droid.
        edits: All indexes count entries of the list as it is in `document`.

    Raises:
        MalformedJson: The value of `array_key` is not a list.
        RuntimeError: The result would not say what the edits say; a fault of this module.
    """
    edits = tuple(edits)
    array = entries_of(document, array_key)
    result = _spliced(document, array, array_key, edits).encode()
    if not same(plain(parse(result).root), _expected(document, array, array_key, edits)):
        raise RuntimeError(f"editing {array_key} did not give what was asked for")
    return result


def _spliced(document: Document, array: Array | None, key: str, edits: Sequence[Edit]) -> str:
    text, layout = document.text, Layout.of(document)
    if array is not None:
        inside = _edited_array(text, array, layout, edits)
        return f"{text[: array.start]}[{inside}]{text[array.end :]}"
    root = document.root
    members = CommaList(text, root, layout)
    members.append(partial(_new_array, key, layout, edits))
    return f"{text[: root.start]}{{{members}}}{text[root.end :]}"


def _edited_array(text: str, array: Array, layout: Layout, edits: Sequence[Edit]) -> CommaList:
    entries = CommaList(text, array, layout)
    for edit in edits:
        node = array.items[edit.index] if isinstance(edit, Update) else None
        if isinstance(edit, Update) and isinstance(node, Object):
            entries.items[edit.index] = _updated(text, node, layout, edit)
    for index in sorted((e.index for e in edits if isinstance(e, Remove)), reverse=True):
        entries.remove(index)
    for edit in edits:
        if isinstance(edit, Append):
            entries.append(partial(_rendered, edit.entry, layout))
    return entries


def _new_array(key: str, layout: Layout, edits: Sequence[Edit], indent: str | None) -> str:
    """Write the member `key` with a list that holds what the edits append."""
    empty = f"{indent or ''}{json.dumps(key)}:{' ' if layout.spaced else ''}[]"
    array = Array(len(empty) - 2, len(empty), [])
    inside = _edited_array(empty, array, layout, edits)
    return f"{empty[len(indent or '') : -2]}[{inside}]"


def _updated(text: str, node: Object, layout: Layout, edit: Update) -> str:
    members = CommaList(text, node, layout)
    for key, value in edit.members.items():
        found = node.last(key)
        if found is None:
            members.append(partial(_member, key, value, layout))
        elif not same(plain(found.value), value):
            at = next(i for i, member in enumerate(node.members) if member is found)
            members.items[at] = text[found.start : found.value.start] + _dumped(value, layout)
    for at in range(len(node.members) - 1, -1, -1):
        if node.members[at].key in edit.without:
            members.remove(at)
    return f"{{{members}}}"


def _rendered(entry: Mapping[str, object], layout: Layout, indent: str | None) -> str:
    lines = [_member(key, value, layout, None) for key, value in entry.items()]
    if indent is None or not layout.unit:
        return "{" + (", " if layout.spaced else ",").join(lines) + "}"
    start = layout.newline + indent
    return "{" + ",".join(f"{start}{layout.unit}{line}" for line in lines) + start + "}"


def _member(key: str, value: object, layout: Layout, _: str | None) -> str:
    return f"{json.dumps(key)}:{' ' if layout.spaced else ''}{_dumped(value, layout)}"


def _dumped(value: object, layout: Layout) -> str:
    separators = (", ", ": ") if layout.spaced else (",", ":")
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=separators)


def _expected(document: Document, array: Array | None, key: str, edits: Sequence[Edit]) -> object:
    entries = [plain(item) for item in array.items] if array else []
    for edit in edits:
        if isinstance(edit, Update):
            old = entries[edit.index]
            kept = old.items() if isinstance(old, dict) else ()
            entries[edit.index] = {k: v for k, v in kept if k not in edit.without} | dict(
                edit.members
            )
    removed = {edit.index for edit in edits if isinstance(edit, Remove)}
    entries = [entry for index, entry in enumerate(entries) if index not in removed]
    entries += [dict(edit.entry) for edit in edits if isinstance(edit, Append)]
    whole = plain(document.root)
    return {**(whole if isinstance(whole, dict) else {}), key: entries}
