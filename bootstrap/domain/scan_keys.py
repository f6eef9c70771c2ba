"""Which keys `keyturn scan` looks for, and what each of them still opens.

Of the keys in force the digest is known, of those that were rotated out the fingerprint, from the
record of rotations, its journal, and the guard's keyset.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from bootstrap.domain.audit import Entry, Event
from bootstrap.domain.keyset import KeyEntry
from bootstrap.domain.rotation import Record
from bootstrap.domain.scanning import Print
from bootstrap.domain.secret_spec import CLIENT_KEY_PREFIX, GENERATED, MASTER_KEY


class State(IntEnum):
    """What a key is good for; of one that is found twice the first counts."""

    IN_FORCE = 0
    ACCEPTED = 1  # the gateway accepts it beside the one in force: replaced, or a client's own
    OTHER = 2  # the other key of a rotation that is not closed
    GONE = 3  # rotated out


@dataclass(frozen=True)
class SoughtKey:
    """A key to look for.

    Attributes:
        name: Which secret it is or was, or `client NAME`.
        fingerprint: Its first 8 digits; unique among the keys that are looked for.
        state: What it is good for.
        at: When it went, or (ACCEPTED) until when it is accepted, in seconds since 1970; None
            where that is not known, or has no end.
        digest: All 64 digits, where they are known.
        is_replaced: Whether another one has taken its place, though it is still accepted.
        made_elsewhere: Whether somebody other than keyturn makes its values, and decides for how
            long the old ones are good.
    """

    name: str
    fingerprint: str
    state: State
    at: float | None = None
    digest: str | None = None
    is_replaced: bool = False
    made_elsewhere: bool = False

    @property
    def is_accepted(self) -> bool:
        """Whether it may still open something here."""
        return self.state is not State.GONE

    @property
    def print(self) -> Print:
        """What it is recognised by; hits call it by its fingerprint."""
        ours = self.name in GENERATED or self.name.startswith((CLIENT_KEY_PREFIX, "client "))
        return Print(self.fingerprint, self.digest or self.fingerprint, strong=ours)


def sought_keys(
    *,
    current: Mapping[str, str],
    others: Mapping[str, str],
    keyset: Iterable[KeyEntry],
    records: Sequence[Record],
    entries: Iterable[Entry],
    named: Collection[str] = (),
    made_elsewhere: Collection[str] = (),
    now: float,
) -> tuple[SoughtKey, ...]:
    """Return the keys to look for, each once: those that are good for something first.

    Args:
        current: Digest of each secret in force, by name.
        others: Digest of the other value of a rotation that is not closed, by name.
        keyset: What the guard knows.
        records: The journal of the last rotation.
        entries: The record of all rotations, oldest first.
        named: Further fingerprints, of keys that were changed by other means.
        made_elsewhere: The names of secrets whose values others make.
        now: Seconds since 1970.
    """
    found = [_known(name, digest, State.IN_FORCE) for name, digest in current.items()]
    found += [_known(name, digest, State.OTHER) for name, digest in others.items()]
    found += [_of_keyset(entry, now) for entry in keyset]
    gone = [key for record in records for key in _of_record(record)]
    gone += [key for entry in entries for key in _of_entry(entry)]
    # The latest time that it went is the one that counts.
    found += sorted(gone, key=lambda key: -(key.at or 0.0))
    found += [SoughtKey("a key that you named", mark, State.GONE) for mark in named]
    merged: dict[str, SoughtKey] = {}
    for key in sorted(found, key=lambda key: key.state):
        before = merged.get(key.fingerprint)
        merged[key.fingerprint] = key if before is None else _both(before, key)
    return tuple(replace(k, made_elsewhere=k.name in made_elsewhere) for k in merged.values())


def _known(name: str, digest: str, state: State) -> SoughtKey:
    return SoughtKey(name, digest[:8], state, digest=digest)


def _of_keyset(entry: KeyEntry, now: float) -> SoughtKey:
    state = State.ACCEPTED if entry.is_valid(now) else State.GONE
    name = MASTER_KEY if entry.kind == "master" else f"client {entry.name}"
    return SoughtKey(
        name, entry.fingerprint, state, entry.not_after, entry.sha256, entry.is_replaced
    )


def _of_record(record: Record) -> Iterable[SoughtKey]:
    for part in record.parts:
        yield SoughtKey(part.name, part.old, State.GONE, record.at)
        yield SoughtKey(part.name, part.new, State.GONE)


def _of_entry(entry: Entry) -> Iterable[SoughtKey]:
    """Return both: what took over has gone since, unless it is known to be in force."""
    for part in entry.parts:
        went, stayed = part.old, part.new
        if entry.event is Event.UNDONE:
            went, stayed = stayed, went
        yield SoughtKey(part.name, went, State.GONE, entry.at)
        yield SoughtKey(part.name, stayed, State.GONE)


def _both(first: SoughtKey, second: SoughtKey) -> SoughtKey:
    """Return one key for two that have one fingerprint."""
    names = first.name
    same_state = second.state is first.state
    if same_state and first.is_accepted and second.name not in first.name.split(", "):
        names = f"{first.name}, {second.name}"
    at = first.at if first.at is not None or not same_state else second.at
    return replace(first, name=names, at=at, digest=first.digest or second.digest)
