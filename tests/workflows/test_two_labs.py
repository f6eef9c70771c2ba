"""Two labs in one home: neither takes the other's files without being told to."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters.machine import JsonState, other_labs
from bootstrap.domain.claims import highest_claims, of_others, own_claim
from bootstrap.domain.errors import ConflictError
from bootstrap.domain.plan import Action
from bootstrap.workflows.apply import apply
from bootstrap.workflows.force import prove_targets
from bootstrap.workflows.planning import make_plan, needed_secrets, only_secrets
from support.fakes import FakeTools, make_tools

MODEL = """
version = 1
[gateway]
port = 4123
[backends.local]
kind = "ollama"
[[models]]
alias = "{0}"
backend = "local"
upstream = "{0}"
"""


def lab_in(home: Path, top: Path, alias: str) -> FakeTools:
    """Return a lab in `top` that works in `home`, with the state that the program has."""
    top.mkdir()
    tools = make_tools(top, MODEL.format(alias))
    places = make_tools(home).places
    states = places.lab_state(tools.lab.root).parent
    tools.service.on_start = lambda: tools.gateway.start_with(places.env_file)
    return replace(
        tools,
        places=places,
        state=JsonState(places.lab_state(tools.lab.root)),  # type: ignore[arg-type]
        other_labs=lambda: other_labs(states, tools.lab.root),
    )


@pytest.fixture
def labs(tmp_path: Path) -> tuple[FakeTools, FakeTools]:
    """Two labs; the first was applied."""
    home = tmp_path / "user"
    home.mkdir()
    first, second = lab_in(home, tmp_path / "one", "qwen"), lab_in(home, tmp_path / "two", "llama")
    apply(first)
    return first, second


def models(tools: FakeTools) -> list[str]:
    """Return what droid lists."""
    settings = json.loads(Path(tools.places.factory / "settings.json").read_text())
    return [entry["model"] for entry in settings["customModels"]]


def test_the_second_lab_is_told_whose_the_files_are(labs: tuple[FakeTools, FakeTools]) -> None:
    first, second = labs
    plan = make_plan(second)
    shared = [change for change in plan.conflicts if change.lab == str(first.lab.root)]
    paths = {str(change.target.path.name) for change in shared}
    assert {"settings.json", "config.yaml", "litellm.env", "litellm.service"} <= paths
    assert all(change.action is Action.CREATE for change in plan.changes if not change.lab)
    before = models(first)
    with pytest.raises(ConflictError, match="some files are another lab's") as refused:
        apply(second)
    assert refused.value.why.count(f"the lab in {first.lab.root} answers for it") == 1
    assert f"--lab {first.lab.root}" in refused.value.fix
    secrets = only_secrets(second.resolver.resolve_all(needed_secrets(second)))
    with pytest.raises(ConflictError, match="are another lab's"):
        prove_targets(second, secrets)
    assert models(first) == before == ["lab-echo", "qwen"]


def test_either_can_take_the_files_over_and_is_then_the_one(
    labs: tuple[FakeTools, FakeTools],
) -> None:
    first, second = labs
    first.service.stop()
    for this, other in ((second, first), (first, second), (second, first)):
        whys = {change.why for change in make_plan(this, force=True).changes if change.backup}
        assert whys == {f"the lab in {other.lab.root} wrote it; replaced by --force"}
        assert apply(this, force=True).proven
        assert not make_plan(this)
        assert {change.lab for change in make_plan(other).conflicts} == {str(this.lab.root)}
        this.service.stop()
    assert models(first) == ["lab-echo", "llama"]


def test_a_lab_that_is_gone_answers_for_nothing(labs: tuple[FakeTools, FakeTools]) -> None:
    first, second = labs
    Path(first.lab.file).unlink()
    assert {change.lab for change in make_plan(second).conflicts} == {""}


@pytest.mark.parametrize(
    "row", [{}, {"path": 1, "claim": 1}, {"path": "/f", "claim": "1"}, {"path": "/f"}]
)
def test_rows_without_a_claim_claim_nothing(row: Mapping[str, Any]) -> None:
    assert highest_claims({"/lab": {"targets": {"config": row}}, "/other": {}}) == {}
    assert own_claim(row, "/f") == 0


def test_the_highest_claim_counts_for_the_file_where_it_stands() -> None:
    rows = {"a": {"path": "/f", "claim": 2}, "b": {"path": "/f", "claim": 1}}
    found = highest_claims({"/x": {"targets": rows}, "/y": {"targets": {"a": rows["b"]}}})
    assert (found["/f"].lab, found["/f"].number) == ("/x", 2)
    assert (own_claim(rows["a"], "/f"), own_claim(rows["a"], "/moved")) == (2, 0)


def test_doctor_leaves_a_file_to_the_lab_with_the_highest_claim() -> None:
    theirs = {"/x": {"targets": {"a": {"path": "/f", "claim": 2}, "b": {"path": "/g", "claim": 1}}}}
    own = {"targets": {"a": {"path": "/f", "claim": 3}, "b": {"path": "/g"}}}
    assert of_others(theirs, own) == {"/g": "/x"}
    assert of_others(theirs, {}) == {"/f": "/x", "/g": "/x"}
    assert of_others({}, own) == {}
