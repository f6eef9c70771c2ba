"""KT0xx: what everything else depends on."""

from collections.abc import Iterator

from bootstrap.domain.doctor.check import Check, Group
from bootstrap.domain.doctor.codes_lab import KEY_UNREADABLE, LAB_UNREADABLE, NOT_OBSERVED
from bootstrap.domain.doctor.finding import Finding
from bootstrap.domain.doctor.observations import Observations

_OWN = ("lab", "key")


def lab_unreadable(seen: Observations) -> Iterator[Finding]:
    """Say why there is no lab."""
    problem = seen.problems.get("lab")
    if problem is not None:
        yield LAB_UNREADABLE.error(problem.seen, mend=problem.mend)


def key_unreadable(seen: Observations) -> Iterator[Finding]:
    """Say why there is no key."""
    problem = seen.problems.get("key")
    if problem is not None and seen.lab is not None:
        yield KEY_UNREADABLE.error(problem.seen, mend=problem.mend)


def not_observed(seen: Observations) -> Iterator[Finding]:
    """Name every other part that could not be observed."""
    for name, problem in seen.problems.items():
        if name not in _OWN:
            yield NOT_OBSERVED.warning(f"{name}: {problem.seen}", mend=problem.mend)


LAB = Group(
    "KT0",
    "The lab",
    (
        Check(LAB_UNREADABLE, lab_unreadable),
        Check(KEY_UNREADABLE, key_unreadable, needs=("lab",)),
        Check(NOT_OBSERVED, not_observed),
    ),
)
