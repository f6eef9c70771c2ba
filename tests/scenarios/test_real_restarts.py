"""The real LiteLLM under load: a new configuration, new keys; nothing refused, nothing cut off."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters.listeners import LocalPorts
from support.labs import CliLab
from support.load import Retired, key_in, load_on
from support.real_labs import MODEL, STREAM_S, RealLab, real_lab
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(450)]


def rotate_only(real: RealLab) -> None:
    """Rotate without a restart: that of this kind was just seen."""
    rotate_under_load(real.lab, (), ())


def rotate_all_ways(real: RealLab) -> None:
    """Rotate, also with a restart, and then the key of a provider."""
    rotate_under_load(real.lab, (), (), ("--restart",))
    real.rotate_provider_key()


@pytest.mark.parametrize(
    ("kind", "then"),
    [("supervisor", rotate_all_ways), ("systemd", rotate_only)],
    ids=["supervisor, then all rotations", "systemd"],
)
def test_an_apply_and_rotations_lose_nothing(
    kind: str, then: Callable[[RealLab], None], tmp_path: Path, home: Path
) -> None:
    with real_lab(tmp_path, home, kind) as real:
        lab, pid = real.lab, real.lab.pid
        real.change()
        with load_on(lab.port, lab.key, MODEL) as load:
            ran = lab.ok("apply")
        assert "a second one serves meanwhile" in ran.err
        assert lab.pid != pid
        assert load.lost == 0, load.problems()
        assert load.kept.resets == 0
        assert load.streams.longest_s >= STREAM_S
        assert load.fresh.sent > 100
        then(real)
        lab.ok("check")
    assert LocalPorts().listener(lab.port) is None


def rotate_under_load(lab: CliLab, *rotations: tuple[str, ...]) -> None:
    """Rotate with each of the options; clients that read their settings again lose nothing."""
    with Retired(lab.port) as retired, load_on(lab.port, key_in(lab.settings), MODEL) as load:
        for options in rotations:
            pid, old = lab.pid, lab.key
            lab.ok("rotate", *options)
            retired.add(old)
            assert (lab.pid != pid) == ("--restart" in options)
        until(lambda: retired.refused > len(rotations))
    assert load.lost == 0, load.problems()
    assert load.kept.resets == 0
    assert load.streams.longest_s >= STREAM_S
    assert (retired.accepted, retired.problems) == (0, [])
