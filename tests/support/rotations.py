"""Rotations of a whole lab that stand still in the middle while a test changes the world."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support import labs
from support.sops_lab import REAL_SOPS
from support.waiting import until

# Which run of sops, from 1, comes right before what: the pending key is verified, the targets are
# switched, the store is promoted, the proof is over.
CREATING, PROMOTING, RETIRING = 3, 4, 7


@dataclass
class Running:
    """A rotation in another process.

    Attributes:
        process: The process.
        go: The file that lets its sops go on.
    """

    process: "subprocess.Popen[str]"
    go: Path

    def finish(self) -> labs.Ran:
        """Let it go on, and return what it gave."""
        self.go.touch()
        out, err = self.process.communicate(timeout=90)
        return labs.Ran(self.process.returncode, out, err)


@contextmanager
def paused(lab: labs.CliLab, at: int, *options: str) -> Iterator[Running]:
    """Rotate until sops is run for the time number `at`, and wait there for the block."""
    folder = lab.root.parent / "pause"
    folder.mkdir(exist_ok=True)
    count, here, go, script = (folder / name for name in ("count", "here", "go", "sops"))
    for path in (here, go):
        path.unlink(missing_ok=True)
    count.write_text("0")
    script.write_text(
        f"#!/bin/sh\nn=$(($(cat {count}) + 1)); echo $n >{count}\n"
        f"if [ $n = {at} ]; then touch {here}; while [ ! -e {go} ]; do sleep 0.02; done; fi\n"
        f'exec {REAL_SOPS} "$@"\n'
    )
    script.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "bootstrap", "rotate", *options],
        cwd=lab.root,
        env=lab.environment(KEYTURN_SOPS=str(script)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: here.exists() or process.poll() is not None, "the pause")
    try:
        yield Running(process, go)
    finally:
        go.touch()
        if process.poll() is None:
            process.communicate(timeout=90)
