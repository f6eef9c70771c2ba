"""Refuse to go on where files are not this lab's to write, and say what to type then."""

from bootstrap.domain.claims import way_on
from bootstrap.domain.errors import ConflictError
from bootstrap.domain.plan import Plan
from bootstrap.workflows.tools import Tools

_SHOWN = 3


def refuse_conflicts(tools: Tools, plan: Plan) -> None:
    """Raise ConflictError where a file was edited by hand, or another lab answers for it."""
    if not plan.conflicts:
        return
    refuse_other_lab(tools, plan)
    raise ConflictError(
        "some files are not as keyturn left them, so nothing was changed",
        why=_rows(plan),
        fix="see: keyturn plan; replace them, keeping backups: keyturn apply --force",
    )


def refuse_other_lab(tools: Tools, plan: Plan, *, outcome: str = ", so none was changed") -> None:
    """Raise ConflictError where another lab answers for a file of `plan`."""
    other = next((c.lab for c in plan.conflicts if c.lab), None)
    if other is not None:
        raise ConflictError(
            f"some files are another lab's{outcome}",
            why=_rows(plan),
            fix=way_on(other, str(tools.lab.root)),
        )


def _rows(plan: Plan) -> str:
    by_reason: dict[str, list[str]] = {}
    for change in plan.conflicts:
        by_reason.setdefault(change.why, []).append(str(change.target.path))
    return "; ".join(f"{_some(paths)}: {why}" for why, paths in by_reason.items())


def _some(paths: list[str]) -> str:
    more = len(paths) - _SHOWN
    names = ", ".join(paths[:_SHOWN])
    return f"{names} and {more} more (keyturn plan has them all)" if more > 1 else ", ".join(paths)
