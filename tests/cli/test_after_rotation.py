"""What `[rotate] after` names is run until it was told how a rotation ended."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.cli import open_rotation
from bootstrap.cli.session import Session
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.rotation import Part, Record, Step, owes_hook

PROVEN = Record(Step.PROVEN, "A_KEY", "0a0a0a0a", "1b1b1b1b", "sops:x#A_KEY", 5.0, retire_at=9.0)
OWING = replace(PROVEN, owes_hook=True)


@dataclass
class Pages:
    """A journal in memory."""

    lines: list[Record] = field(default_factory=lambda: [OWING])

    def records(self) -> Sequence[Record]:
        return self.lines

    def add(self, record: Record) -> None:
        self.lines.append(record)


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    monkeypatch.setattr("bootstrap.wiring.labs.lock", lambda root: contextlib.nullcontext())
    return Pages()


def after(pages: Pages) -> None:
    tools: Any = SimpleNamespace(lab=SimpleNamespace(rotate=SimpleNamespace(after=("./hook",))))
    using: Any = SimpleNamespace(journal=pages)
    open_rotation.after_rotation(Session(quiet=True), PurePath("/lab"), tools, using)


def test_a_rotation_taken_back_while_the_hook_runs_still_owes_that_it_is_told(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []

    def run(lab: object, parts: Sequence[Part]) -> None:
        told.extend((part.old, part.new) for part in parts)
        if len(told) == 1:
            pages.add(replace(OWING, step=Step.UNDONE, retire_at=None))

    monkeypatch.setattr("bootstrap.wiring.rotations.run_after", run)
    after(pages)
    assert owes_hook(pages.records()) is not None
    after(pages)
    assert owes_hook(pages.records()) is None
    assert told == [("0a0a0a0a", "1b1b1b1b"), ("1b1b1b1b", "0a0a0a0a")]


def test_a_hook_that_fails_is_not_owed_for_ever(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(lab: object, parts: Sequence[Part]) -> None:
        raise ConfigError("it failed", why="its exit status is 1", fix="run it by hand")

    monkeypatch.setattr("bootstrap.wiring.rotations.run_after", run)
    after(pages)
    assert owes_hook(pages.records()) is None
