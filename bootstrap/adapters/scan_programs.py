"""What other programs know, for `keyturn scan`: systemd's variables, the journal, the crontab.

What they print may hold a secret, so it is searched and never shown. A program that is missing, or
does not answer in time, has nothing.
"""

from collections.abc import Iterator, Sequence

from bootstrap.adapters.process import run
from bootstrap.adapters.systemd_session import manager_environment
from bootstrap.domain.scan_places import Item, Kind, Place

_MANAGER_S = 3.0
_CRONTAB_S = 5.0
_JOURNAL_S = 20.0
_JOURNAL_LINES = 100_000
_SHOW = ("systemctl", "--user", "--no-pager", "show-environment")


class ProgramHaystack:
    """What is asked of other programs; see `workflows.scan.Haystack`.

    Args:
        unit: The gateway's unit of `systemd --user`, or None where that does not run it.
        as_root: Whether this is root, for whom the journal is another.
    """

    label = "systemd, the journal, the crontab"

    def __init__(self, unit: str | None, *, as_root: bool) -> None:
        self.left_out: list[tuple[bytes, str]] = []
        self._unit = unit
        self._as_root = as_root

    def items(self) -> Iterator[Item]:
        """Yield each variable of systemd's, the gateway's log, the crontab."""
        for line in self._said(_SHOW, _MANAGER_S).splitlines():
            name, _, value = line.partition(b"=")
            if value:
                yield Item(Place(Kind.MANAGER, b"systemd --user", name), [value])
        if self._unit is not None:
            # The user's own journal has no entries for root.
            which = ("--user-unit",) if self._as_root else ("--user", "-u")
            argv = ("journalctl", *which, self._unit, "--quiet", "--no-pager", "--output=cat")
            said = self._said((*argv, f"--lines={_JOURNAL_LINES}"), _JOURNAL_S)
            yield Item(Place(Kind.LOG, b"journal of " + self._unit.encode()), [said])
        yield Item(Place(Kind.TIMETABLE, b"crontab"), [self._said(("crontab", "-l"), _CRONTAB_S)])

    def _said(self, argv: Sequence[str], timeout_s: float) -> bytes:
        try:
            answer = run(argv, env=manager_environment(), timeout_s=timeout_s)
        except TimeoutError:
            why = f"it does not answer within {timeout_s:g} s"
            self.left_out.append((argv[0].encode(), why))
            return b""
        except OSError:  # not installed
            return b""
        return answer.stdout if answer.returncode == 0 else b""
