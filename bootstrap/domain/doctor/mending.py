"""What `--fix` would do to the files, decided before anything is written."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from bootstrap.domain.content import Content, FileState, Write
from bootstrap.domain.doctor.check import is_chosen
from bootstrap.domain.doctor.finding import CommandFix, FileFix, Fill, Finding, Fix
from bootstrap.domain.errors import LabError, TargetError
from bootstrap.domain.jsonc import MalformedJson

_WRITABLE = 0o200


@dataclass(frozen=True)
class FileMend:
    """One file that would change.

    Attributes:
        path: Which.
        codes: The codes that it is for.
        summaries: What happens to it, a clause each.
        before: What stands there.
        write: What to write.
    """

    path: PurePath
    codes: tuple[str, ...]
    summaries: tuple[str, ...]
    before: FileState | None = field(repr=False)
    write: Write


@dataclass(frozen=True)
class Mending:
    """All that would be done.

    Attributes:
        files: Files to change, as one unit.
        commands: (code, command) to run afterwards, in order.
        refused: (code, why) of fixes that cannot be made.
    """

    files: tuple[FileMend, ...] = ()
    commands: tuple[tuple[str, CommandFix], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.files or self.commands)


def plan_mending(
    findings: Iterable[Finding],
    chosen: Sequence[str],
    observe: Callable[[PurePath], FileState | None],
    fill: Fill,
) -> Mending:
    """Return what the fixes of the findings come to.

    Args:
        findings: What doctor found.
        chosen: Codes, or beginnings of codes, to mend; all where empty. A fix that is made on
            request only is made where its whole code stands here.
        observe: Reads a file; may raise a LabError, which refuses the fix.
        fill: See `Fill`.
    """
    pending = _Pending(observe, fill)
    for finding in findings:
        if not is_chosen(finding.code, chosen):
            continue
        wanted = [f for f in finding.fixes if not f.on_request or finding.code in chosen]
        pending.add(finding.code, wanted)
    return pending.outcome()


class _Pending:
    """The files as the fixes so far would leave them."""

    def __init__(self, observe: Callable[[PurePath], FileState | None], fill: Fill) -> None:
        self._observe = observe
        self._fill = fill
        self._found: dict[PurePath, FileState | None] = {}
        self._state: dict[PurePath, tuple[bytes | None, int]] = {}
        self._codes: dict[PurePath, list[str]] = {}
        self._summaries: dict[PurePath, list[str]] = {}
        self._commands: list[tuple[str, CommandFix]] = []
        self._refused: list[tuple[str, str]] = []

    def add(self, code: str, fixes: Sequence[Fix]) -> None:
        """Add the fixes of one finding: all of them, or, where one cannot be made, none."""
        state = dict(self._state)
        changed: list[FileFix] = []
        for fix in fixes:
            if isinstance(fix, FileFix):
                try:
                    if self._apply(fix):
                        changed.append(fix)
                except (LabError, MalformedJson) as error:
                    self._state = state
                    self._refused.append((code, f"{fix.path}: {error}"))
                    return
        for fix in changed:
            self._codes.setdefault(fix.path, []).append(code)
            self._summaries.setdefault(fix.path, []).append(fix.summary)
        self._commands += [(code, fix) for fix in fixes if isinstance(fix, CommandFix)]

    def outcome(self) -> Mending:
        """Return what all of it comes to."""
        files = tuple(self._mend(path) for path in self._codes)
        return Mending(files, tuple(dict.fromkeys(self._commands)), tuple(self._refused))

    def _apply(self, fix: FileFix) -> bool:
        if fix.path not in self._found:
            self._found[fix.path] = self._observe(fix.path)
        found = self._found[fix.path]
        fresh = (None, 0o600) if found is None else (found.content.data, found.mode)
        data, mode = self._state.get(fix.path, fresh)
        after = data if fix.change is None else fix.change(data, self._fill)
        result = (after, mode if fix.mode is None else fix.mode)
        if result == (data, mode):
            return False
        if found is not None and not found.mode & _WRITABLE:
            raise TargetError("it is read-only", why=f"chmod u+w {fix.path}", fix="mend it again")
        self._state[fix.path] = result
        return True

    def _mend(self, path: PurePath) -> FileMend:
        found, (data, mode) = self._found[path], self._state[path]
        expected = None if found is None else found.content.digest
        content = None if data is None else Content(data)
        write = Write(path, content, mode, expected, shared=True)
        codes, summaries = (tuple(dict.fromkeys(x[path])) for x in (self._codes, self._summaries))
        return FileMend(path, codes, summaries, found, write)
