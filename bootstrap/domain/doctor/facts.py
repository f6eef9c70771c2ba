"""Kinds of facts that several groups of checks use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol, runtime_checkable

from bootstrap.domain.content import FileState
from bootstrap.domain.secret import Secret


@dataclass(frozen=True)
class Problem:
    """Why a part could not be observed.

    Attributes:
        seen: What happened, one clause.
        mend: What to type or edit.
    """

    seen: str
    mend: str = ""


@dataclass(frozen=True)
class FoundFile:
    """A place where a file could be.

    Attributes:
        path: The place; absolute.
        state: What stands there; None for nothing, or for something unreadable.
        problem: Why it cannot be read, or empty.
    """

    path: PurePath
    state: FileState | None = None
    problem: str = ""

    @property
    def data(self) -> bytes | None:
        """Its bytes."""
        return None if self.state is None else self.state.content.data


@dataclass(frozen=True)
class Installation:
    """A program that was found on PATH.

    Attributes:
        path: As PATH leads to it.
        real: The file behind it.
        version: Of the package that it belongs to; empty where that cannot be told.
    """

    path: PurePath
    real: PurePath
    version: str = ""


@dataclass(frozen=True)
class RunningProgram:
    """A process of this user.

    Attributes:
        pid: Its number.
        name: The program's name, without arguments.
        keys: The keys in its environment, by variable.
    """

    pid: int
    name: str
    keys: Mapping[str, Secret] = field(default_factory=dict)


@runtime_checkable
class HoldsKeys(Protocol):
    """Facts in which keys were met; what they yield is masked in every finding and diff."""

    def secret_texts(self) -> Iterable[tuple[str, Secret]]:
        """Yield (name, value) of each."""
