"""Run checks over observations, whatever each of them does."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bootstrap.domain.doctor.finding import Code, Finding, Severity
from bootstrap.domain.doctor.observations import Observations

Look = Callable[[Observations], Iterable[Finding]]


@dataclass(frozen=True)
class Check:
    """One thing that doctor looks for.

    Attributes:
        code: What it finds.
        look: Yields findings; none means that all is well.
        needs: Fields of `Observations` without which it cannot be answered.
    """

    code: Code
    look: Look
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Checks about one thing.

    Attributes:
        prefix: What the ids of its codes start with, for example `KT1`.
        title: What they are about.
        checks: In the order in which they are shown, and in which their fixes are carried out.
        absent: Returns why the whole group does not apply here; empty where it does.
    """

    prefix: str
    title: str
    checks: tuple[Check, ...]
    absent: Callable[[Observations], str] = lambda _: ""

    @property
    def codes(self) -> tuple[Code, ...]:
        """Its codes, in order."""
        return tuple(check.code for check in self.checks)


def diagnose(
    observations: Observations, groups: Sequence[Group], chosen: Sequence[str] = ()
) -> list[Finding]:
    """Return at least one finding for each check, in order; a check that fails stops no other.

    Args:
        observations: What was seen.
        groups: Whose checks to run.
        chosen: Codes, or beginnings of codes such as `KT1`; all where empty.
    """
    return [
        finding
        for group in groups
        for check in group.checks
        if is_chosen(check.code.id, chosen)
        for finding in _run(check, observations, group.absent(observations))
    ]


def is_chosen(code: str, chosen: Sequence[str]) -> bool:
    """Tell whether a code is among those asked for."""
    return not chosen or code.startswith(tuple(chosen))


def _run(check: Check, observations: Observations, absent: str) -> Iterator[Finding]:
    code = check.code
    reason = absent or _missing(check, observations)
    if reason:
        yield Finding(code.id, Severity.NOT_APPLICABLE, reason)
        return
    try:
        found = list(check.look(observations))
    except Exception as error:  # noqa: BLE001 - one broken check must not hide the others
        seen = f"this check itself failed ({type(error).__name__})"
        mend = "please report it as a bug in keyturn"
        yield Finding(code.id, Severity.WARNING, seen, "It could not say anything.", mend)
        return
    yield from found or [Finding(code.id, Severity.OK, f"no sign of: {code.title}")]


def _missing(check: Check, observations: Observations) -> str:
    for need in check.needs:
        if getattr(observations, need) is None:
            problem = observations.problems.get(need) or observations.problems.get("lab")
            return problem.seen if problem else f"{need}: there is nothing to look at"
    return ""
