"""What doctor says: codes, findings, and fixes as data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import TypeAlias

from bootstrap.domain.doctor.mend_command import command_in
from bootstrap.domain.printable import printable
from bootstrap.domain.secret import Secret

# Turns a key into text on its way into a file; an adapter brings it.
Fill = Callable[[Secret], str]
# A file's bytes (None: there is none) to what they should be (None: it should go). Pure, and
# without effect on bytes that are as they should be.
Change = Callable[[bytes | None, Fill], bytes | None]


class Severity(Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class FileFix:
    """A file to change.

    Attributes:
        path: Which; absolute.
        summary: What happens to it, one clause that holds no key.
        change: Makes the new bytes; None leaves them. Fixes of one file are put together in the
            order of their codes, so it must not count on positions that another fix could move.
        mode: The permission bits that it shall have, or None to keep them (0600 for a new file).
        on_request: Only where its code is named: `--fix KT123`.
    """

    path: PurePath
    summary: str
    change: Change | None = field(default=None, compare=False, repr=False)
    mode: int | None = None
    on_request: bool = False


@dataclass(frozen=True)
class CommandFix:
    """A command to run. No word of it may be secret; what it prints is not shown.

    Attributes:
        argv: The command.
        summary: What it does, one clause.
        undo: The command that takes it back, or None where nothing does.
        on_request: Only where its code is named.
    """

    argv: tuple[str, ...]
    summary: str
    undo: tuple[str, ...] | None = None
    on_request: bool = False


Fix: TypeAlias = FileFix | CommandFix


@dataclass(frozen=True)
class Finding:
    """One verdict.

    Attributes:
        code: The code's id, for example `KT105`.
        severity: How bad it is.
        seen: What was seen, one clause with names, paths and fingerprints.
        why: Why that matters, one sentence.
        mend: What to type or edit; empty where nothing needs to be done.
        fixes: What `--fix` would do, all of it or nothing; empty where that is for a person to
            decide.
    """

    code: str
    severity: Severity
    seen: str
    why: str = ""
    mend: str = ""
    fixes: tuple[Fix, ...] = ()


@dataclass(frozen=True)
class Code:
    """A thing that doctor looks for.

    Attributes:
        id: `KT` and three digits; stable for ever. The first digit is the group's.
        title: What is wrong where it is found, a few words.
        why: Why that matters, one sentence.
        mend: What mends it unless a finding says otherwise.
        more: The long form: what happens exactly, how it comes about, what to look at.
        fixable: Whether `--fix` can mend it, at least in some cases.
    """

    id: str
    title: str
    why: str
    mend: str
    more: str
    fixable: bool = False

    def error(self, seen: str, *, mend: str = "", fix: "Fix | Sequence[Fix]" = ()) -> Finding:
        """Return a finding with which something does not work or is in danger."""
        return self._finding(Severity.ERROR, seen, mend, fix)

    def warning(self, seen: str, *, mend: str = "", fix: "Fix | Sequence[Fix]" = ()) -> Finding:
        """Return a finding that will cause trouble, or already does for some."""
        return self._finding(Severity.WARNING, seen, mend, fix)

    def note(self, seen: str, *, mend: str = "", fix: "Fix | Sequence[Fix]" = ()) -> Finding:
        """Return a finding that is good to know."""
        return self._finding(Severity.NOTE, seen, mend, fix)

    def not_applicable(self, seen: str) -> Finding:
        """Return that it was not looked for here, and why."""
        return Finding(self.id, Severity.NOT_APPLICABLE, seen)

    def _finding(
        self, severity: Severity, seen: str, mend: str, fix: "Fix | Sequence[Fix]"
    ) -> Finding:
        fixes = (fix,) if isinstance(fix, FileFix | CommandFix) else tuple(fix)
        words = mend or self.mend
        if fixes and not command_in(words) and not any(fix.on_request for fix in fixes):
            words = f"keyturn doctor --fix {self.id}, or {words}"
        # Names of models and files may be anything, also what a terminal would obey.
        return Finding(self.id, severity, printable(seen), self.why, printable(words), fixes)
