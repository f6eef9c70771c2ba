"""The time by which the guard judges when keys end."""

from pathlib import PurePath

from bootstrap.ports import Clock, Files
from bootstrap.workflows.uses import counters


def guard_time(files: Files, clock: Clock, folder: PurePath) -> float:
    """Return it, in seconds since 1970.

    The guard lets no time pass twice: where the machine's clock was set back, it goes by the last
    use that it noted. An end that is reckoned from the clock alone could be over before it is in
    force. A note that others may write counts for nothing, as for the guard.

    Args:
        files: The file system.
        clock: The machine's.
        folder: Where the keyset is.
    """
    return max(clock.now(), counters(files, folder).last_use)
