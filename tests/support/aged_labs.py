"""Labs whose files did not change in the last moments, which keyturn trusts more than newer ones.

The time of a change cannot be set, only waited for, so labs are made ahead of the tests that take
them. Renaming a folder leaves the files in it as old as they are.
"""

import shutil
from collections import deque
from pathlib import Path

from support import homes
from support.sops_lab import SopsLab, make_lab

_AT_ONCE = 12


class AgedLabs:
    """Labs that are all alike, each with one user.

    Args:
        folder: A new folder to make them in, on the file system of those who take them.
        values: What the store holds.
        text: lab.toml.
    """

    def __init__(self, folder: Path, values: dict[str, object], text: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._made = 0
        self._ready: deque[Path] = deque()
        self._pattern = make_lab(folder / "pattern", folder / "home")
        self._pattern.put(values)
        (self._pattern.root / "lab.toml").write_text(text)

    def take(self, root: Path, home: Path) -> SopsLab:
        """Put one at `root`, and the identity that reads its store into `home`."""
        if len(self._ready) <= _AT_ONCE // 3:
            self._make_more()
        self._ready.popleft().rename(root)
        given = self._pattern.identity
        identity = home / given.path.relative_to(self._folder / "home")
        identity.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(given.path, identity)
        return SopsLab(root, homes.AgeIdentity(identity, given.recipient))

    def _make_more(self) -> None:
        for _ in range(_AT_ONCE):
            self._made += 1
            copy = self._folder / str(self._made)
            shutil.copytree(self._pattern.root, copy)
            self._ready.append(copy)
