"""What a run of `adopt` notes before it stops the old gateway, for the run after one cut off.

Without the old process nobody could tell any more which config it read, and a file that lost its
key already would not be looked at again. Holds paths, and which process was started again.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from bootstrap.domain.content import Content, Write
from bootstrap.ports import Files

UNFINISHED = "unfinished.json"


@dataclass(frozen=True)
class Note:
    """What an earlier run was about.

    Attributes:
        config: The config that the old gateway read, or None.
        edits: The files from which the key goes.
        started: How the old gateway is known that was started again; empty where none was.
    """

    config: PurePath | None = None
    edits: tuple[PurePath, ...] = ()
    started: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> "Note":
        """Return the note in a file; an empty one where the file is damaged."""
        try:
            values: Any = json.loads(data)
        except (ValueError, RecursionError):
            return cls()
        given = values if isinstance(values, dict) else {}
        config, edits = given.get("config"), given.get("edits")
        paths = edits if isinstance(edits, list) else []
        started = given.get("started")
        return cls(
            PurePath(config) if isinstance(config, str) else None,
            tuple(PurePath(path) for path in paths if isinstance(path, str)),
            started if isinstance(started, dict) else {},
        )

    def with_edits(self, more: Iterable[PurePath]) -> "Note":
        """Return the note about further files, too."""
        return Note(self.config, tuple(dict.fromkeys((*self.edits, *more))))

    def to_bytes(self) -> bytes:
        """Return what `parse` reads."""
        config = None if self.config is None else str(self.config)
        edits = [str(path) for path in self.edits]
        started = {"started": dict(self.started)} if self.started else {}
        return json.dumps({"config": config, "edits": edits, **started}).encode()


def read_note(files: Files, folder: PurePath) -> Note | None:
    """Return the note of a run that did not end, or None."""
    found = files.observe(folder / UNFINISHED)
    return None if found is None else Note.parse(found.content.data)


def write_note(files: Files, folder: PurePath, note: Note | None) -> None:
    """Keep the note; None takes it away."""
    path = folder / UNFINISHED
    found = files.observe(path)
    content = None if note is None else Content(note.to_bytes())
    if content is not None or found is not None:
        files.replace_all([Write.over(found, path, content, 0o600)])
