"""Client keys: random keys of limited scope and life, each one entry of the guard's keyset.

The keyset holds digests, so a key is seen once, by whoever issued it. The guard reads the file at
each request: what is issued here works at the next one, and what is revoked fails at the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.content import Content, Write
from bootstrap.domain.errors import TargetError, UsageError
from bootstrap.domain.keyset import KeyEntry, Keyset
from bootstrap.domain.secret import Secret
from bootstrap.ports import Clock, Files
from bootstrap.workflows.guard_time import guard_time

_MODE = 0o600


@dataclass(frozen=True)
class KeyDesk:
    """What issuing and revoking needs.

    Attributes:
        path: The keyset file.
        files: The file system.
        clock: The machine's; ends are reckoned from the guard's time.
        new_key: Makes a fresh random key.
        lock: Holds the lab's lock for a block.
    """

    path: PurePath
    files: Files
    clock: Clock
    new_key: Callable[[], Secret]
    lock: Callable[[], AbstractContextManager[None]]


def issue(
    desk: KeyDesk,
    name: str,
    models: Sequence[str] | None,
    ttl_s: float | None,
    *,
    secret: Secret | None = None,
    give: Callable[[Secret], None] = lambda _: None,
) -> Secret:
    """Put a new key in force, and return it.

    Args:
        desk: The keyset and what changes it.
        name: What people call it; no other key in force has it.
        models: The only aliases it may name, or None for all.
        ttl_s: For how long it is accepted, in seconds; None for no end.
        secret: The key; a fresh one unless given.
        give: Hands the key to whoever it is for; what it raises takes the key out of force again.

    Raises:
        UsageError: A key of that name is in force.
        TargetError: There is no keyset, or it cannot be written.
        StoreDamagedError: The keyset is no keyset.
        LockedError: Another keyturn works on this lab.
    """
    key = secret or desk.new_key()
    with desk.lock():
        keys, digest = _load(desk)
        keys = keys.without_expired(desk.clock.now())
        if any(entry.name == name for entry in keys.clients()):
            raise UsageError(
                f"a client key {name} is there already",
                why="its holder would be cut off without notice",
                fix=f"choose another name, or: keyturn key rotate {name}",
            )
        end = None if ttl_s is None else _guard_time(desk) + ttl_s
        with _kept_if_given(desk, keys, keys.with_client(name, key, models, end), digest):
            give(key)
    return key


def revoke(desk: KeyDesk, name: str) -> bool:
    """Take a key out of force; False if there was none of that name.

    Raises:
        TargetError: There is no keyset, or it cannot be written.
        StoreDamagedError: The keyset is no keyset.
        LockedError: Another keyturn works on this lab.
    """
    with desk.lock():
        keys, digest = _load(desk)
        found = any(entry.name == name for entry in keys.clients())
        if found:
            _save(desk, keys.without_client(name), digest)
    return found


def rotate(
    desk: KeyDesk,
    name: str,
    ttl_s: float | None,
    grace_s: float = 0.0,
    *,
    give: Callable[[Secret], None] = lambda _: None,
) -> Secret:
    """Replace a key by a fresh one of the same name and scope, and return that.

    Args:
        desk: The keyset and what changes it.
        name: A key in force.
        ttl_s: For how long the new one is accepted, in seconds; None keeps the end of the old one.
        grace_s: For how long the old one is accepted as well, in seconds.
        give: Hands the key to whoever it is for; what it raises brings the old key back.

    Raises:
        UsageError: There is none of that name.
        TargetError: There is no keyset, or it cannot be written.
        StoreDamagedError: The keyset is no keyset.
        LockedError: Another keyturn works on this lab.
    """
    key = desk.new_key()
    with desk.lock():
        keys, digest = _load(desk)
        keys = keys.without_expired(desk.clock.now())
        old = _find(keys, name)
        if old is None:
            raise unknown(name)
        now = _guard_time(desk)
        end = old.not_after if ttl_s is None else now + ttl_s
        old_until = now + grace_s if grace_s else None
        fresh = keys.with_client(name, key, old.models, end, old_until)
        with _kept_if_given(desk, keys, fresh, digest):
            give(key)
    return key


def listed(desk: KeyDesk) -> tuple[KeyEntry, ...]:
    """Return the client keys of the keyset by name, expired and replaced ones included."""
    return _load(desk)[0].clients()


def unknown(name: str) -> UsageError:
    """Return the complaint that no key has that name."""
    return UsageError(
        f"there is no client key {name}",
        why="the keyset has no entry of that name",
        fix="keyturn key list",
    )


def _find(keys: Keyset, name: str) -> KeyEntry | None:
    """Return the key that the client of that name has now."""
    return next((key for key in keys.clients() if key.id == f"client-{name}"), None)


def _load(desk: KeyDesk) -> tuple[Keyset, str]:
    """Return the keyset and its file's digest."""
    found = desk.files.observe(desk.path)
    if found is None:
        raise TargetError(
            f"there is no {desk.path}",
            why="the guard that accepts client keys is not in force on this machine",
            fix="keyturn apply",
        )
    return Keyset.parse(found.content.data), found.content.digest


@contextmanager
def _kept_if_given(desk: KeyDesk, old: Keyset, new: Keyset, digest: str) -> Iterator[None]:
    """Put `new` in force for the block, and keep it if the block ends well; else `old` is back."""
    made = _save(desk, new, digest)
    try:
        yield
    except BaseException:
        _save(desk, old, made)
        raise


def _save(desk: KeyDesk, keys: Keyset, digest: str) -> str:
    """Write the keyset over the file of that digest, and return the new one's."""
    content = Content(keys.to_bytes())
    desk.files.replace_all([Write(desk.path, content, _MODE, digest)])
    return content.digest


def _guard_time(desk: KeyDesk) -> float:
    return guard_time(desk.files, desk.clock, desk.path.parent)
