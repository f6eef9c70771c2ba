"""Ctrl-C, SIGTERM and SIGKILL at every point of an apply: files are old or new, never between.

strace injects the signal at the system calls that change something, one after the other, so no
point is left to luck.
"""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.labs import MODULE, CliLab, bootstrapped, make, stopped_after
from support.waiting import until

pytestmark = pytest.mark.integration

MODELS = '[backends.near]\nkind = "vllm"\n[[models]]\nalias = "qwen"\nbackend = "near"\n'
CALLS = {
    "rename": "rename,renameat,renameat2",
    "link": "link,linkat",
    "write": "fsync",
}
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
        *Path(lab.places.litellm).glob("*"),
        lab.env_file,
        *Path(lab.places.factory).rglob("*.json"),
        lab.state / "service.json",
    ]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


def injected(lab: CliLab, calls: str, number: int, what: signal.Signals, *words: str) -> int:
    """Run keyturn with a signal at the Nth of some system calls of its own; return its status."""
    strace = ["strace", "-qq", "-o", "/dev/null", "-e", f"trace={calls}"]
    strace += ["-e", f"inject={calls}:signal={what.name}:when={number}"]
    ended = subprocess.run(
        [*strace, "--", *MODULE, *words],
        cwd=lab.root,
        env=lab.environment(PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in ended.stderr, ended.stderr
    code = ended.returncode
    return 128 - code if code < 0 else code


@pytest.mark.parametrize("what", EXIT)
@pytest.mark.parametrize("calls", CALLS)
def test_an_apply_that_is_stopped_anywhere_leaves_whole_files(
    lab: CliLab, calls: str, what: signal.Signals
) -> None:
    edit(lab, literal=True)
    lab.ok("apply", "--no-start")
    new = targets(lab)
    edit(lab, literal=False)
    lab.ok("apply", "--no-start")
    old = targets(lab)
    changing = {path for path in old if old[path] != new[path]}
    assert len(changing) >= 4

    stopped = number = 0
    while True:
        number += 1
        edit(lab, literal=True)
        code = injected(lab, CALLS[calls], number, what, "apply", "-q", "--no-start")
        if code == 0 and targets(lab) == new:
            break  # there is no such call any more
        stopped += 1
        assert code == EXIT[what]
        found = targets(lab)
        assert set(found) == set(old)
        for path, data in found.items():
            assert data in (old[path], new[path]), path
        if what != signal.SIGKILL and calls != "write":
            # One unit: all of them or none; only our own note of it may be missing.
            assert {data == new[path] for path, data in found.items() if path in changing} in (
                {True},
                {False},
            )
        lab.ok("apply", "--no-start")  # the next run goes on, with no --force
        assert targets(lab) == new
        assert _leftovers(lab) == []
        edit(lab, literal=False)
        lab.ok("apply", "--no-start")
        assert targets(lab) == old
    assert stopped >= len(changing)


def _leftovers(lab: CliLab) -> list[str]:
    return [str(path) for path in lab.home.rglob("*.tmp") if ".keyturn-" in path.name]


@pytest.mark.parametrize("what", EXIT)
def test_an_init_that_is_stopped_anywhere_is_finished_by_the_next(
    tmp_path: Path, home: Path, what: signal.Signals
) -> None:
    number = 0
    while True:
        number += 1
        lab = make(tmp_path / str(number), home, write=False)
        code = injected(lab, CALLS["rename"] + ",link,linkat", number, what, "init", "-q")
        if code == 0:
            break
        assert code == EXIT[what]
        lab.ok("init", "-q")
        assert lab.key.startswith("sk-")
        document = lab.ok("init", "--json").json
        assert document["created"] == []
        strays = [path.name for path in lab.root.rglob("*.tmp")]
        assert strays == []
    assert number > 4


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


@pytest.mark.parametrize("step", range(6))
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
    if step:  # before that Python itself may not be ready for a signal
        child.stderr.readline()
        with_delay = subprocess.run(["sleep", f"{step * 0.02:.2f}"], check=True)
        assert with_delay.returncode == 0
        child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=30)[1]
    assert "Traceback" not in said
    assert child.returncode in (0, 130)
    lab.ok("apply", "--no-start")
    assert not lab.ok("plan", "--json").json["changes"]
