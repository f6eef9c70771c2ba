"""What changes between two keysets, for people: names, scopes and fingerprints."""

from bootstrap.domain.errors import StoreDamagedError
from bootstrap.domain.keyset import KeyEntry, Keyset


def keys_that_change(before: bytes, after: bytes) -> tuple[str, ...]:
    """Return a line for each key that comes, goes or changes, with the start of its digest."""
    try:
        old, new = _lines(before), _lines(after)
    except StoreDamagedError:
        return ("it is damaged, and is written anew",)
    gone = (f"- {line}" for line in old if line not in new)
    return (*gone, *(f"+ {line}" for line in new if line not in old))


def _lines(data: bytes) -> list[str]:
    return [_line(entry) for entry in sorted(Keyset.parse(data).entries, key=lambda e: e.id)]


def _line(entry: KeyEntry) -> str:
    scope = "" if entry.models is None else f": {', '.join(entry.models)}"
    end = "" if entry.not_after is None else ", for a while"
    return f"{entry.name} ({entry.fingerprint}{end}){scope}"
