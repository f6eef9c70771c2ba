"""A rotation on the real LiteLLM is killed after each step, and recovers without a restart."""

from pathlib import Path

import pytest

from bootstrap.adapters.listeners import LocalPorts
from bootstrap.domain.rotation import Step
from support import crash, labs
from support.litellm import real_litellm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ORDER = [step for step in Step if step is not Step.UNDONE]


def test_a_rotation_killed_after_any_step_recovers_to_the_key_of_the_store(
    tmp_path: Path, home: Path
) -> None:
    with labs.stopped_after(crash.make(tmp_path, home, real_litellm())) as lab:
        killing, pid = crash.Crash(lab), lab.pid
        journal, kept = lab.state / "rotation.journal", []
        points = crash.steps(killing.calls())
        for step, call in zip(ORDER, points, strict=True):
            old = lab.key
            code, new = killing.rotate(crash.Point(call, "signal=KILL"))
            assert code == -9
            last = journal.read_text().splitlines()[-1]
            assert f'"step": "{step.value}"' in last, "killed somewhere else"
            killing.judge(code, new)
            kept.append(lab.key == old)
        killing.close()
        assert kept == [True] * 5 + [False] * 4, "from the promotion on it goes forward"
        assert lab.pid == pid
        lab.ok("check", "--deep")
    assert LocalPorts().listener(lab.port) is None
