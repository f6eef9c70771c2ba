"""The models in droid's files, in one form for the old format and the new one."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from bootstrap.domain.client import CLIENT_KEY
from bootstrap.domain.doctor.facts_droid import DroidFacts, DroidFile, Level
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.droid_entries import ids_of
from bootstrap.domain.droid_legacy import LEGACY_KEY
from bootstrap.domain.droid_schema import (
    ARRAY_KEY,
    ID_PREFIX,
    PLACEHOLDERS,
    entry_name,
    same_gateway,
)
from bootstrap.domain.endpoints import LOOPBACK, endpoint
from bootstrap.domain.jsonc import MalformedJson, parse, plain
from bootstrap.domain.redact import mask_unknown
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY

REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What people write for a variable, and droid sends as it stands.
NOTATION = re.compile(
    r"(?:env:|os\.environ/|\$\{env:|\{env:|%)([A-Za-z_]\w*)[}%]?|\$([A-Za-z_]\w*)|"
    r"\{\{\s*\$?([A-Za-z_]\w*)\s*\}\}"
)
_LEGACY_NAMES = {
    "base_url": "baseUrl",
    "api_key": "apiKey",
    "model_display_name": "displayName",
    "max_tokens": "maxOutputTokens",
    "max_context_limit": "maxContextLimit",
    "extra_headers": "extraHeaders",
    "extra_args": "extraArgs",
}


@dataclass(frozen=True)
class Entry:
    """One model of one file.

    Attributes:
        file: Where it stands.
        index: Its place in the list, from 0.
        id: As droid lists it; empty where droid skips it and it has none.
        raw: The entry as it stands.
        fields: The entry with the names of the new format.
    """

    file: DroidFile
    index: int
    id: str
    raw: Mapping[str, object] = field(repr=False)
    fields: Mapping[str, object] = field(repr=False)

    def text(self, name: str) -> str:
        """Return a field that is a text; empty where it is missing or something else."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    @property
    def model(self) -> str:
        """What it asks the server for."""
        return self.text("model")

    @property
    def key(self) -> Secret | None:
        """The key that stands in it literally; None for none, a reference or a placeholder."""
        return key_of(self.fields)

    @property
    def name(self) -> str:
        """Its name for people."""
        return mask_unknown(entry_name(self.raw))


def key_of(fields: Mapping[str, object]) -> Secret | None:
    """Return the key that stands in an entry literally, or None."""
    text = fields.get("apiKey")
    if not isinstance(text, str) or not text or text in PLACEHOLDERS:
        return None
    return None if references(text) or notation(text) else Secret(text)


def references(text: str) -> list[str]:
    """Return the variables that droid would put in."""
    return REFERENCE.findall(text)


def notation(text: str) -> str:
    """Return the variable that somebody meant in a way droid does not know, or an empty text."""
    match = NOTATION.fullmatch(text.strip())
    return next((name for name in match.groups() if name), "") if match else ""


def problem_of(file: DroidFile) -> MalformedJson | None:
    """Return why droid does not read the file, or None; also None where there is no file."""
    document = None if file.file.data is None else _document(file.file.data)
    return document if isinstance(document, MalformedJson) else None


def root_of(file: DroidFile) -> Mapping[str, object]:
    """Return the file's members; empty where there is none or it is malformed."""
    document = None if file.file.data is None else _document(file.file.data)
    return document if isinstance(document, dict) else {}


def entries_in(file: DroidFile) -> list[Entry]:
    """Return the models of a file, whatever droid makes of them."""
    found = root_of(file).get(LEGACY_KEY if file.legacy else ARRAY_KEY)
    listed = found if isinstance(found, list) else []
    renamed = [_renamed(item) if file.legacy else item for item in listed]
    ids = ids_of(renamed)
    return [
        Entry(file, index, ids[index], listed[index], item)
        for index, item in enumerate(renamed)
        if isinstance(item, dict)
    ]


def all_entries(droid: DroidFacts, *levels: Level) -> Iterator[Entry]:
    """Yield the models of the files that droid reads, or of those levels only."""
    for file in droid.files:
        if file.level in levels or (not levels and file.level is not Level.UNREAD):
            yield from entries_in(file)


def keys_in(file: DroidFile) -> Iterator[Secret]:
    """Yield the keys in a file."""
    for entry in entries_in(file):
        if entry.key is not None:
            yield entry.key


def at_gateway(fields: Mapping[str, object], seen: Observations) -> bool:
    """Tell whether the entry's requests go to the gateway's host and port."""
    ours, theirs = endpoint(seen.gateway_url), endpoint(fields.get("baseUrl"))
    return theirs is not None and theirs == ours


def is_ours(fields: Mapping[str, object], seen: Observations) -> bool:
    """Tell whether the entry is meant for the gateway.

    By its address, its id, its key or the variable it names; or because it asks this machine for a
    model of the lab at an address where no backend of the lab is.
    """
    if at_gateway(fields, seen) or str(fields.get("id", "")).startswith(ID_PREFIX):
        return True
    text = fields.get("apiKey")
    text = text if isinstance(text, str) else ""
    if {*references(text), notation(text)} & {MASTER_KEY, CLIENT_KEY}:
        return True
    key = key_of(fields)
    if key is not None and key == seen.key:
        return True
    return fields.get("model") in seen.aliases and _leads_nowhere(fields.get("baseUrl"), seen)


def _leads_nowhere(url: object, seen: Observations) -> bool:
    place = endpoint(url)
    backends = seen.lab.backends.values() if seen.lab else ()
    known = {endpoint(backend.url) for backend in backends}
    return place is not None and place[0] == LOOPBACK and place not in known


def wanted_url(provider: str, gateway_url: str) -> str:
    """Return the base URL for a provider: droid adds `/v1` itself for anthropic only."""
    return gateway_url if canonical(provider) == "anthropic" else f"{gateway_url}/v1"


def canonical(provider: str) -> str:
    """Return a provider's name as droid compares it in the user's files."""
    return provider.strip().lower().replace("_", "-")


def url_is_right(fields: Mapping[str, object], gateway_url: str) -> bool:
    """Tell whether droid's requests with this base URL reach the gateway's paths."""
    url = str(fields.get("baseUrl"))
    versioned = url.rstrip("/").endswith("/v1")
    anthropic = canonical(str(fields.get("provider"))) == "anthropic"
    return same_gateway(url, gateway_url) and versioned is not anthropic


@lru_cache(maxsize=64)
def _document(data: bytes) -> "dict[str, object] | MalformedJson":
    try:
        root = plain(parse(data).root)
    except MalformedJson as error:
        return error
    return root if isinstance(root, dict) else {}


def _renamed(item: object) -> object:
    if not isinstance(item, dict):
        return item
    return {_LEGACY_NAMES.get(name, name): value for name, value in item.items()}
