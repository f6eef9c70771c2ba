"""`adopt` killed or interrupted between its writes: nothing is lost, and a second run completes.

It makes 33 renames; killed and interrupted at each of them it was tried by hand. Here are a point
while the lab is made, one just before the old gateway stops, and two after it.
"""

import subprocess
from pathlib import Path

import pytest

from bootstrap.domain.secret import Secret
from support.hand_made import KEY, HandMade, hand_made
from support.labs import MODULE, CliLab, make
from support.waiting import until

pytestmark = pytest.mark.faults

RENAMES = "rename,renameat,renameat2"


def stopped_at(lab: CliLab, number: int, what: str) -> int:
    """Run `adopt` under strace, which sends it a signal at its Nth rename; return its status."""
    argv = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={RENAMES}"]
    argv += ["-e", f"inject={RENAMES}:signal={what}:when={number}", "--", *MODULE]
    ended = subprocess.run(
        [*argv, "adopt", str(lab.root), "--yes"],
        cwd=lab.root,
        env=lab.environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        timeout=60,
    )
    assert KEY.encode() not in ended.stdout + ended.stderr
    code = ended.returncode
    return 128 - code if code < 0 else code


def completes(lab: CliLab, by_hand: HandMade) -> None:
    """Adopt once more, and insist that nothing is left to do."""
    lab.ok("adopt", str(lab.root), "--yes")
    by_hand.assert_adopted_by(lab)
    assert (lab.home / ".config/keyturn/default-lab").read_text() == f"{lab.root}\n"
    assert "Nothing to adopt" in lab.ok("adopt", str(lab.root), "--yes").out
    assert "Nothing to change" in lab.ok("plan").out


@pytest.mark.parametrize("number", [4, 22, 30])
def test_a_kill_loses_nothing_and_the_next_run_goes_on(
    tmp_path: Path, home: Path, number: int
) -> None:
    lab = make(tmp_path, home)
    with hand_made(lab, home / "unified.yaml") as by_hand:
        assert stopped_at(lab, number, "KILL") == 137
        assert lab.call("adopt", str(lab.root)).code == 3
        completes(lab, by_hand)


def test_an_interrupted_run_is_undone(tmp_path: Path, home: Path) -> None:
    lab = make(tmp_path, home)
    with hand_made(lab, home / "unified.yaml") as by_hand:
        assert stopped_at(lab, 24, "TERM") == 143
        assert until(lambda: by_hand.gateway.models(Secret(KEY)).status == 200)
        assert KEY in by_hand.config.read_text()
        completes(lab, by_hand)
