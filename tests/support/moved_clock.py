"""A clock that a test moves while programs run: libfaketime around keyturn and its gateway.

The clock that counts from the machine's start goes on, as where somebody sets a machine's time.
"""

from pathlib import Path

HOUR_S = 3600
# Python sleeps until a time of the other clock, which libfaketime 0.9.10 gets wrong. What a program
# shares with its children would stay behind in /dev/shm where a signal ends it, so it has none.
IN_PYTHON = """
import os, threading, time
time.sleep = lambda seconds: None if threading.Event().wait(seconds) else None
os.environ.pop("LD_PRELOAD", None)
for name, part in zip(("sem.", ""), os.environ.pop("FAKETIME_SHARED", "").split()):
    os.unlink("/dev/shm/" + name + part.lstrip("/"))
"""


class Clock:
    """The time of day of every Python program that is started with its variables.

    Args:
        folder: Where it notes by how much it is off.
    """

    def __init__(self, folder: Path) -> None:
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        folder.mkdir()
        self._offset = folder / "offset"
        (folder / "sitecustomize.py").write_text(IN_PYTHON)
        self.variables = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # files bear the time at which they were written
            "PYTHONPATH": str(folder),
        }
        self.set(0)

    def set(self, offset_s: int) -> None:
        """Set it so many seconds off, in force at once."""
        new = self._offset.with_suffix(".new")
        new.write_text(f"{offset_s:+d}")
        new.replace(self._offset)

    def shell(self) -> str:
        """Return the lines of a shell script that puts a program under it."""
        return "".join(f"export {name}='{value}'\n" for name, value in self.variables.items())
