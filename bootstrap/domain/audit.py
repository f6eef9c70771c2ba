"""The audit record: one line for each end that a rotation came to. Fingerprints only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from bootstrap.domain.duration import as_time
from bootstrap.domain.rotation import Part, Record, Step


class Event(Enum):
    """What a rotation came to."""

    ROTATED = "rotated"  # the new key alone is in force
    OVERLAP = "overlap"  # the new key is in force, and the old one accepted for a while
    UNDONE = "undone"  # the old key alone is in force


_EVENTS = {Step.CLOSED: Event.ROTATED, Step.PROVEN: Event.OVERLAP, Step.UNDONE: Event.UNDONE}


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        at: Seconds since 1970.
        event: What happened.
        parts: The secrets: names, fingerprints, where they are kept.
        accepted_until: When the old key ends at the latest, for `overlap`.
    """

    at: float
    event: Event
    parts: tuple[Part, ...]
    accepted_until: float | None = None

    @classmethod
    def of(cls, record: Record) -> "Entry":
        """Return the line for a record of the journal: proven with a grace time, closed, undone."""
        until = record.retire_at if record.step is Step.PROVEN else None
        return cls(record.at, _EVENTS[record.step], record.parts, until)

    def repeats(self, last: "Entry | None") -> bool:
        """Tell whether `last` says the same already, as after a crash between two writes."""
        return last is not None and (self.event, self.parts) == (last.event, last.parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the line as JSON data, with its time as people read it beside."""
        until = {} if self.accepted_until is None else {"accepted_until": self.accepted_until}
        return {
            "at": round(self.at, 3),
            "time": datetime.fromtimestamp(int(self.at), UTC).isoformat(),
            "event": self.event.value,
            "secrets": [part.to_dict() for part in self.parts],
            **until,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Entry":
        """Return the entry that JSON data describe.

        Raises:
            KeyError, TypeError, ValueError: They describe none.
        """
        until = data.get("accepted_until")
        return cls(
            as_time(data["at"]),
            Event(data["event"]),
            tuple(Part.from_dict(part) for part in data["secrets"]),
            None if until is None else as_time(until),
        )
