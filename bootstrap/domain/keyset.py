"""Which keys the gateway's guard accepts, until when and for which models: digests, never a key.

Beside config.yaml this is `keyturn-keyset.json`, which `bootstrap/gateway/keyturn_guard.py` reads
inside LiteLLM:

    {"version": 1, "keys": [{"id": "master", "sha256": "<64 hex digits>", "kind": "master",
                             "not_after": null, "models": null, "name": "master"}]}

The master key has the id `master`, and one that it replaces `previous`; a client's key has
`client-NAME`, and one that it replaces `client-NAME-previous`; `lab-NAME` are the keys that the lab
itself gives its clients (`client_keys = true`). A Keyset is frozen: every operation
returns another one.
"""

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from bootstrap.domain.errors import StoreDamagedError, UsageError
from bootstrap.domain.secret import Secret

KEYSET_FILE = "keyturn-keyset.json"
MAX_BYTES = 256 * 1024  # the guard refuses a longer file
_VERSION = 1
_LATEST = 1e12  # seconds; also keeps out NaN, infinity and milliseconds
_MASTER, _PREVIOUS = "master", "previous"
_CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FIELDS = {"id", "sha256", "kind", "not_after", "models", "name"}


@dataclass(frozen=True)
class KeyEntry:
    """One key that the guard knows.

    Attributes:
        id: Unique in its keyset.
        sha256: `Secret.digest()` of the key.
        kind: `master` serves everything but LiteLLM's administration; `client` serves models only.
        not_after: Seconds since 1970 from which it is refused, or None for no end.
        models: The only aliases that a client's key may name, or None for all.
        name: What people call it: `master`, or the client's name.
    """

    id: str
    sha256: str
    kind: Literal["master", "client"]
    not_after: float | None = None
    models: tuple[str, ...] | None = None
    name: str = _MASTER

    @property
    def fingerprint(self) -> str:
        """The first 8 digits, the same as `Secret.fingerprint()` of the key."""
        return self.sha256[:8]

    @property
    def is_replaced(self) -> bool:
        """Whether another key has taken its place."""
        return self.id not in (_MASTER, f"client-{self.name}", f"lab-{self.name}")

    @property
    def is_labs(self) -> bool:
        """Whether it is, or was, the key that the lab gives a client."""
        return self.id.startswith("lab-")

    def is_valid(self, now: float) -> bool:
        """Tell whether it is accepted at `now`, in seconds since 1970."""
        return self.not_after is None or now < self.not_after


@dataclass(frozen=True)
class Keyset:
    """All keys that the guard knows, in no order that means anything.

    Attributes:
        entries: With unique ids.
    """

    entries: tuple[KeyEntry, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> "Keyset":
        """Return the keyset that a file holds.

        Raises:
            StoreDamagedError: It is not one; the guard would refuse it too.
        """
        try:
            document = json.loads(data)
            entries = tuple(_entry(item) for item in _items(document))
        except (ValueError, RecursionError) as failure:
            foreign = isinstance(failure, (json.JSONDecodeError, UnicodeError, RecursionError))
            raise _damaged("it is not JSON" if foreign else str(failure)) from None
        if len(data) > MAX_BYTES:
            raise _damaged("it is too long")
        if len({entry.id for entry in entries}) != len(entries):
            raise _damaged("two entries have one id")
        return cls(entries)

    def to_bytes(self) -> bytes:
        """Return the file's content; the same keyset gives the same bytes."""
        ordered = sorted(self.entries, key=lambda entry: entry.id)
        document = {"version": _VERSION, "keys": [asdict(entry) for entry in ordered]}
        return (json.dumps(document, indent=1) + "\n").encode()

    def with_current(self, secret: Secret) -> "Keyset":
        """Return it with `secret` as the one master key; the clients' keys stay."""
        return self._without(_MASTER, _PREVIOUS)._plus(_master(_MASTER, secret, None))

    def settled(self, current: Secret, now: float) -> "Keyset":
        """Return it with `current` as the master key, and what it replaced until its time is up.

        A previous key without an end is dropped: only an open rotation has one. One that has ended
        is refused as it is, so it alone is no reason to write the file.
        """
        previous = self._find(_PREVIOUS)
        alone = self.with_current(current)
        if previous is None or previous.not_after is None or previous.sha256 == current.digest():
            return alone
        both = alone._plus(previous)
        return both if previous.is_valid(now) or both.to_bytes() == self.to_bytes() else alone

    def with_overlap(self, current: Secret, new: Secret, not_after: float | None) -> "Keyset":
        """Return it with both master keys accepted.

        Args:
            current: The key to be replaced.
            new: The key that stays.
            not_after: When the guard stops accepting `current` by itself, in seconds since 1970;
                None while clients still hold it, so that a tool that dies locks nobody out.
        """
        if current == new:
            return self.with_current(new)
        return self.with_current(new)._plus(_master(_PREVIOUS, current, not_after))

    def with_client(
        self,
        name: str,
        secret: Secret,
        models: Collection[str] | None,
        not_after: float | None,
        old_until: float | None = None,
    ) -> "Keyset":
        """Return it with `secret` as the key of a client, which replaces the one it had.

        Args:
            name: Letters, digits, `.`, `_` and `-`.
            secret: The key.
            models: The only aliases it may name, or None for all.
            not_after: When it ends, in seconds since 1970, or None.
            old_until: Until when the key that it replaces is accepted too; None for no longer.

        Raises:
            UsageError: The name or the list of models does not fit.
        """
        check_client(name, models)
        new_id, old_id = f"client-{name}", f"client-{name}-previous"
        scope = None if models is None else tuple(sorted(set(models)))
        kept = self._without(new_id, old_id)
        old = self._find(new_id)
        if old is not None and old_until is not None and old.sha256 != secret.digest():
            end = old_until if old.not_after is None else min(old_until, old.not_after)
            kept = kept._plus(replace(old, id=old_id, not_after=end))
        return kept._plus(KeyEntry(new_id, secret.digest(), "client", not_after, scope, name))

    def without_client(self, name: str) -> "Keyset":
        """Return it without any key of a client; no effect where there is none."""
        return Keyset(tuple(e for e in self.entries if e.kind != "client" or e.name != name))

    def without_expired(self, now: float) -> "Keyset":
        """Return it without the entries that are past their time."""
        return Keyset(tuple(entry for entry in self.entries if entry.is_valid(now)))

    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprint of every key, sorted, whether expired or not."""
        return tuple(sorted({entry.fingerprint for entry in self.entries}))

    def replaced(self) -> tuple[KeyEntry, ...]:
        """Return the keys that another one has replaced, whether expired or not."""
        return tuple(entry for entry in self.entries if entry.is_replaced)

    def clients(self) -> tuple[KeyEntry, ...]:
        """Return the clients' entries by name, replaced ones too."""
        return tuple(sorted((e for e in self.entries if e.kind == "client"), key=lambda e: e.id))

    def _find(self, entry_id: str) -> KeyEntry | None:
        return next((entry for entry in self.entries if entry.id == entry_id), None)

    def _plus(self, entry: KeyEntry) -> "Keyset":
        return Keyset((*self.entries, entry))

    def _without(self, *ids: str) -> "Keyset":
        return Keyset(tuple(entry for entry in self.entries if entry.id not in ids))


def _master(entry_id: str, secret: Secret, not_after: float | None) -> KeyEntry:
    return KeyEntry(entry_id, secret.digest(), "master", not_after)


def check_client(name: str, models: Collection[str] | None) -> None:
    """Refuse what cannot be a client's name and its list of models.

    Raises:
        UsageError: It is not.
    """
    if not _CLIENT_NAME.fullmatch(name):
        raise UsageError(
            "the name of a client key",
            why="it may hold letters, digits, '.', '_' and '-' only, at most 64",
            fix="choose a name such as claude or droid-ci",
        )
    if models is not None and not (models and all(models)):
        raise UsageError(
            f"the models of the client key {name}",
            why="an empty list would allow none",
            fix="name at least one model, or leave the list away to allow all",
        )


def _items(document: Any) -> Iterable[Any]:
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise ValueError(f"it is not a keyset of version {_VERSION}")
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ValueError("it has no list of keys")
    return keys


def _entry(item: Any) -> KeyEntry:
    if not isinstance(item, dict) or item.keys() != _FIELDS:
        raise ValueError("an entry has other fields than it should")
    if not all(isinstance(item[field], str) for field in ("id", "sha256", "kind", "name")):
        raise ValueError("an entry has a field of the wrong type")
    if item["kind"] not in ("master", "client") or not re.fullmatch("[0-9a-f]{64}", item["sha256"]):
        raise ValueError("an entry has an unknown kind or a wrong digest")
    end, models = item["not_after"], item["models"]
    if end is not None and (type(end) not in (int, float) or not 0 <= end < _LATEST):
        raise ValueError("an entry has a wrong not_after")
    if models is None:
        return KeyEntry(**item)
    if item["kind"] == "master":
        raise ValueError("the master key has a list of models")
    if not isinstance(models, list) or not models or not all(m and type(m) is str for m in models):
        raise ValueError("an entry has a wrong list of models")
    return KeyEntry(**{**item, "models": tuple(models)})


def _damaged(why: str) -> StoreDamagedError:
    return StoreDamagedError(KEYSET_FILE, why=why, fix="write it anew with: keyturn apply")
