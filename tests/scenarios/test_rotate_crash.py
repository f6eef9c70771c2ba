"""Wherever a rotation is killed, interrupted or refused by the disk: one key is in force after it.

The points here are a sample, spread over the whole run and over all kinds; `benchmarks/crash.py`
tries every one of them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support import crash, labs
from support.power import State

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

PARTS = 4
SOPS_MODES = ("before", "empty", "after")


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[crash.Crash]:
    with labs.stopped_after(crash.make(tmp_path, home)) as made:
        crashing = crash.Crash(made)
        yield crashing
        crashing.close()


def sample(points: Sequence[crash.Point], part: int, step: int) -> Sequence[crash.Point]:
    """Return every `step`th point, beginning elsewhere in each part."""
    return points[part * step // PARTS :: step]


def survive_all(lab: crash.Crash, points: Sequence[crash.Point]) -> list[str]:
    """Survive every point; a failure names its point. Return the exit statuses."""
    assert points
    codes = []
    for point in points:
        try:
            codes.append(lab.survive(point))
        except AssertionError as failure:
            raise AssertionError(f"{point}: {failure}") from failure
    return codes


@pytest.mark.parametrize("part", range(PARTS))
def test_a_rotation_killed_at_any_system_call_recovers(lab: crash.Crash, part: int) -> None:
    points = list(crash.signals(lab.calls(), "KILL"))
    assert len(points) > 80
    assert set(survive_all(lab, sample(points, part, 24))) == {"-9"}


@pytest.mark.parametrize("part", range(PARTS))
def test_a_disk_that_fails_at_any_system_call_is_undone_or_told(
    lab: crash.Crash, part: int
) -> None:
    points = list(crash.failures(lab.calls()))
    assert len(points) > 150
    codes = survive_all(lab, sample(points, part, 60))
    assert set(codes) <= {"0", "1", "5", "6"}


@pytest.mark.parametrize(("name", "code"), [("TERM", "143"), ("INT", "130")])
def test_a_rotation_that_is_asked_to_stop_ends_by_itself(
    lab: crash.Crash, name: str, code: str
) -> None:
    calls = lab.calls()
    points = list(crash.signals(calls[4:], name))  # up to there it has not begun
    assert set(survive_all(lab, points[::25])) == {code}


@pytest.mark.parametrize("mode", SOPS_MODES)
@pytest.mark.parametrize("alone", [True, False], ids=["sops dies", "both die"])
def test_a_sops_that_dies_changes_nothing_by_itself(
    lab: crash.Crash, mode: str, alone: bool
) -> None:
    for at in (3, 6):
        assert lab.survive_sops(at, mode, alone=alone) in ({"5", "6"} if alone else {"-9"})


@pytest.mark.parametrize(("name", "error"), [("fsync", "EIO"), ("rename", "EACCES")])
def test_a_disk_that_fails_from_some_call_on_is_told_and_recovers_later(
    lab: crash.Crash, name: str, error: str
) -> None:
    calls = [call for call in lab.calls() if call.name == name]
    middle = calls[len(calls) // 2]
    assert lab.survive(crash.Point(middle, f"error={error}", onwards=True)) in ("5", "6")


@pytest.mark.parametrize("failing", ["", "/.factory>", "/rotation.journal>"])
def test_a_power_failure_at_any_time_leaves_one_key_that_recovers(
    lab: crash.Crash, failing: str
) -> None:
    syncs = [call for call in lab.calls() if call.name == "fsync"]
    switching = next(n for n, call in enumerate(syncs) if "/.factory>" in call.text)
    failure = next(call for call in syncs[switching:] if failing in call.text)
    power = lab.power_failures(crash.Point(failure, "error=EIO") if failing else None)
    assert power.code == (5 if failing else 0)
    states = [state for state in power.states if state.failed or not failing]
    assert len(states) > (30 if failing else 90)
    survive_power(power, states, 6)


def test_a_recovery_that_loses_its_power_is_finished_by_the_next(lab: crash.Crash) -> None:
    switched = crash.steps(lab.calls())[4]
    power = lab.power_failures_of_recovery(crash.Point(switched, "signal=KILL"))
    survive_power(power, power.states, 6)


def survive_power(power: crash.PowerFailures, states: Sequence[State], count: int) -> None:
    """Survive about `count` of the states, the last one included; a failure names its state."""
    for state in (*states[1 :: len(states) // (count - 1)], states[-1]):
        try:
            power.survive(state)
        except AssertionError as lost:
            raise AssertionError(f"{state.at}: {lost}") from lost
