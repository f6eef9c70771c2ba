"""The program that is run after a rotation is told once of each thing that came of it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.adapters.journal import FileJournal
from bootstrap.cli.open_rotation import after_rotation
from bootstrap.cli.session import Session
from bootstrap.domain.lab import Lab
from bootstrap.domain.rotation import Part, Record, Step, owes_hook
from bootstrap.wiring import rotations
from support.fakes import LAB, make_tools

PART = Part("LITELLM_MASTER_KEY", "11111111", "22222222", "sops:a#K")
PROVEN = Record(
    Step.PROVEN, PART.name, PART.old, PART.new, PART.store, 5.0, retire_at=9e8, owes_hook=True
)


@pytest.mark.parametrize(
    ("meanwhile", "owed"),
    [
        (PROVEN, False),
        (replace(PROVEN, step=Step.CLOSED), False),
        (replace(PROVEN, step=Step.UNDONE), True),
    ],
    ids=["it goes on", "its grace time ends", "it is taken back"],
)
def test_what_comes_of_a_rotation_while_the_program_runs_is_told_if_it_is_news(
    meanwhile: Record, owed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = make_tools(tmp_path, LAB + '[rotate]\nafter = ["./hook.sh"]\n')
    journal = FileJournal(PurePath(tmp_path))
    journal.begin(PROVEN)
    told: list[str] = []

    def run_after(lab: Lab, parts: Sequence[Part]) -> None:
        told.extend(part.new for part in parts)
        journal.add(meanwhile)

    monkeypatch.setattr(rotations, "run_after", run_after)
    using: Any = SimpleNamespace(journal=journal)
    after_rotation(Session(), tools.lab.root, tools, using)
    assert (owes_hook(journal.records()) is not None) == owed
    after_rotation(Session(), tools.lab.root, tools, using)
    assert told == ["22222222", "11111111"][: 1 + owed]
    assert owes_hook(journal.records()) is None
