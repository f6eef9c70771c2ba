"""What one `doctor --fix` did, so that it can be taken back."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath

from bootstrap.domain.content import FileState
from bootstrap.domain.doctor.mending import FileMend


@dataclass(frozen=True)
class Saved:
    """A file as it was before a fix.

    Attributes:
        path: Which.
        before: What stood there, or None.
        after: Digests that it may have now; None stands for no file.
    """

    path: PurePath
    before: FileState | None
    after: tuple[str | None, ...]


@dataclass(frozen=True)
class FixRun:
    """What one `doctor --fix` did.

    Attributes:
        folder: Where the copies are.
        files: In the order in which they were changed.
        commands: Commands that take back those that were run, the last one first.
        lasting: What those that nothing takes back did.
    """

    folder: PurePath
    files: tuple[Saved, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    lasting: tuple[str, ...] = ()


def merged(before: tuple[Saved, ...], files: Iterable[FileMend]) -> tuple[Saved, ...]:
    """Return what to remember once these files change too: the first state of each counts."""
    saved = {item.path: item for item in before}
    for mend in files:
        after = None if mend.write.content is None else mend.write.content.digest
        known = saved.get(mend.path, Saved(mend.path, mend.before, ()))
        saved[mend.path] = replace(known, after=(*known.after, after))
    return tuple(saved.values())
