"""What is wrong here, and mend what is safe to mend: look, judge, show, back up, change."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Protocol

from bootstrap.domain.content import Content, Write
from bootstrap.domain.doctor.check import Group, diagnose, is_chosen
from bootstrap.domain.doctor.finding import CommandFix, FileFix, Fill, Finding, Severity
from bootstrap.domain.doctor.fix_run import FixRun, Saved, merged
from bootstrap.domain.doctor.mending import FileMend, Mending, plan_mending
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.errors import ConflictError, ExitCode, LabError, UsageError
from bootstrap.domain.redact import safe_diff
from bootstrap.domain.secret import Secret
from bootstrap.ports import Files
from bootstrap.workflows.tools import KnownMask

# A mended syntax error brings to light what it hid; that brings at most one more thing.
_MOST_ROUNDS = 4


class FixLog(Protocol):
    """Copies of what fixes replaced, 0600, so that they can be taken back."""

    def new(self) -> FixRun:
        """Return an empty run; nothing is written yet."""

    def save(self, run: FixRun) -> None:
        """Put the run and its copies on disk."""

    def last(self) -> FixRun | None:
        """Return the newest run, or None.

        Raises:
            RecoveryNeededError: Its note is damaged.
        """

    def drop(self, run: FixRun) -> None:
        """Remove a run and its copies."""

    def tidy(self) -> None:
        """Remove what is left of runs that were killed before they changed anything."""


@dataclass(frozen=True)
class DoctorTools:
    """What doctor works with.

    Attributes:
        groups: The checks.
        observe: Looks at everything.
        files: The file system.
        log: Where fixes are remembered.
        fill: Turns a key into text for a file.
        known: Makes a mask for some secrets.
        run: Runs a command of a fix, and tells whether it ended well.
        lock: Keeps other keyturns out while files are changed.
        of_others: Returns the files that another lab answers for, each with that lab's folder.
    """

    groups: tuple[Group, ...]
    observe: Callable[[], Observations]
    files: Files
    log: FixLog
    fill: Fill
    known: Callable[[Mapping[str, Secret]], KnownMask]
    run: Callable[[Sequence[str]], bool]
    lock: Callable[[], AbstractContextManager[None]]
    of_others: Callable[[], Mapping[str, str]]


@dataclass(frozen=True)
class ShownMending:
    """What a fix changes, ready to be shown.

    Attributes:
        mending: The fix.
        diffs: By file, the redacted lines of the difference.
    """

    mending: Mending
    diffs: Mapping[PurePath, tuple[str, ...]]


def examine(tools: DoctorTools, chosen: Sequence[str] = ()) -> list[Finding]:
    """Return the findings, without a key in any of their words."""
    return _judge(tools, tools.observe(), chosen)


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 1 where there is an error, else 0."""
    return ExitCode.FAILED if any(f.severity is Severity.ERROR for f in findings) else ExitCode.DONE


def preview(tools: DoctorTools, chosen: Sequence[str] = ()) -> ShownMending:
    """Return what `fix` would do first, and change nothing."""
    seen = tools.observe()
    return _shown(tools, seen, _planned(tools, seen, chosen))


def fix(
    tools: DoctorTools, chosen: Sequence[str], show: Callable[[ShownMending], None]
) -> tuple[list[Finding], tuple[str, ...]]:
    """Mend what can be mended, and return what is found afterwards, and which commands failed.

    Args:
        chosen: Codes, or beginnings of codes; all where empty.
        show: Is given each change before it is made.

    Raises:
        LabError: A file could not be written; no file of that round was changed.
    """
    done = _Done()
    with tools.lock():
        _tidy(tools)
        run = tools.log.new()
        for _ in range(_MOST_ROUNDS):
            seen = tools.observe()
            mending = done.without(_planned(tools, seen, chosen))
            if mending or mending.refused:
                show(_shown(tools, seen, mending))
            if not mending:
                break
            run = _carry_out(tools, run, mending, done)
        else:
            seen = tools.observe()
    return _judge(tools, seen, ()), tuple(done.failed)


def undo(tools: DoctorTools) -> FixRun:
    """Put back what the last `fix` changed, and return what that was.

    Raises:
        UsageError: There is nothing to undo.
        ConflictError: A file changed since; nothing was put back.
    """
    with tools.lock():
        _tidy(tools)
        run = tools.log.last()
        if run is None:
            raise UsageError(
                "there is nothing to undo",
                why="no fix of doctor's is remembered, or the last one was undone",
                fix="keyturn doctor",
            )
        writes = [_back(tools, run, saved) for saved in run.files]
        tools.files.replace_all([write for write in writes if write is not None])
        for command in run.commands:
            tools.run(command)
        tools.log.drop(run)
    return run


def _tidy(tools: DoctorTools) -> None:
    """Remove what a run that was killed left beside the files: it may hold a key."""
    with suppress(LabError):
        tools.log.tidy()
        run = tools.log.last()
        tools.files.sweep([saved.path for saved in run.files] if run else [])


def _planned(tools: DoctorTools, seen: Observations, chosen: Sequence[str]) -> Mending:
    findings, others = diagnose(seen, tools.groups, chosen), tools.of_others()
    ours = [f for f in findings if not _of_another(others, f)]
    mending = plan_mending(ours, chosen, tools.files.observe, tools.fill)
    left = {
        (f.code, f"{path}: {_whose(lab)}")
        for f in findings
        if is_chosen(f.code, chosen)
        for path, lab in _of_another(others, f)
    }
    return replace(mending, refused=(*mending.refused, *sorted(left)))


def _of_another(others: Mapping[str, str], finding: Finding) -> list[tuple[str, str]]:
    """Return (path, lab) of another lab's files whose bytes the fixes of a finding change."""
    fixes = (fix for fix in finding.fixes if isinstance(fix, FileFix) and fix.change is not None)
    return [(str(fix.path), others[str(fix.path)]) for fix in fixes if str(fix.path) in others]


def _whose(lab: str) -> str:
    other = f"go on with that one: --lab {shlex.quote(lab)}"
    return f"the lab in {lab} answers for it; {other}; or make it this lab's: keyturn apply --force"


def _judge(tools: DoctorTools, seen: Observations, chosen: Sequence[str]) -> list[Finding]:
    mask, others = _mask(tools, seen), tools.of_others()
    findings = (_left_to(others, f) for f in diagnose(seen, tools.groups, chosen))
    return [replace(f, seen=mask(f.seen), mend=mask(f.mend)) for f in findings]


def _left_to(others: Mapping[str, str], finding: Finding) -> Finding:
    """Return a finding about a file of another lab as a note: that lab's doctor judges it."""
    for path, lab in _of_another(others, finding):
        mend = f"{path}: {_whose(lab)}"
        return replace(finding, severity=Severity.NOTE, mend=mend, fixes=())
    return finding


def _mask(tools: DoctorTools, seen: Observations) -> Callable[[str], str]:
    return tools.known(dict(reversed(_numbered(seen)))).mask


def _numbered(seen: Observations) -> list[tuple[str, Secret]]:
    """Return every key that was met under a name of its own; equal ones only once."""
    found: dict[str, Secret] = {}
    digests: set[str] = set()
    for name, secret in seen.secret_texts():
        if secret.digest() not in digests:
            digests.add(secret.digest())
            found[name if name not in found else f"{name} {len(found)}"] = secret
    return list(found.items())


def _shown(tools: DoctorTools, seen: Observations, mending: Mending) -> ShownMending:
    mask = _mask(tools, seen)
    return ShownMending(mending, {mend.path: _diff(mend, mask) for mend in mending.files})


def _diff(mend: FileMend, mask: Callable[[str], str]) -> tuple[str, ...]:
    old = mend.before.content.data if mend.before else b""
    if mend.write.content is None:
        return ("(the file goes; a copy is kept)",)
    is_env = mend.path.suffix == ".env" or mend.path.name == ".env"
    lines = list(safe_diff(old, mend.write.content.data, known=mask, env_file=is_env))
    if mend.before is not None and mend.before.mode != mend.write.mode:
        lines.append(f"mode {mend.before.mode:04o} -> {mend.write.mode:04o}")
    return tuple(lines)


class _Done:
    """The commands that were run already, and what was refused: each is tried and said once."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._run: set[CommandFix] = set()
        self._refused: set[tuple[str, str]] = set()

    def without(self, mending: Mending) -> Mending:
        """Return the mending without them."""
        left = tuple(item for item in mending.commands if item[1] not in self._run)
        fresh = tuple(item for item in mending.refused if item not in self._refused)
        self._refused.update(fresh)
        return replace(mending, commands=left, refused=fresh)

    def run(self, tools: DoctorTools, command: CommandFix) -> None:
        """Run one."""
        self._run.add(command)
        if not tools.run(command.argv):
            self.failed.append(command.summary)


def _carry_out(tools: DoctorTools, run: FixRun, mending: Mending, done: _Done) -> FixRun:
    before, commands = run, [command for _, command in mending.commands]
    undoing = tuple(c.undo for c in reversed(commands) if c.undo is not None)
    lasting = tuple(c.summary for c in commands if c.undo is None)
    run = replace(
        run,
        files=merged(run.files, mending.files),
        commands=(*undoing, *run.commands),
        lasting=(*run.lasting, *lasting),
    )
    tools.log.save(run)
    try:
        tools.files.replace_all([mend.write for mend in mending.files])
    except LabError:
        _forget(tools, before)
        raise
    for command in commands:
        done.run(tools, command)
    return run


def _forget(tools: DoctorTools, run: FixRun) -> None:
    """Leave in the log what was done before the round that failed, and no more."""
    if run.files or run.commands or run.lasting:
        tools.log.save(run)
    else:
        tools.log.drop(run)


def _back(tools: DoctorTools, run: FixRun, saved: Saved) -> Write | None:
    found = tools.files.observe(saved.path)
    digest = None if found is None else found.content.digest
    before = None if saved.before is None else saved.before.content.digest
    mode = 0o600 if saved.before is None else saved.before.mode
    if digest == before and (found is None or found.mode == mode):
        return None
    if digest != before and digest not in saved.after:
        raise ConflictError(
            f"{saved.path} changed since doctor mended it",
            why="putting the copy back would undo that, too",
            fix=f"compare it with the copy in {run.folder}, and mend it by hand",
        )
    content: Content | None = None if saved.before is None else saved.before.content
    return Write(saved.path, content, mode, digest, shared=True)
