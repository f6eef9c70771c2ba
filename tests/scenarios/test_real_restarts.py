"""The real LiteLLM gets a new configuration under load: nothing refused, nothing cut off."""

from pathlib import Path

import pytest

from bootstrap.adapters.listeners import LocalPorts
from support.load import load_on
from support.real_labs import MODEL, STREAM_S, real_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("kind", ["supervisor", "systemd"])
def test_an_apply_loses_nothing(kind: str, tmp_path: Path, home: Path) -> None:
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
        lab.ok("check")
    assert LocalPorts().listener(lab.port) is None
