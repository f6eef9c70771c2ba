"""Rotations whose file systems get full, or read-only, in the middle. For `unshare -m`, as root.

    python -m support.troubled_home FOLDER

Mounts two small file systems below FOLDER, for a home and a lab, and asserts; says `survived`.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.secret import Secret
from support import crash, homes, labs
from support.rotations import CREATING, PROMOTING, RETIRING, paused

_SIZE = 16 * 1024 * 1024


@contextlib.contextmanager
def full(*folders: Path) -> Iterator[tuple[str, ...]]:
    """Leave no byte free in the block; gives what an error must say."""
    files = [folder / "filler" for folder in folders]
    for file in files:
        with contextlib.suppress(OSError), file.open("wb", buffering=0) as to:
            while True:
                to.write(bytes(4096))
    yield ("no space left on device",)
    for file in files:
        file.unlink()


@contextlib.contextmanager
def read_only(*folders: Path) -> Iterator[tuple[str, ...]]:
    """Let nobody write in the block; gives what an error must say."""
    for folder in folders:  # over it, since the gateway's log is open for writing
        _mount("--bind", folder, folder)
        _mount("-o", "remount,bind,ro", folder)
    yield ("read-only file system", "does not let us write")
    for folder in folders:
        subprocess.run(["umount", "--lazy", folder], check=True)


def survive(lab: labs.CliLab) -> None:
    """Rotate in trouble, recover, and see one key in force each time."""
    gateway = HttpGateway(f"http://127.0.0.1:{lab.port}")
    for trouble, at in ((full, CREATING), (full, RETIRING), (read_only, PROMOTING)):
        old = lab.key
        with paused(lab, at) as running, trouble(lab.home, lab.root) as words:
            ran = running.finish()
        assert ran.code in (5, 6), (trouble, at, ran)
        assert any(word in ran.err for word in words), ran.err
        assert "Traceback" not in ran.err
        lab.ok("recover", "-q")
        found = lab.key
        assert (found == old) == (at != RETIRING), (trouble, at)
        assert gateway.models(Secret(found)).status == 200
        assert lab.call("plan", "--exit-code").code == 0
        texts = [lab.env_file.read_text(), lab.settings.read_text()]
        assert [text.count(found) for text in texts] == [1, 1]
        assert found == old or not any(old in text for text in texts)


def _mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def main() -> None:
    """Make the lab, and survive."""
    base = Path(sys.argv[1])
    home, root = base / "home", base / "work" / "lab"
    for folder in (home, root):
        folder.mkdir(parents=True)
        _mount("-t", "tmpfs", "-o", f"size={_SIZE},mode=700", "none", folder)
    for name in [name for name in os.environ if homes.is_foreign(name)]:
        del os.environ[name]
    os.environ["HOME"] = str(home)
    with labs.stopped_after(crash.make(root.parent, home)) as lab:
        survive(lab)
    sys.stdout.write("survived\n")


if __name__ == "__main__":
    main()
