"""Our models in droid's `settings.json`, beside everything else that stands there.

An entry is ours when its id starts with `custom:keyturn-`, or when we adopted it before: a
hand-made entry for one of our models at the gateway keeps its place, its id and its name, so that
a model which somebody chose stays chosen. Further entries for the same model at the gateway are
stale copies (droid makes such from config.json, with the key of that day) and go.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from bootstrap.domain.droid_entries import (
    ADOPTED,
    OWNED,
    Found,
    default_model,
    digest_of,
    ids_of,
    owned_value,
    resolves,
)
from bootstrap.domain.droid_legacy import Legacy, retire_legacy
from bootstrap.domain.droid_schema import (
    ARRAY_KEY,
    ID_PREFIX,
    entry_id,
    entry_name,
    foreign_problems,
    validate_entry,
    validate_models,
    validate_settings,
)
from bootstrap.domain.errors import TargetError
from bootstrap.domain.json_edit import Append, Edit, Remove, Update, edit_document, entries_of
from bootstrap.domain.jsonc import MalformedJson, parse, plain, same
from bootstrap.domain.printable import printable

__all__ = [
    "EntryChange",
    "Legacy",
    "Merge",
    "entry_id",
    "foreign_problems",
    "lost_note",
    "merge_models",
    "retire_legacy",
    "validate_entry",
    "validate_models",
    "validate_settings",
]

ADDED, UPDATED, REMOVED, STALE = "added", "updated", "removed", "stale-copy-removed"
_ABSENT = object()


@dataclass(frozen=True)
class EntryChange:
    """What happens to one entry.

    Attributes:
        kind: `added`, `updated`, `removed` or `stale-copy-removed`.
        id: The entry's id as droid lists it, safe to print.
        fields: The names of the fields that change, for `updated`.
    """

    kind: str
    id: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.id}" + (f" ({', '.join(self.fields)})" if self.fields else "")


@dataclass(frozen=True)
class Merge:
    """What the file should be, and how that differs from what it is.

    Attributes:
        data: The file's bytes: the very object that was given when there is nothing to do, and
            an empty document where there is no file and nothing to put into one.
        changes: One for each entry that changes.
        conflicts: Ids of entries that were edited by hand and therefore left as they are; only
            a key is still put in force there, and only where it goes to the gateway.
        written: By id, the digests to hand in as `last_written` next time.
        lost_default: The default model of the file if this merge takes its entry away. droid
            then fails until another one is chosen.
    """

    data: bytes = field(repr=False)
    changes: tuple[EntryChange, ...]
    conflicts: tuple[str, ...]
    written: Mapping[str, str]
    lost_default: str | None = None


def merge_models(
    current: bytes | None,
    wanted: Sequence[Mapping[str, object]],
    *,
    gateway_url: str,
    last_written: Mapping[str, str],
    force: bool = False,
) -> Merge:
    """Return the settings file with our models in it and every other byte kept.

    Args:
        current: The file, None where there is none.
        wanted: Our entries as the template renders them, in the catalogue's order.
        gateway_url: The gateway's base URL without a path.
        last_written: `Merge.written` of the last time; empty at the first.
        force: Overwrite what was edited by hand.

    Raises:
        TargetError: The file is malformed, or the template rendered something unusable.
    """
    problem = validate_models(wanted)
    if problem:
        raise TargetError(
            "the models rendered for droid are not usable",
            why=problem,
            fix="correct lab.toml or templates/factory/settings.json.j2",
        )
    try:
        return _merge(current, wanted, gateway_url, last_written, force)
    except MalformedJson as error:
        raise TargetError(
            "droid's settings.json cannot be changed",
            why=str(error),
            fix="correct it at that place; until then droid itself may ignore the whole file",
        ) from None


def lost_note(default: str) -> str:
    """Return what a person is told whose default model goes away with a merge."""
    note = f"note: {default} is droid's default model and goes; choose another one with /model"
    name = default.removeprefix(ID_PREFIX)
    renamed = f', or, if only its alias changed, write id = "{name}" below the new one in lab.toml'
    return note + (renamed if name != default else "")


def _merge(
    current: bytes | None,
    wanted: Sequence[Mapping[str, object]],
    gateway_url: str,
    last_written: Mapping[str, str],
    force: bool,
) -> Merge:
    before = b"{}\n" if current is None else current
    document = parse(before)
    array = entries_of(document, ARRAY_KEY)
    root = plain(document.root)
    entries = [plain(item) for item in array.items] if array else []
    default = default_model(root)
    found = Found(entries, gateway_url, last_written, default)
    claims = found.claims({str(entry["id"]): str(entry["model"]) for entry in wanted})
    outcome = _Outcome(found, force)
    for entry in wanted:
        outcome.settle(entry, claims.get(str(entry["model"]), []))
    for index in claims.get(None, []):
        outcome.remove(index, REMOVED)
    data = edit_document(document, ARRAY_KEY, outcome.edits) if outcome.edits else before
    return Merge(
        data,
        tuple(outcome.changes),
        tuple(outcome.conflicts),
        outcome.written(),
        printable(default) if default and outcome.loses(default) else None,
    )


class _Outcome:
    """The edits that are decided so far."""

    def __init__(self, found: Found, force: bool) -> None:
        self.edits: list[Edit] = []
        self.changes: list[EntryChange] = []
        self.conflicts: list[str] = []
        self._found = found
        self._force = force
        self._after: list[object] = list(found.entries)
        self._digests: dict[int, str] = {}

    def settle(self, want: Mapping[str, object], claims: Sequence[int]) -> None:
        """Have exactly one entry for the wanted model."""
        if not claims:
            self.edits.append(Append(want))
            self.changes.append(EntryChange(ADDED, printable(str(want["id"]))))
            self._digests[len(self._after)] = digest_of(want, OWNED)
            self._after.append(want)
            return
        self._update(claims[0], want)
        for index in claims[1:]:
            self.remove(index, STALE)

    def remove(self, index: int, kind: str) -> None:
        """Take an entry out."""
        self.edits.append(Remove(index))
        self.changes.append(EntryChange(kind, self._label(index)))
        self._after[index] = None

    def written(self) -> dict[str, str]:
        """Return the digests of our entries by the id that each has in the new file."""
        ids = ids_of(self._after)
        return {ids[index]: digest for index, digest in self._digests.items() if ids[index]}

    def loses(self, default: str) -> bool:
        """Tell whether `default` names an entry before and none afterwards."""
        return resolves(default, self._found.entries) and not resolves(default, self._after)

    def _update(self, index: int, want: Mapping[str, object]) -> None:
        found = self._found
        last = found.last_written.get(found.ids[index])
        new = digest_of(want, found.owned(index))
        if last is None or self._force or found.digest(index) in (last, new):
            self._digests[index] = new
            names = set(want) if found.is_made_by_us(index) else {*ADOPTED, "apiKey"}
            self._put(index, want, names, self._outdated(index, want))
        else:
            self._digests[index] = last
            self.conflicts.append(self._label(index))
            self._put(index, want, {"apiKey"} if found.at_gateway(index) else set(), ())

    def _outdated(self, index: int, want: Mapping[str, object]) -> tuple[str, ...]:
        """Return the names of our fields that stand in the entry and should not."""
        entry, owned = self._found.entry(index), self._found.owned(index)
        surplus = (name for name in owned if name in entry and name not in want)
        return tuple(name for name in surplus if owned_value(entry, name) is not None)

    def _put(
        self,
        index: int,
        want: Mapping[str, object],
        names: Container[str],
        without: tuple[str, ...],
    ) -> None:
        """Give the named fields their wanted values where they have others."""
        entry = self._found.entry(index)
        members = {
            name: value
            for name, value in want.items()
            if name in names and not same(entry.get(name, _ABSENT), value)
        }
        self._after[index] = {**entry, **members}
        if members or without:
            self.edits.append(Update(index, members, without))
            self.changes.append(EntryChange(UPDATED, self._label(index), (*members, *without)))

    def _label(self, index: int) -> str:
        """Return the entry's id for people, or its name where droid skips it."""
        return printable(self._found.ids[index]) or entry_name(self._found.entry(index))
