"""Wait for something that happens in another process."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
LIMIT_S = 30.0


def until(found: Callable[[], T], what: str = "the condition", limit_s: float = LIMIT_S) -> T:
    """Return the first truthy value of `found()`; the limit is only for a test that fails."""
    deadline = time.monotonic() + limit_s
    while not (value := found()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {limit_s:g} s")
        time.sleep(0.02)
    return value
