"""Findings, codes and fixes as text for people, and as data for --json."""

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from bootstrap.cli.session import Session
from bootstrap.cli.show import short
from bootstrap.domain.doctor.finding import Code, Finding, Severity
from bootstrap.domain.doctor.fix_run import FixRun
from bootstrap.domain.doctor.groups import GROUPS, codes
from bootstrap.domain.doctor.mend_command import command_in
from bootstrap.wiring import found_lab
from bootstrap.workflows.doctor import ShownMending

_STYLE = {
    Severity.OK: "green",
    Severity.NOTE: "cyan",
    Severity.WARNING: "yellow",
    Severity.ERROR: "bold red",
    Severity.NOT_APPLICABLE: "dim",
}
_QUIET = (Severity.OK, Severity.NOT_APPLICABLE)
_WIDTH = 96


def show_findings(session: Session, findings: Sequence[Finding]) -> None:
    """Print the findings by group; what is well is only counted, unless --verbose.

    With --quiet only errors, on standard error, so that a timer sends mail only where one is there.
    """
    if session.quiet and not session.as_json:
        for finding in findings:
            if finding.severity is Severity.ERROR:
                words = f"error: {finding.code} {finding.seen}\nfix:   {finding.mend}"
                session.err.print(words, markup=False)
        return
    for group in GROUPS:
        mine = [finding for finding in findings if finding.code.startswith(group.prefix)]
        if not mine:
            continue
        session.print(Text(group.title, style="bold"))
        for finding in mine:
            if session.verbose or finding.severity not in _QUIET:
                _show_finding(session, finding)
        session.print(Text(f"  {_counted(mine)}", style="dim"))
    bad = [finding.code for finding in findings if finding.severity not in _QUIET]
    if bad:
        session.print(Text(f"More about one of them: keyturn explain {bad[0]}", style="dim"))


def _show_finding(session: Session, finding: Finding) -> None:
    word = finding.severity.value if finding.severity is not Severity.NOT_APPLICABLE else "n/a"
    line = (f"  {word:8}", _STYLE[finding.severity]), (f"{finding.code} ", "bold"), finding.seen
    session.print(Text.assemble(*line))
    if finding.severity in _QUIET:
        return
    session.print(Text(f"          {finding.why}", style="dim"))
    if finding.mend:
        session.print(f"          mend: {finding.mend}")
    if finding.fixes and not finding.mend.startswith("keyturn doctor --fix"):
        by_itself = all(not fix.on_request for fix in finding.fixes)
        session.print(
            f"          or:   keyturn doctor --fix {finding.code}"
            + ("" if by_itself else "  (only when asked by its code)")
        )


def _counted(findings: Sequence[Finding]) -> str:
    counts = [(s, sum(f.severity is s for f in findings)) for s in Severity]
    words = [f"{number} {severity.value}" for severity, number in counts if number]
    return ", ".join(words)


def findings_data(findings: Sequence[Finding], code: int) -> dict[str, Any]:
    """Return the findings for --json."""
    known = codes()
    return {
        "exit_code": code,
        "findings": [
            {
                "code": finding.code,
                "group": next(g.title for g in GROUPS if finding.code.startswith(g.prefix)),
                "title": known[finding.code].title,
                "severity": finding.severity.value,
                "seen": finding.seen,
                "why": finding.why or None,
                "mend": finding.mend or None,
                "command": command_in(finding.mend) or None,
                "fixes": [fix.summary for fix in finding.fixes],
            }
            for finding in findings
        ],
    }


def show_mending(session: Session, shown: ShownMending) -> None:
    """Print what a fix changes, with the redacted difference."""
    home = found_lab.home()
    for mend in shown.mending.files:
        path = short(mend.path, home)
        what = f"{path}  {'; '.join(mend.summaries)}"
        session.print(Text.assemble(("mend    ", "yellow"), f"{', '.join(mend.codes)} ", what))
        for row in shown.diffs[mend.path]:
            style = {"+": "green", "-": "red", "@": "cyan"}.get(row[:1], "dim")
            session.print(Text(f"        {row}", style=style))
    for code, command in shown.mending.commands:
        session.print(Text.assemble(("run     ", "yellow"), f"{code} {command.summary}"))
        session.print(Text(f"        $ {' '.join(command.argv)}", style="dim"))
    for code, why in shown.mending.refused:
        session.print(Text.assemble(("left    ", "bold red"), f"{code} {why}"))


def mending_data(shown: ShownMending) -> dict[str, Any]:
    """Return what a fix changes, for --json."""
    mending = shown.mending
    return {
        "files": [
            {
                "path": str(mend.path),
                "codes": list(mend.codes),
                "changes": list(mend.summaries),
                "diff": list(shown.diffs[mend.path]),
            }
            for mend in mending.files
        ],
        "commands": [
            {"code": code, "change": command.summary, "command": list(command.argv)}
            for code, command in mending.commands
        ],
        "refused": [{"code": code, "why": why} for code, why in mending.refused],
    }


def show_undone(session: Session, run: FixRun) -> None:
    """Print what was put back."""
    home = found_lab.home()
    for saved in run.files:
        what = "removed again" if saved.before is None else "as before"
        session.print(Text.assemble(("undone  ", "green"), f"{short(saved.path, home)}  ", what))
    for summary in run.lasting:
        session.print(Text.assemble(("stays   ", "yellow"), summary))
    session.document(
        {
            "undone": [str(saved.path) for saved in run.files],
            "stays": list(run.lasting),
        }
    )


def show_code(session: Session, code: Code) -> None:
    """Print the long form of a code."""
    session.print(Text(f"{code.id}: {code.title}", style="bold"))
    for paragraph in (code.why, code.more):
        session.print()
        session.print(textwrap.fill(paragraph, _WIDTH))
    session.print()
    session.print(textwrap.fill(f"Mend it: {code.mend}", _WIDTH))
    if code.fixable:
        session.print(f"      or: keyturn doctor --fix {code.id}")


def code_data(code: Code) -> dict[str, Any]:
    """Return a code for --json."""
    return {
        "code": code.id,
        "title": code.title,
        "why": code.why,
        "more": code.more,
        "mend": code.mend,
        "fixable": code.fixable,
    }
