"""The real LiteLLM gets a new configuration under load: nothing refused, nothing cut off."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters.listeners import LocalPorts
from support.load import load_on
from support.real_labs import MODEL, STREAM_S, RealLab, real_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def swap_only(real: RealLab) -> None:
    """Ask for no more."""


@pytest.mark.parametrize(
    ("kind", "then"),
    [("supervisor", RealLab.rotate_provider_key), ("systemd", swap_only)],
    ids=["supervisor, then a provider key", "systemd"],
)
def test_an_apply_loses_nothing(
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
