"""Rotations of a whole lab that stand still in the middle while a test changes the world."""

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support import labs
from support.sops_lab import REAL_SOPS
from support.waiting import until

# Which run of sops, from 1, comes right before what: the pending key is verified, the targets are
# switched and the store is to be promoted, that is verified.
CREATING, PROMOTING, PROMOTED = 3, 4, 6
# No run of sops: the proof is over, and the store is to forget the old key.
RETIRING = -1


@dataclass
class Running:
    """A rotation in another process.

    Attributes:
        process: The process.
        go: The file that lets its sops go on.
        held: What keeps it from writing the store; closing one lets it go on.
    """

    process: "subprocess.Popen[str]"
    go: Path
    held: list[int] = field(default_factory=list)

    def finish(self) -> labs.Ran:
        """Let it go on, and return what it gave."""
        self.release()
        out, err = self.process.communicate(timeout=90)
        return labs.Ran(self.process.returncode, out, err)

    def release(self) -> None:
        """Let it go on."""
        self.go.touch()
        while self.held:
            os.close(self.held.pop())

    def hold_before_retiring(self, folder: Path, journal: Path) -> None:
        """Let it go on to where it wants to write the store again, and wait until it is there.

        It has the lock of the store's folder. We stand in line for it, and give it back later.
        """
        self.held.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        waiter = threading.Thread(target=fcntl.flock, args=(self.held[0], fcntl.LOCK_EX))
        waiter.start()
        waits = f"-> FLOCK  ADVISORY  WRITE {os.getpid()} "
        until(lambda: waits in Path("/proc/locks").read_text(), "our turn in the line")
        self.go.touch()
        waiter.join()
        until(lambda: '"retired"' in journal.read_text(), "the old key's end")


@contextmanager
def paused(
    lab: labs.CliLab,
    at: int,
    *options: str,
    command: str = "rotate",
    env: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Rotate until sops is run for the time number `at`, and wait there for the block.

    RETIRING, as no run of sops comes before that, waits for the store to be free.
    """
    folder = lab.root.parent / "pause"
    folder.mkdir(exist_ok=True)
    count, here, go, script = (folder / name for name in ("count", "here", "go", "sops"))
    for path in (here, go):
        path.unlink(missing_ok=True)
    count.write_text("0")
    number = PROMOTED if at == RETIRING else at
    script.write_text(
        f"#!/bin/sh\nn=$(($(cat {count}) + 1)); echo $n >{count}\n"
        f"if [ $n = {number} ]; then touch {here}; while [ ! -e {go} ]; do sleep 0.02; done; fi\n"
        f'exec {REAL_SOPS} "$@"\n'
    )
    script.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "bootstrap", command, *options],
        cwd=lab.root,
        env=lab.environment(**(env or {}), KEYTURN_SOPS=str(script)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: here.exists() or process.poll() is not None, "the pause")
    running = Running(process, go)
    try:
        if at == RETIRING:
            running.hold_before_retiring(lab.store.parent, lab.state / "rotation.journal")
        yield running
    finally:
        running.release()
        if process.poll() is None:
            process.communicate(timeout=90)
