"""Ctrl-C, SIGTERM and SIGKILL at every point of an apply: files are old or new, never between.

The signal comes at each system call that puts something in force, one after the other, so that no
point is left to luck: raised in this process, or injected by strace where it must kill.
"""

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.labs import MODULE, CliLab, bootstrapped, make, stopped_after
from support.waiting import until

pytestmark = pytest.mark.faults

MODELS = '[backends.near]\nkind = "vllm"\n[[models]]\nalias = "qwen"\nbackend = "near"\n'
LITERAL = b'master_key: "sk-'
CALLS = ("replace", "rename", "link", "fsync")
RENAMES = "rename,renameat,renameat2"
EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: 137}


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    """A lab whose files are in place, with an edited lab.toml that would change five of them."""
    with stopped_after(bootstrapped(tmp_path, home, "--no-start")) as made:
        yield made


def edit(lab: CliLab, literal: bool) -> None:
    """Write one of two lab files whose targets differ in many places."""
    lab.write(gateway="literal_keys = true" if literal else "", more=MODELS if literal else "")


def targets(lab: CliLab) -> dict[str, bytes]:
    """Return the bytes of every file that `apply` answers for."""
    paths = [
        *Path(lab.places.litellm).glob("[!.]*"),
        lab.env_file,
        *Path(lab.places.factory).rglob("*.json"),
        lab.state / "service.json",
    ]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


class Trap:
    """Raises a signal at the Nth of the calls that put something in force.

    Args:
        number: Which, from 1.
        what: The signal.
        late: After the call instead of before it.
    """

    def __init__(self, number: int, what: signal.Signals, *, late: bool) -> None:
        self._left = number
        self._what = what
        self._late = late
        self.sprung = False

    def set(self, patch: pytest.MonkeyPatch) -> None:
        """Put it in place of the calls."""
        for name in CALLS:
            patch.setattr(os, name, self._around(getattr(os, name)))

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            self._left -= 1
            now = self._left == 0
            self.sprung |= now
            if now and not self._late:
                signal.raise_signal(self._what)
            result = call(*args, **options)
            if now and self._late:
                signal.raise_signal(self._what)
            return result

        return run


def killed(lab: CliLab, number: int, *words: str) -> int:
    """Run keyturn under strace, which kills it at its Nth rename; return its status."""
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={RENAMES}"]
    strace += ["-e", f"inject={RENAMES}:signal=KILL:when={number}"]
    ended = subprocess.run(
        [*strace, "--", *MODULE, *words],
        cwd=lab.root,
        env=lab.environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        timeout=60,
    )
    code = ended.returncode
    return 128 - code if code < 0 else code


def leftovers(lab: CliLab) -> list[str]:
    """Return the files that a run left beside its targets."""
    tops = (lab.home, lab.root)
    return [str(path) for top in tops for path in top.rglob("*.tmp")]


@pytest.fixture
def both(lab: CliLab) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The targets of the two lab files; those of the first are in force."""
    edit(lab, literal=True)
    lab.ok("apply", "--no-start")
    second = targets(lab)
    edit(lab, literal=False)
    lab.ok("apply", "--no-start")
    first = targets(lab)
    assert sum(first[path] != second[path] for path in first) >= 4
    return first, second


@pytest.mark.parametrize(
    ("what", "late", "first"),
    [(signal.SIGINT, False, 1), (signal.SIGTERM, False, 2), (signal.SIGINT, True, 2)],
    ids=str,
)
def test_an_apply_that_is_stopped_anywhere_leaves_all_files_old_or_all_new(
    lab: CliLab,
    both: tuple[dict[str, bytes], dict[str, bytes]],
    what: signal.Signals,
    late: bool,
    first: int,
) -> None:
    seen = set()
    for number in itertools.count(first, 2):  # what is between is another run's share
        old, new = both
        both = new, old
        edit(lab, literal=LITERAL in new[str(Path(lab.places.litellm) / "config.yaml")])
        trap = Trap(number, what, late=late)
        with pytest.MonkeyPatch.context() as patch:
            trap.set(patch)
            ran = lab.call("apply", "--no-start")
        assert "Traceback" not in ran.err
        if not trap.sprung:
            break
        assert ran.code == EXIT[what], ran.err
        assert "every file is either as before or complete" in ran.err
        found = targets(lab)
        assert found in (old, new)
        assert leftovers(lab) == []
        seen.add(found == new)
        lab.ok("apply", "--no-start")  # the next run goes on, with no --force
        assert targets(lab) == new
    assert seen == {True, False}
    assert number > 15


def test_an_apply_that_is_killed_leaves_whole_files_and_the_next_tidies_up(
    lab: CliLab, both: tuple[dict[str, bytes], dict[str, bytes]]
) -> None:
    number = 0
    while True:
        number += 1
        old, new = both if number % 2 else reversed(both)
        edit(lab, literal=bool(number % 2))
        code = killed(lab, number, "apply", "-q", "--no-start")
        if code == 0:
            break
        assert code == EXIT[signal.SIGKILL]
        found = targets(lab)
        assert set(found) == set(old)
        assert all(data in (old[path], new[path]) for path, data in found.items())
        assert all(Path(path).stat().st_mode & 0o077 == 0 for path in leftovers(lab))
        lab.ok("apply", "--no-start")
        assert targets(lab) == new
        assert leftovers(lab) == []
    assert number > 4


@pytest.mark.parametrize(("what", "first"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)], ids=str)
def test_an_init_that_is_stopped_anywhere_is_finished_by_the_next(
    tmp_path: Path, home: Path, what: signal.Signals, first: int
) -> None:
    for number in itertools.count(first, 2):
        lab = make(tmp_path / str(number), home, write=False)
        trap = Trap(number, what, late=False)
        with pytest.MonkeyPatch.context() as patch:
            trap.set(patch)
            ran = lab.call("init")
        assert "Traceback" not in ran.err
        if not trap.sprung:
            break
        assert ran.code == EXIT[what], ran.err
        lab.ok("init")
        assert lab.key.startswith("sk-")
        assert leftovers(lab) == []
    assert number > 10


def test_an_init_that_is_killed_is_finished_by_the_next(tmp_path: Path, home: Path) -> None:
    number = 0
    while True:
        number += 1
        lab = make(tmp_path / str(number), home, write=False)
        code = killed(lab, number, "init", "-q")
        if code == 0:
            break
        assert code == EXIT[signal.SIGKILL]
        lab.ok("init")
        assert lab.key.startswith("sk-")
        assert leftovers(lab) == []
    assert number > 3


@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM])
def test_a_bootstrap_that_is_stopped_while_the_gateway_starts_goes_on_later(
    tmp_path: Path, home: Path, what: signal.Signals
) -> None:
    lab = make(tmp_path, home)
    gate = tmp_path / "open"
    lab.wrapper.write_text(
        lab.wrapper.read_text().replace("exec", f"until [ -e '{gate}' ]; do sleep 0.1; done; exec")
    )
    with stopped_after(lab):
        child = subprocess.Popen(
            [*MODULE, "bootstrap"],
            cwd=lab.root,
            env=lab.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until(lambda: lab.pid is not None, "the gateway's process")
        child.send_signal(what)
        _, said = child.communicate(timeout=30)
        assert child.returncode == EXIT[what]
        assert "interrupted; every file is either as before or complete" in said
        assert "A new age identity is in" in said
        assert "Traceback" not in said
        gate.touch()
        assert lab.ok("bootstrap", "--json").json["proven"]
        assert lab.call("check").code == 0


@pytest.mark.parametrize("step", range(1, 5))
def test_ctrl_c_at_any_time_gives_no_traceback(lab: CliLab, step: int) -> None:
    edit(lab, literal=True)
    child = subprocess.Popen(
        [*MODULE, "apply", "--no-start"],
        cwd=lab.root,
        env=lab.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    child.stderr.readline()  # before that Python itself may not be ready for a signal
    time.sleep(step * 0.02)
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=30)[1]
    assert "Traceback" not in said
    assert child.returncode in (0, 130)
    lab.ok("apply", "--no-start")
    assert not lab.ok("plan", "--json").json["changes"]
