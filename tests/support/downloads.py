"""Where real programs are installed for tests, which parallel test runs share."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.homes import DOWNLOADS


@contextmanager
def installing(name: str, folder: Path = DOWNLOADS) -> Iterator[None]:
    """Let one test run at a time look whether `name` is in `folder`, and install it there."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
