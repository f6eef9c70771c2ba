"""`keyturn service`: what it says of the gateway, and that it does what it is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import labs
from support.labs import CliLab, stopped_after

pytestmark = pytest.mark.integration


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    with stopped_after(labs.bootstrapped(tmp_path, home)) as made:
        yield made


def test_the_gateway_is_looked_at_stopped_started_and_restarted(lab: CliLab) -> None:
    first = lab.pid
    assert lab.ok("service").out == f"litellm (supervisor): running, pid {first}\n"
    found = lab.ok("service", "status", "--json").json
    assert (found["kind"], found["running"], found["pid"]) == ("supervisor", True, first)
    lab.ok("service", "start")
    assert lab.pid == first, "what runs is left alone"
    lab.ok("service", "restart")
    second = lab.pid
    assert second not in (None, first)
    assert lab.call("service", "stop").code == 0
    stopped = lab.call("service")
    assert (stopped.code, "stopped" in stopped.out) == (1, True)
    assert lab.call("service", "stop").code == 0
    lab.ok("service", "start")
    assert lab.pid not in (None, second)
    with (lab.state / "gateway.log").open("a") as log:
        log.write(f"Authorization: Bearer {lab.key}\nlast\n")
    shown = lab.ok("service", "log", "-n", "2").out.splitlines()
    assert (len(shown), shown[-1]) == (2, "last")
    assert lab.ok("service", "log", "-n", "2", "--json").json == {"lines": shown}
    assert lab.key not in "".join(lab.said)
