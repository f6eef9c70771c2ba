"""The machine's clock jumps while a key is rotated: keyturn's own, and that of a gateway that runs.

Real sops, age and supervisor; the gateway is a stand-in with the real guard inside.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.secret import Secret
from bootstrap.domain.uses import USES_FILE, last_use
from support import labs
from support.load import key_in, load_on
from support.moved_clock import HOUR_S, Clock
from support.rotations import PROMOTING, paused
from support.sessions import TOOLS
from support.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

GRACE = ("--grace", "10m")


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def lab(tmp_path: Path, home: Path, clock: Clock) -> Iterator[labs.CliLab]:
    made = labs.make(tmp_path, home)
    program = f'exec {sys.executable} {TOOLS / "guarded_gateway.py"} "$@"'
    labs.write_wrapper(made.wrapper, clock.shell() + program)
    made.ok("bootstrap", str(made.root))
    with labs.stopped_after(made):
        yield made


def statuses(lab: labs.CliLab, *keys: str) -> list[int | None]:
    """Return what its gateway answers to each key."""
    gateway = HttpGateway(f"http://127.0.0.1:{lab.port}")
    return [gateway.models(Secret(key)).status for key in keys]


def rotated_across(lab: labs.CliLab, clock: Clock, offset_s: int) -> tuple[str, str]:
    """Rotate with a grace time, and set the clock in the middle; return the old and new key."""
    old = lab.key
    with paused(lab, PROMOTING, *GRACE, env=clock.variables) as rotation:
        clock.set(offset_s)
        new = key_in(lab.settings)()
        assert statuses(lab, old, new) == [200, 200]
        ran = rotation.finish()
    assert ran.code == 0, ran.err
    assert lab.key == new != old
    return old, new


def noted_use(lab: labs.CliLab) -> float:
    """Return the last use of any key that the gateway has noted, in seconds since 1970."""
    file = Path(lab.places.litellm) / USES_FILE
    return last_use(file.read_bytes()) if file.exists() else 0.0


def test_a_clock_that_jumps_an_hour_in_a_rotation_costs_no_request_and_revives_no_key(
    lab: labs.CliLab, clock: Clock
) -> None:
    with load_on(
        lab.port, key_in(lab.settings), "lab-echo", rate=20, streams=1, stream_s=0.5
    ) as load:
        first, second = rotated_across(lab, clock, -HOUR_S)
        assert statuses(lab, first, second) == [200, 200], "the grace time runs on"
        clock.set(HOUR_S)
        assert statuses(lab, first, second) == [401, 200], "it is over"
        clock.set(-HOUR_S)
        assert statuses(lab, first, second) == [401, 200], "and stays so"
        ran = lab.run("rotate", "--resume", env=lab.environment(**clock.variables))
        assert ran.code == 0, ran.err
        until(lambda: noted_use(lab) > time.time() + HOUR_S / 2, "a use by the guard's time")

        second, third = rotated_across(lab, clock, 0)
        assert statuses(lab, first, second, third) == [401, 200, 200]
        clock.set(HOUR_S)
        assert statuses(lab, second, third) == [200, 200], "an hour ahead it was before"
        clock.set(HOUR_S + 601)
        assert statuses(lab, second, third) == [401, 200]
    assert load.lost == 0, load.problems()
