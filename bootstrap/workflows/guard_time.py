"""The time by which the guard judges when keys end."""

from contextlib import suppress
from pathlib import PurePath

from bootstrap.domain.errors import TargetError
from bootstrap.domain.uses import USES_FILE, read_counters
from bootstrap.ports import Clock, Files


def guard_time(files: Files, clock: Clock, folder: PurePath) -> float:
    """Return it, in seconds since 1970.

    The guard lets no time pass twice: where the machine's clock was set back, it goes by the last
    use that it noted. An end that is reckoned from the clock alone could be over before it is in
    force.

    Args:
        files: The file system.
        clock: The machine's.
        folder: Where the keyset is.
    """
    with suppress(TargetError):
        found = files.observe(folder / USES_FILE)
        if found is not None:
            return max(clock.now(), read_counters(found.content.data).last_use)
    return clock.now()
