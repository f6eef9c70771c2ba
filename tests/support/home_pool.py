# ruff: noqa: PTH208 - this is done after each of thousands of tests
"""Homes for tests: a new one where the test before has left anything in its own."""

import itertools
import os
import shutil
import stat
from pathlib import Path


class HomePool:
    """The folders that tests live in, one after the other.

    Most tests write nothing there, so the next one can have the same: to make and remove some for
    each of thousands takes longer than many of the tests.

    Args:
        folder: Where they are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._unused: Path | None = None

    def take(self) -> Path:
        """Return a folder with nothing but an empty `home` and an empty `run`, each 0700."""
        base, self._unused = self._unused, None
        if base is None:
            # Counted here: mktemp() looks at all its folders to find the next number.
            base = self._folder / str(next(self._numbers))
            for folder in (base, base / "home", base / "run"):
                folder.mkdir(mode=0o700)
        return base

    def give_back(self, base: Path) -> None:
        """Keep `base` for the next test, or remove it where anything was changed in it."""
        if _is_as_made(base):
            self._unused = base
        else:
            shutil.rmtree(base, ignore_errors=True)


def _is_as_made(base: Path) -> bool:
    expected = {str(base): 2, f"{base}/home": 0, f"{base}/run": 0}
    try:
        return all(
            os.lstat(folder).st_mode == stat.S_IFDIR | 0o700 and len(os.listdir(folder)) == entries
            for folder, entries in expected.items()
        )
    except OSError:
        return False
