"""Which entries of droid's `settings.json` are ours, and what they say."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from bootstrap.domain.droid_schema import ID_PREFIX, effective_ids, entry_id, same_gateway

# Of an adopted entry these fields are ours (and the key); of one that we made, all.
ADOPTED = ("model", "baseUrl", "provider", "maxOutputTokens")
OWNED = (*ADOPTED, "displayName", "maxContextLimit", "noImageSupport")


class Found:
    """The entries of the file, and which of them are ours.

    Args:
        entries: The elements of `customModels`, of any type.
        gateway_url: The gateway's base URL.
        last_written: Digests by id, as the last merge left them.
        default: The model that the file makes the default, or None.
    """

    def __init__(
        self,
        entries: Sequence[object],
        gateway_url: str,
        last_written: Mapping[str, str],
        default: str | None,
    ) -> None:
        self.entries = entries
        self.ids = ids_of(entries)
        self.last_written = last_written
        self._gateway_url = gateway_url
        self._default = default

    def entry(self, index: int) -> dict[str, object]:
        """Return the entry; empty for an element that is no object."""
        entry = self.entries[index]
        return entry if isinstance(entry, dict) else {}

    def at_gateway(self, index: int) -> bool:
        """Tell whether the entry sends its key to the gateway."""
        return same_gateway(self.entry(index).get("baseUrl"), self._gateway_url)

    def is_made_by_us(self, index: int) -> bool:
        """Tell whether all of the entry is ours, its name included."""
        return self.ids[index].startswith(ID_PREFIX)

    def owned(self, index: int) -> tuple[str, ...]:
        """Return the names of those fields of the entry that are ours, but for the key."""
        return OWNED if self.is_made_by_us(index) else ADOPTED

    def digest(self, index: int) -> str:
        """Return the digest of those fields of the entry that are ours."""
        return digest_of(self.entry(index), self.owned(index))

    def claims(self, wanted: Mapping[str, str]) -> dict[str | None, list[int]]:
        """Return the indexes of our entries by alias, the one to keep first.

        Under None stand those whose model the catalogue no longer has.

        Args:
            wanted: The alias of each model of the catalogue by the id of its entry.
        """
        aliases = set(wanted.values())
        claims: dict[str | None, list[int]] = {}
        ranked = sorted(range(len(self.entries)), key=self._rank)
        for index in ranked:
            if self.is_made_by_us(index):
                claims.setdefault(wanted.get(self.ids[index]), []).append(index)
            elif self._is_adoptable(index, aliases):
                claims.setdefault(str(self.entry(index)["model"]), []).append(index)
            elif self._is_untouched(index):
                # Adopted under the alias that the model had then, or dropped from the catalogue.
                before = entry_id(str(self.entry(index).get("model")))
                claims.setdefault(wanted.get(before), []).append(index)
        return claims

    def _rank(self, index: int) -> tuple[bool, bool, bool, int]:
        """Order by: made by us, adopted before, chosen as the default, first in the file."""
        identifier = self.ids[index]
        return (
            not self.is_made_by_us(index),
            identifier not in self.last_written,
            identifier != self._default,
            index,
        )

    def _is_adoptable(self, index: int, aliases: set[str]) -> bool:
        model = self.entry(index).get("model")
        known = isinstance(model, str) and model in aliases
        return known and (self.at_gateway(index) or self._is_untouched(index))

    def _is_untouched(self, index: int) -> bool:
        """Tell whether we wrote the entry and nobody changed it since."""
        last = self.last_written.get(self.ids[index])
        return last is not None and last == self.digest(index)


def ids_of(entries: Sequence[object]) -> list[str]:
    """Return each entry's id; for one that droid skips the explicit one, else an empty text."""
    return [
        identifier or _explicit_id(entry)
        for identifier, entry in zip(effective_ids(entries), entries, strict=True)
    ]


def owned_value(entry: Mapping[str, object], name: str) -> object:
    """Return what a field says; droid writes out the default `noImageSupport: true` by itself."""
    value = entry.get(name)
    return None if name == "noImageSupport" and value is True else value


def digest_of(entry: Mapping[str, object], names: Sequence[str]) -> str:
    """Return a digest of the named fields; the key is never one of them."""
    values = {name: owned_value(entry, name) for name in names}
    whole = {n: int(v) for n, v in values.items() if isinstance(v, float) and v.is_integer()}
    text = json.dumps({**values, **whole}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def default_model(root: object) -> str | None:
    """Return the model that a settings file makes the default, in the new form or the old one."""
    top = root if isinstance(root, dict) else {}
    session = top.get("sessionDefaultSettings")
    chosen = session.get("model") if isinstance(session, dict) else None
    chosen = chosen or top.get("model")
    return chosen if isinstance(chosen, str) else None


def resolves(default: str, entries: Sequence[object]) -> bool:
    """Tell whether droid finds the model `default`: an id, or `custom:` and a model field."""
    models = (f"custom:{entry.get('model')}" for entry in entries if isinstance(entry, dict))
    return default in effective_ids(entries) or default in models


def _explicit_id(entry: object) -> str:
    identifier = entry.get("id") if isinstance(entry, dict) else None
    return identifier if isinstance(identifier, str) else ""
