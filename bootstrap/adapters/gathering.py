"""Look at many things at once; one that fails, or does not answer, is no reason to wait."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TypeVar

from bootstrap.domain.doctor.facts import Problem
from bootstrap.domain.errors import LabError
from bootstrap.domain.lab import Lab
from bootstrap.domain.places import Places
from bootstrap.domain.secret import Secret

_T = TypeVar("_T")
# What takes no longer is done before the next begins: a dozen that read files at the same time take
# the interpreter from each other at every call, which doubles what all of them need.
_ALONE_S = 0.005


@dataclass(frozen=True)
class Scene:
    """What an observer is given.

    Attributes:
        places: The homes of this machine.
        cwd: Where doctor was started.
        environment: The variables of this process.
        lab: The lab, or None.
        key: Returns the key that the store holds, or None; the first call reads it.
        deep: Whether what takes more than a moment is wanted, too.
    """

    places: Places
    cwd: PurePath
    environment: Mapping[str, str] = field(repr=False)
    lab: Lab | None = None
    key: Callable[[], Secret | None] = lambda: None
    deep: bool = False


class Late(Problem):
    """That something did not answer in time."""


# Returns the facts of one field of Observations, or None where there is nothing to look at.
Observer = Callable[[Scene], object]


def gather(
    tasks: Mapping[str, Callable[[], object]], limit_s: float
) -> tuple[dict[str, object], dict[str, Problem]]:
    """Run all tasks at the same time; return what each gave, and why each other one did not.

    Args:
        tasks: By name.
        limit_s: How long to wait for all of them together, in seconds. A task that is not done by
            then is left to itself: it ends with this process.
    """
    given: dict[str, object] = {}
    problems: dict[str, Problem] = {}

    def run(name: str, task: Callable[[], object]) -> None:
        try:
            given[name] = task()
        except LabError as error:
            problems[name] = Problem(f"{error.what}: {error.why}", error.fix)
        except Exception as error:  # noqa: BLE001 - its text may quote a key
            problems[name] = Problem(f"looking at it failed ({type(error).__name__})")

    threads = {
        name: threading.Thread(target=run, args=(name, task), name=f"doctor {name}", daemon=True)
        for name, task in tasks.items()
    }
    deadline = time.monotonic() + limit_s
    for thread in threads.values():
        thread.start()
        thread.join(_ALONE_S)
    for thread in threads.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    # Copies, and what is late is left out of both: its thread may still write.
    late = {n: Late(f"no answer within {limit_s:g} s") for n, t in threads.items() if t.is_alive()}
    return (
        {name: value for name, value in dict(given).items() if name not in late},
        {**{n: p for n, p in dict(problems).items() if n not in late}, **late},
    )


def once(ask: Callable[[], _T]) -> Callable[[], _T]:
    """Return `ask`, asked at most once, by whichever thread comes first; the others wait."""
    lock = threading.Lock()
    answers: list[_T] = []
    failures: list[LabError] = []

    def answer() -> _T:
        with lock:
            if failures:
                raise failures[0]
            if not answers:
                try:
                    answers.append(ask())
                except LabError as error:
                    failures.append(error)
                    raise
            return answers[0]

    return answer
