"""The states of a rotation, and what an open journal says about it.

    begun > created > staged > overlapping > switched > promoted > proven  > retired > closed
    |__________________________________________________________|   |_________________|
              a failure or a signal: undone, exit 5                   only forward

A process that dies leaves the journal open. Then the store says which way to go: the key that it
calls current is put in force everywhere, whichever of the two it is. It changes in one rename,
between `switched` and `promoted`, so both ways are safe from every state.

Several secrets can change in one rotation, see `Record.parts`. Where they live in several files,
those are renamed one after the other; as long as one of them still calls its old value current,
the way is back for all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from bootstrap.domain.duration import as_time
from bootstrap.domain.secret_spec import MASTER_KEY


class Step(Enum):
    """What a rotation has done; written to the journal before the next thing is begun."""

    BEGUN = "begun"  # the journal exists, nothing else has changed
    CREATED = "created"  # the new key is in the store, pending beside the current one
    STAGED = "staged"  # every target stands rendered beside its live file, on disk
    OVERLAPPING = "overlapping"  # the gateway accepts both keys
    SWITCHED = "switched"  # every target holds the new key
    PROMOTED = "promoted"  # the store's current key is the new one, the old one beside it
    PROVEN = "proven"  # the new key was accepted and answered; from here on only forward
    RETIRED = "retired"  # the old key is refused, proven
    CLOSED = "closed"  # the store has forgotten the old key: done
    UNDONE = "undone"  # the old key is in force everywhere, proven


_ORDER = tuple(Step)
_FINAL = frozenset({Step.CLOSED, Step.UNDONE})


@dataclass(frozen=True)
class Part:
    """One secret of a rotation: fingerprints and places.

    Attributes:
        name: Which secret.
        old: The fingerprint of the value that was in force.
        new: The fingerprint of the value that takes over.
        store: The reference of the source that holds it.
        copies: References of further sources that hold a copy.
    """

    name: str
    old: str
    new: str
    store: str
    copies: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON data."""
        return {
            "name": self.name,
            "old": self.old,
            "new": self.new,
            "store": self.store,
            "copies": list(self.copies),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Part":
        """Return the part that JSON data describe.

        Raises:
            KeyError, TypeError: They describe none.
        """
        return cls(
            str(data["name"]),
            str(data["old"]),
            str(data["new"]),
            str(data["store"]),
            tuple(str(copy) for copy in data["copies"]),
        )


@dataclass(frozen=True)
class Record:
    """One line of the journal. Fingerprints, places and times only, never a value.

    Attributes:
        step: What has been done.
        name: Which secret is rotated; of several the one that counts most.
        old: The fingerprint of the key that was in force.
        new: The fingerprint of the key that takes over.
        store: The reference of the source that holds the key.
        copies: References of further sources that hold a copy.
        at: Epoch seconds.
        retire_at: When the old key stops being accepted; None if that was not yet decided.
        more: The further secrets that are rotated with it.
        reencrypts: Whether LiteLLM encrypts its database anew meanwhile.
        idle_s: The old key is retired earlier, once it was not used for so many seconds; else None.
        owes_hook: Whether the program that the lab wants run after it is still to be run; of one
            that was undone, whether it is to be told that.
        aborts: Whether somebody has begun to go back although the new key was proven.
    """

    step: Step
    name: str
    old: str
    new: str
    store: str
    at: float
    copies: tuple[str, ...] = ()
    retire_at: float | None = None
    more: tuple[Part, ...] = ()
    reencrypts: bool = False
    idle_s: float | None = None
    owes_hook: bool = False
    aborts: bool = False

    @property
    def in_grace(self) -> bool:
        """Whether it is done but for the old key, which is accepted for a while."""
        return self.step is Step.PROVEN and self.retire_at is not None and not self.aborts

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every secret that is rotated."""
        return (Part(self.name, self.old, self.new, self.store, self.copies), *self.more)

    @property
    def moves(self) -> tuple[Part, ...]:
        """What a hook is told: every secret from what it was to what it is, also if undone."""
        if self.step is not Step.UNDONE:
            return self.parts
        return tuple(replace(part, old=part.new, new=part.old) for part in self.parts)

    @property
    def old_words(self) -> str:
        """What was in force, for people: a fingerprint, with names unless it is the master key."""
        return self.words({part.name: part.old for part in self.parts})

    @property
    def new_words(self) -> str:
        """What takes over, for people."""
        return self.words({part.name: part.new for part in self.parts})

    def words(self, prints: Mapping[str, str]) -> str:
        """Return fingerprints by name for people; without the name for the master key alone."""
        if tuple(prints) == (MASTER_KEY,):
            return prints[MASTER_KEY]
        return ", ".join(f"{name} {mark}" for name, mark in prints.items())

    def then(self, step: Step, at: float) -> "Record":
        """Return the record of a later step of the same rotation; undone, it owes no hook."""
        return replace(self, step=step, at=at, owes_hook=self.owes_hook and step is not Step.UNDONE)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON data."""
        data = {"step": self.step.value, **self.parts[0].to_dict()}
        data |= {"at": round(self.at, 3), "retire_at": self.retire_at}
        if self.more:
            data["more"] = [part.to_dict() for part in self.more]
        if self.idle_s is not None:
            data["idle_s"] = self.idle_s
        if self.owes_hook:
            data["owes_hook"] = True
        if self.aborts:
            data["aborts"] = True
        return data | ({"reencrypts": True} if self.reencrypts else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Record":
        """Return the record that JSON data describe.

        Raises:
            KeyError, TypeError, ValueError: They describe none.
        """
        retire_at, idle_s = data["retire_at"], data.get("idle_s")
        part = Part.from_dict(data)
        return cls(
            Step(data["step"]),
            part.name,
            part.old,
            part.new,
            part.store,
            as_time(data["at"]),
            part.copies,
            None if retire_at is None else as_time(retire_at),
            tuple(Part.from_dict(row) for row in data.get("more", ())),
            data.get("reencrypts") is True,
            None if idle_s is None else as_time(idle_s),
            data.get("owes_hook") is True,
            data.get("aborts") is True,
        )


def verb(prints: str) -> str:
    """Return the verb that goes with `Record.old_words`."""
    return "are" if "," in prints else "is"


def is_open(records: Sequence[Record]) -> bool:
    """Tell whether the journal's last rotation is neither done nor undone."""
    return bool(records) and records[-1].step not in _FINAL


def owes_hook(records: Sequence[Record]) -> Record | None:
    """Return the journal's last line if its hook is still to be run.

    Of a rotation that succeeded, and of one that somebody took back after that.
    """
    last = records[-1] if records else None
    if last is None or not last.owes_hook:
        return None
    return last if last.in_grace or last.step in _FINAL else None


def reached(record: Record, step: Step) -> bool:
    """Tell whether a rotation whose last record is `record` has got as far as `step`."""
    return record.step is not Step.UNDONE and _ORDER.index(record.step) >= _ORDER.index(step)
