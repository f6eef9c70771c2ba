"""The keys that the lab gives its clients (`client_keys = true`), as entries of the keyset.

A client's key has the id `lab-NAME`, and one that it replaces `lab-NAME-previous`.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from bootstrap.domain.keyset import KeyEntry, Keyset, check_client
from bootstrap.domain.secret import Secret


def with_lab_keys(
    keys: Keyset,
    wanted: Mapping[str, tuple[Secret, Collection[str]]],
    old_until: float,
    now: float,
) -> Keyset:
    """Return the keyset with these keys of the lab's clients, and no other but those just replaced.

    Args:
        keys: As it is.
        wanted: By client: its key, and the only aliases that it may name.
        old_until: Until when a key that changes or goes is accepted, so that its client has time to
            follow; seconds since 1970.
        now: Seconds since 1970.
    """
    others = [entry for entry in keys.entries if not entry.is_labs]
    current = [_entry(name, secret, models) for name, (secret, models) in wanted.items()]
    taken = {entry.sha256 for entry in current}
    gone = _replaced(keys, {name: secret for name, (secret, _) in wanted.items()}, old_until)
    after = Keyset((*others, *current, *(e for e in gone.values() if e.sha256 not in taken)))
    if after.to_bytes() == keys.to_bytes():  # one that has ended is no reason to write the file
        return keys
    return Keyset(tuple(e for e in after.entries if not e.is_labs or e.is_valid(now)))


def with_lab_overlap(
    keys: Keyset, name: str, current: Secret, other: Secret | None, not_after: float | None = None
) -> Keyset:
    """Return the keyset with both keys that a rotation gives a client, for the same models.

    Args:
        keys: As it is.
        name: The client's; one without a key in the keyset gets none here.
        current: The key without an end.
        other: The key that is accepted beside it, or None.
        not_after: When that ends, in seconds since 1970; None for no end.
    """
    key_id, other_id = f"lab-{name}", f"lab-{name}-previous"
    found = {entry.id: entry for entry in keys.entries}
    before = found.get(key_id) or found.get(other_id)
    if before is None:
        return keys
    entry = replace(before, id=key_id, sha256=current.digest(), not_after=None)
    after = [e for e in keys.entries if e.id not in (key_id, other_id)] + [entry]
    if other is not None and other != current:
        after.append(replace(entry, id=other_id, sha256=other.digest(), not_after=not_after))
    return Keyset(tuple(after))


def _replaced(keys: Keyset, wanted: Mapping[str, Secret], until: float) -> dict[str, KeyEntry]:
    """Return the replaced keys by client: those of before, and those that are replaced now.

    One without an end is left out: it is of a rotation that was left open, and settled since.
    """
    labs = [entry for entry in keys.entries if entry.is_labs]
    gone = {e.name: e for e in labs if e.is_replaced and e.not_after is not None}
    for entry in labs:
        secret = wanted.get(entry.name)
        if not entry.is_replaced and (secret is None or secret.digest() != entry.sha256):
            gone[entry.name] = replace(entry, id=f"{entry.id}-previous", not_after=until)
    return gone


def _entry(name: str, secret: Secret, models: Collection[str]) -> KeyEntry:
    check_client(name, models)
    scope = tuple(sorted(set(models)))
    return KeyEntry(f"lab-{name}", secret.digest(), "client", None, scope, name)
