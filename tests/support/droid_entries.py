"""Entries for droid's settings.json as the template renders them, and files to merge them into."""

from collections.abc import Sequence

from bootstrap.domain.droid import Merge, merge_models

GATEWAY = "http://127.0.0.1:4000"
OLD_KEY, NEW_KEY = "sk-test-old", "sk-test-new"


def wanted(alias: str, key: str = OLD_KEY, **fields: object) -> dict[str, object]:
    """Return our entry for a model; a field that is None is left out."""
    entry = {
        "model": alias,
        "id": f"custom:keyturn-{alias}",
        "displayName": f"{alias} (lab)",
        "baseUrl": f"{GATEWAY}/v1",
        "apiKey": key,
        "provider": "generic-chat-completion-api",
        "maxOutputTokens": 16384,
        **fields,
    }
    return {name: value for name, value in entry.items() if value is not None}


def by_hand(alias: str, **fields: object) -> dict[str, object]:
    """Return an entry as people write it: no id, a name of their own, an old key."""
    own: dict[str, object] = {"displayName": f"My {alias}", "baseUrl": "http://localhost:4000"}
    fields = {"apiKey": "sk-test-0", "id": None, **own, **fields}
    return {name: value for name, value in {**wanted(alias), **fields}.items() if value is not None}


def merge(
    current: bytes | str | None,
    entries: Sequence[dict[str, object]],
    before: Merge | None = None,
    *,
    force: bool = False,
) -> Merge:
    """Merge, remembering what `before` wrote."""
    return merge_models(
        current.encode() if isinstance(current, str) else current,
        entries,
        gateway_url=GATEWAY,
        last_written=before.written if before else {},
        force=force,
    )
