"""Who uses which key: the guard's counts, laid beside the keyset and the journal."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from bootstrap.domain.errors import StoreDamagedError, TargetError
from bootstrap.domain.grace import IDLE_S
from bootstrap.domain.keyset import KEYSET_FILE, KeyEntry, Keyset
from bootstrap.domain.lab import Lab
from bootstrap.domain.rotatable import client_key
from bootstrap.domain.rotation import Record, Step
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.uses import UNNAMED, USES_FILE, Counters, KeyUse, ProgramUse, read_counters
from bootstrap.ports import Files
from bootstrap.workflows.tools import Tools

# What droid's requests say they come from. It takes the new key out of settings.json by itself.
DROID_PROGRAM = "factory-cli"
# The guard writes its counts every two seconds.
_LATE_S = 5.0


@dataclass(frozen=True)
class OldKey:
    """A key that was replaced and is still in the keyset.

    Attributes:
        entry: What the keyset says of it.
        use: How it was used.
        users: The programs that have used it since it was replaced, the latest first.
    """

    entry: KeyEntry
    use: KeyUse
    users: tuple[ProgramUse, ...]


def counters(files: Files, folder: PurePath) -> Counters:
    """Return what the guard in `folder` has counted; a file that is not sound gives a problem."""
    try:
        found = files.observe(folder / USES_FILE)
    except TargetError as error:
        return Counters(problem=error.why)
    if found is None:
        return Counters()
    if found.mode & 0o022:
        return Counters(problem="others may write it")
    return read_counters(found.content.data)


def following(lab: Lab) -> tuple[str, ...]:
    """Return the programs that take a new key by themselves, within a second."""
    return (DROID_PROGRAM,) if lab.switches.droid_settings else ()


def holders(tools: Tools, names: Sequence[str] = (MASTER_KEY,)) -> tuple[ProgramUse, ...]:
    """Return which programs have used the keys in force lately, and would be cut off by a rotation.

    Needs no decryption: the keyset has their digests.

    Args:
        tools: The lab and everything around it.
        names: The secrets that are to be rotated; those that the guard does not know count for
            nothing.
    """
    own = (client_key(tools.lab, name) for name in names)
    ids = {f"lab-{key.client}" for key in own if key is not None}
    ids |= {"master"} if MASTER_KEY in names else set()
    found = counters(tools.files, tools.places.litellm)
    # Nobody could go and start a program again that gives no name.
    since, follow = tools.clock.now() - IDLE_S, (*following(tools.lab), UNNAMED)
    entries = (entry for entry in read_keyset(tools).entries if entry.id in ids)
    users = [u for entry in entries for u in found.of(entry.fingerprint).users(since, follow)]
    return tuple(sorted(users, key=lambda user: -user.last_seen))


def old_keys(tools: Tools, found: Counters, since: float) -> tuple[OldKey, ...]:
    """Return the replaced keys of the keyset, with who still uses them.

    Args:
        tools: The lab and everything around it.
        found: The guard's counts.
        since: When the master key was replaced, in seconds since 1970.
    """
    keys = []
    for entry in read_keyset(tools).replaced():
        use = found.of(entry.fingerprint)
        keys.append(OldKey(entry, use, use.users(since)))
    return tuple(keys)


def is_unused(tools: Tools, last: Record) -> bool:
    """Tell whether the old key of a rotation has been left alone for as long as it asks for.

    Never where the guard's counts are not known: then the end of the grace time decides.
    """
    found = counters(tools.files, tools.places.litellm)
    if last.idle_s is None or found.problem:
        return False
    used = max(last.at, *(found.of(part.old).last_by_others() for part in last.parts))
    return tools.clock.now() - used >= last.idle_s + _LATE_S


def replaced_at(records: Sequence[Record]) -> float:
    """Return when the new key was proven, in seconds since 1970; 0 where there was no rotation."""
    return next((record.at for record in records if record.step is Step.PROVEN), 0.0)


def read_keyset(tools: Tools) -> Keyset:
    """Return the keyset, empty where it cannot be read; whoever changes it says so."""
    try:
        found = tools.files.observe(tools.places.litellm / KEYSET_FILE)
        return Keyset.parse(found.content.data) if found else Keyset()
    except (TargetError, StoreDamagedError):
        return Keyset()
