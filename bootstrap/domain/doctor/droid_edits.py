"""Changes to droid's files, as pure functions from bytes to bytes that leave every other byte."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from bootstrap.domain.doctor.finding import Change, Fill
from bootstrap.domain.droid_entries import Found
from bootstrap.domain.droid_legacy import retire_legacy
from bootstrap.domain.droid_schema import ARRAY_KEY
from bootstrap.domain.json_edit import Edit, Remove, Update, edit_document, entries_of
from bootstrap.domain.jsonc import MalformedJson, parse, plain
from bootstrap.domain.secret import Secret

# Given an entry and its position: the members to set, None for none. A Secret is put in as text.
Decide = Callable[[Mapping[str, object], int], Mapping[str, object] | None]
# Each is looked for from the start anew, and nobody has more than a few.
_MOST_COMMAS = 50


def update(decide: Decide, array_key: str = ARRAY_KEY) -> Change:
    """Return a change that gives members of the entries new values."""
    return partial(_update, decide, array_key)


def retire(aliases: Collection[str], gateway_url: str) -> Change:
    """Return a change that takes our models out of the legacy file."""

    def change(data: bytes | None, _: Fill) -> bytes | None:
        if data is None:
            return None
        return retire_legacy(data, aliases=aliases, gateway_url=gateway_url).data

    return change


def without_copies(models: Mapping[str, str], gateway_url: str, current: Secret | None) -> Change:
    """Return a change that takes stale copies of our models out of a settings file."""

    def change(data: bytes | None, _: Fill) -> bytes | None:
        if data is None:
            return None
        document = parse(data)
        array = entries_of(document, ARRAY_KEY)
        entries = [plain(item) for item in array.items] if array else []
        doomed = stale_copies(entries, models, gateway_url, current)
        if not doomed:
            return data
        return edit_document(document, ARRAY_KEY, [Remove(index) for index in doomed])

    return change


def stale_copies(
    entries: Sequence[object],
    models: Mapping[str, str],
    gateway_url: str,
    current: Secret | None,
) -> list[int]:
    """Return the positions of further entries for a model of ours, with a key that is not in force.

    Args:
        entries: The elements of `customModels`.
        models: The alias of each model of the lab by its id.
        gateway_url: The gateway's base URL without a path.
        current: The key in force.
    """
    found = Found(entries, gateway_url, {}, None)
    claims = found.claims(models)
    doomed = []
    for alias, indexes in claims.items():
        if alias is None:
            continue
        good = [index for index in indexes if _has_key(found.entry(index), current)]
        keep = good[0] if good else indexes[0]
        doomed += [i for i in indexes if i != keep and i not in good]
    return sorted(doomed)


def _has_key(entry: Mapping[str, object], current: Secret | None) -> bool:
    key = entry.get("apiKey")
    return isinstance(key, str) and bool(key) and current is not None and Secret(key) == current


def mend_syntax(data: bytes | None, _: Fill) -> bytes | None:
    """Take out what droid cannot read and nobody needs: a byte order mark, trailing commas.

    An empty file becomes an empty object. What cannot be mended so is returned as it is.
    """
    if data is None:
        return None
    mended = data.removeprefix(b"\xef\xbb\xbf")
    if not mended.strip():
        return b"{}\n"
    for _attempt in range(_MOST_COMMAS):
        try:
            parse(mended)
        except MalformedJson as error:
            comma = _offset(mended, error) if error.reason.startswith("a comma stands") else None
            if comma is None:
                return data
            mended = mended[:comma] + mended[comma + 1 :]
        else:
            return mended
    return data


def _offset(data: bytes, error: MalformedJson) -> int | None:
    """Return where the comma stands that an error speaks of."""
    text = data.decode("utf-8")
    lines = text.split("\n")
    before = "\n".join(lines[: error.line - 1]) + ("\n" if error.line > 1 else "")
    place = len((before + lines[error.line - 1][: error.column - 1]).encode())
    return place if data[place : place + 1] == b"," else None


def _update(decide: Decide, array_key: str, data: bytes | None, fill: Fill) -> bytes | None:
    if data is None:
        return None
    document = parse(data)
    array = entries_of(document, array_key)
    edits: list[Edit] = []
    for index, node in enumerate(array.items if array else ()):
        entry = plain(node)
        members = decide(entry, index) if isinstance(entry, dict) else None
        if members:
            written = {
                name: fill(value) if isinstance(value, Secret) else value
                for name, value in members.items()
            }
            edits.append(Update(index, written))
    return edit_document(document, array_key, edits) if edits else data
