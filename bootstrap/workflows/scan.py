"""Find the lab's keys wherever they still lie, above all those that were rotated out.

Which keys there are comes from the store, the guard's keyset, and the records of rotations; of old
ones only the fingerprint is known. Nothing is changed.
"""

import errno
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Protocol

from bootstrap.domain.audit import Entry
from bootstrap.domain.claims import highest_claims
from bootstrap.domain.client_ways import kept_files
from bootstrap.domain.errors import SecretNotFoundError
from bootstrap.domain.rotatable import kind_of, makes_itself
from bootstrap.domain.rotation import Record, is_open
from bootstrap.domain.scan_keys import SoughtKey, sought_keys
from bootstrap.domain.scan_places import Find, Item, Kind, Level, Place, find_of, shown_name
from bootstrap.domain.scanning import Hit, Hunter
from bootstrap.domain.secret import Secret
from bootstrap.domain.secret_spec import MASTER_KEY
from bootstrap.domain.targets import targets
from bootstrap.ports import Progress
from bootstrap.workflows.tools import NamedSecrets, RotationTools, Tools
from bootstrap.workflows.uses import read_keyset

# More lines of one file than that help nobody.
_MOST_LINES = 1000
# How often somebody who waits is told how far it is: some eight seconds.
_STEP_BYTES = 500_000_000


class Haystack(Protocol):
    """Things to search.

    Attributes:
        label: What they are, for people.
        left_out: (name, why) of what could not be searched, known once `items` has ended.
    """

    label: str
    left_out: list[tuple[bytes, str]]

    def items(self) -> Iterator[Item]:
        """Yield everything to search; what cannot be had is left out instead of raised."""


@dataclass(frozen=True)
class Sought:
    """What to look for.

    Attributes:
        keys: Each key once.
        values: The secrets whose values are known, by name; the other value of a rotation that is
            not closed has a name of its own.
    """

    keys: tuple[SoughtKey, ...]
    values: NamedSecrets


@dataclass
class Scanned:
    """What a search came to; it fills while the search runs.

    Attributes:
        keys: What was looked for.
        finds: What was found, in the order of the search.
        left_out: (name, why) of what was not searched.
        files: How many files were searched.
        others: How many other things: variables, argument lists, objects of git, logs.
        size: How many bytes.
        complete: Whether it came to its end.
    """

    keys: tuple[SoughtKey, ...]
    finds: list[Find] = field(default_factory=list)
    left_out: list[tuple[bytes, str]] = field(default_factory=list)
    files: int = 0
    others: int = 0
    size: int = 0
    complete: bool = False

    @property
    def unwanted(self) -> list[Find]:
        """What was found where it should not be."""
        return [find for find in self.finds if find.level is not Level.EXPECTED]


def sought(
    tools: Tools, using: RotationTools, entries: Iterable[Entry], named: Collection[str] = ()
) -> Sought:
    """Return what to look for in this lab.

    Args:
        tools: The lab and everything around it.
        using: Journal and vault.
        entries: The record of its rotations.
        named: Further fingerprints.

    Raises:
        SecretError: The master key cannot be read, or a store is damaged.
        RecoveryNeededError: The journal is damaged.
    """
    records = using.journal.records()
    current = _current(tools)
    others = _others(using, records)
    lab = tools.lab
    keys = sought_keys(
        current={name: secret.digest() for name, secret in current.items()},
        others={name: secret.digest() for name, secret in others.items()},
        keyset=read_keyset(tools).entries if lab.guarded else (),
        records=records,
        entries=entries,
        named=named,
        made_elsewhere=[n for n in lab.secrets if not makes_itself(kind_of(lab, n))],
        now=tools.clock.now(),
    )
    more = {f"{name}, the other value": secret for name, secret in others.items()}
    return Sought(keys, {**current, **more})


def declared(tools: Tools) -> list[PurePath]:
    """Return the files that lab.toml has keys in: targets, sources that are files, a client's own.

    So have the targets of other labs in this home, whose keys a keyset that they share names.
    """
    ours = targets(tools.lab, tools.places, tools.service.kind)
    found = [target.path for target in ours if target.secret]
    plain = {str(target.path) for target in ours if not target.secret}
    found += [PurePath(path) for path in highest_claims(tools.other_labs()) if path not in plain]
    found += kept_files(tools.lab, tools.places)
    refs = (ref for spec in tools.lab.secrets.values() for ref in spec.sources)
    return [*found, *(PurePath(tools.lab.root, ref.place) for ref in refs if ref.scheme == "file")]


def scan(
    result: Scanned, hunter: Hunter, haystacks: Iterable[Haystack], progress: Progress
) -> None:
    """Search, and put into `result` what comes of it: who is interrupted has what came by then."""
    by_mark = {key.fingerprint: key for key in result.keys}
    for haystack in haystacks:
        with progress.step(f"search {haystack.label}"):
            for item in haystack.items():
                _search(item, hunter, by_mark, result, progress)
        result.left_out += [(hunter.covered(name), why) for name, why in haystack.left_out]
    result.complete = True


def _search(
    item: Item,
    hunter: Hunter,
    by_mark: Mapping[str, SoughtKey],
    result: Scanned,
    progress: Progress,
) -> None:
    def tell(size: int) -> None:
        name = shown_name(hunter.covered(item.place.name))
        progress.note(f"{size / 1e9:.1f} GB searched so far, now in {name}")

    reader = _Counted(item.chunks, result.size, tell)
    hits: dict[str, list[Hit]] = {}
    try:
        for hit in hunter.search(reader):
            row = hits.setdefault(hit.key, [])
            if len(row) < _MOST_LINES:
                row.append(hit)
    except OSError as error:
        if error.errno != errno.ENOENT:  # else it went in between
            result.left_out.append((hunter.covered(item.place.name), "it cannot be read"))
    kind = item.place.kind
    result.size += reader.size
    result.files += kind is Kind.FILE
    result.others += kind not in (Kind.FILE, Kind.FILE_NAME)
    if hits:
        place = _covered(item.settled() if item.settled else item.place, hunter)
        text = kind in (Kind.FILE, Kind.HISTORY, Kind.TIMETABLE) and not reader.binary
        result.finds += [find_of(by_mark[m], place, row, text=text) for m, row in hits.items()]


class _Counted:
    """Passes chunks on, tells how far it is, and knows afterwards what they were like."""

    def __init__(self, chunks: Iterable[bytes], before: int, tell: Callable[[int], None]) -> None:
        self._chunks, self._before, self._tell = chunks, before, tell
        self.size = 0
        self.binary = False

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            steps = (self._before + self.size) // _STEP_BYTES
            self.size += len(chunk)
            if (self._before + self.size) // _STEP_BYTES > steps:
                self._tell(self._before + self.size)
            self.binary = self.binary or b"\0" in chunk
            yield chunk


def _covered(place: Place, hunter: Hunter) -> Place:
    return replace(place, name=hunter.covered(place.name), part=hunter.covered(place.part))


def _current(tools: Tools) -> dict[str, Secret]:
    """Return the secrets in force; those that no source holds are left out, but for the master."""
    found = {}
    for name in tools.lab.secrets:
        try:
            found[name] = tools.resolver.resolve(name).secret
        except SecretNotFoundError:
            if name == MASTER_KEY:
                raise
    return found


def _others(using: RotationTools, records: Sequence[Record]) -> dict[str, Secret]:
    found = {}
    for part in records[-1].parts if is_open(records) else ():
        vault = using.vaults.of(part.name)
        vault.pin(part.store, part.copies)
        other = vault.other()
        if other is not None:
            found[part.name] = other
    return found
