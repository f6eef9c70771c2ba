"""Take our models out of droid's legacy `config.json`.

droid still reads that file, but its interactive start copies the models in it, keys included, into
`settings.json`; from then on a rotation here has no effect (seen with 0.215.0 and 0.225.2). It also
expands nothing: `env:NAME` and `${NAME}` are sent to the server as they stand.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from bootstrap.domain.droid_schema import entry_name, same_gateway
from bootstrap.domain.json_edit import Remove, edit_document, entries_of
from bootstrap.domain.jsonc import MalformedJson, parse, plain

LEGACY_KEY = "custom_models"


@dataclass(frozen=True)
class Legacy:
    """What the legacy file should be.

    Attributes:
        data: Its bytes, the very object that was given when nothing goes; None when nothing but
            comments would be left, and the file should go.
        removed: Names of the entries that go, safe to print.
        kept: Names of entries that ask the gateway for models which the catalogue does not have.
        problem: Why the file cannot be read; droid ignores such a file as a whole. Else empty.
    """

    data: bytes | None = field(repr=False)
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    problem: str = ""


def retire_legacy(current: bytes, *, aliases: Collection[str], gateway_url: str) -> Legacy:
    """Return the legacy file without the entries that ask the gateway for a model of ours.

    Args:
        current: The file.
        aliases: The models of the catalogue.
        gateway_url: The gateway's base URL without a path.
    """
    try:
        document = parse(current)
        array = entries_of(document, LEGACY_KEY)
    except MalformedJson as error:
        return Legacy(current, problem=str(error))
    ours: list[int] = []
    removed: list[str] = []
    kept: list[str] = []
    for index, entry in enumerate(map(plain, array.items if array else ())):
        if isinstance(entry, dict) and same_gateway(entry.get("base_url"), gateway_url):
            model = entry.get("model")
            known = isinstance(model, str) and model in aliases
            (removed if known else kept).append(entry_name(entry))
            ours.extend([index] if known else [])
    if array is None or not ours:
        return Legacy(current, kept=tuple(kept))
    if len(ours) == len(array.items) and len(document.root.members) == 1:
        return Legacy(None, tuple(removed))
    edits = [Remove(index) for index in ours]
    return Legacy(edit_document(document, LEGACY_KEY, edits), tuple(removed), tuple(kept))
