"""The gateway as a unit of the user's own systemd manager.

Seen with systemd 252 as root and as another user. What systemctl prints is never shown: it is
asked for properties instead, and these are put into our own words.
"""

import os
from collections.abc import Callable
from contextlib import suppress

from bootstrap.adapters import memory
from bootstrap.adapters.listeners import LocalPorts
from bootstrap.adapters.process import Finished, run
from bootstrap.adapters.systemd_session import manager_environment
from bootstrap.adapters.systemd_words import describe
from bootstrap.domain.errors import KeptError, NotReadyError, ServiceError
from bootstrap.ports import ServiceStatus

_ASK_S = 20.0
# The unit's TimeoutStopSec= and TimeoutStartSec= together, and some more.
_JOB_S = 800.0
_USABLE = ("running", "degraded", "starting", "initializing", "maintenance", "stopping")
_PROPERTIES = "LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,NRestarts"


class SystemdService:
    """A unit of `systemd --user`, with or without a socket unit that holds its port open.

    Args:
        unit: Its name, for example `litellm.service`. Its socket is then `litellm.socket`, and
            `litellm-spare.service` runs in its place while it restarts.
        socket: Whether the lab wants that socket.
    """

    kind = "systemd"

    def __init__(self, unit: str = "litellm.service", *, socket: bool = True) -> None:
        self.name = unit
        stem = unit.removesuffix(".service")
        self._socket = f"{stem}.socket"
        self._spare = f"{stem}-spare.service"
        self._wants_socket = socket

    @classmethod
    def available(cls) -> str | None:
        """Return why this user has no systemd manager that we can talk to, or None if it has."""
        try:
            answer = run(
                ["systemctl", "--user", "is-system-running"],
                env=manager_environment(),
                timeout_s=_ASK_S,
            )
        except FileNotFoundError:
            return "systemctl is not installed"
        except OSError as error:
            return f"systemctl cannot be run ({type(error).__name__})"
        word = answer.stdout.decode(errors="replace").strip()
        if word in _USABLE:
            return None
        return "no systemd manager runs for this user (no login session, and no lingering)"

    def status(self) -> ServiceStatus:
        """Return what systemd says now.

        Raises:
            ServiceError: systemd cannot be asked.
        """
        found = self._show()
        pid = int(found.get("MainPID", "0")) or None
        load = found.get("LoadState", "")
        return ServiceStatus(pid is not None, pid, describe(found), load != "not-found")

    def properties(self) -> dict[str, str]:
        """Return the state of the unit, its drop-ins and whether it was re-read, as systemd says.

        Raises:
            ServiceError: systemd cannot be asked.
        """
        return self._show(properties=f"{_PROPERTIES},DropInPaths,NeedDaemonReload")

    def start(self) -> None:
        """Enable and start it. After a reboot it comes back at login, or at once with lingering.

        Raises:
            ServiceError: It is masked, not installed, malformed, or its program does not come up.
        """
        self.reset()
        self._refuse_unusable("start")
        if not self._wants_socket:
            self._systemctl("disable", "--now", self._socket)  # of an earlier lab.toml
        self._change("enable")
        self._change("start")
        self._end_spare()

    def restart(self) -> None:
        """Stop it and start it, with the unit and the env file as they are now.

        Raises:
            ServiceError: As start.
        """
        self.reset()
        self._refuse_unusable("restart")
        self._change("restart")
        self._end_spare()

    def listening(self) -> str | None:
        """Return the address that systemd itself holds open, such as `127.0.0.1:4000`.

        Raises:
            ServiceError: systemd cannot be asked.
        """
        found = self._show(self._socket, "ActiveState,Listen")
        address = found.get("Listen", "").partition(" ")[0]
        port = address.rpartition(":")[2]
        if found.get("ActiveState") != "active" or not port.isdigit():
            return None
        # A changed unit that was re-read shows its new address, but opens it at the next start.
        return address if LocalPorts().listener(int(port)) is not None else None

    def swap_hindrance(self) -> str | None:
        """Return why there can be no second instance now, or None."""
        return memory.hindrance(memory.FOR_SECOND)

    def swap(self, taken_over: Callable[[], None] = lambda: None) -> None:
        """Let the spare unit serve on the same socket while this one restarts.

        Args:
            taken_over: Called when the spare serves, before this one is told to end.

        Raises:
            KeptError: The spare does not come up; the old process goes on serving.
            NotReadyError: The spare did and this unit does not; the spare goes on serving.
            ServiceError: As start.
        """
        self.reset()
        self._refuse_unusable("restart")
        self._end_spare()
        try:
            self._change("start", self._spare)
            taken_over()
        except NotReadyError as error:
            self._systemctl("stop", self._spare)
            raise KeptError(error.what, why=error.why, fix=error.fix) from None
        except BaseException:  # such as Ctrl-C: what served before still does
            self._systemctl("--no-block", "stop", self._spare)
            raise
        try:
            self._change("restart")
        except NotReadyError as error:
            why = f"{error.why}; {self._spare} serves in its place"
            raise NotReadyError(error.what, why=why, fix=error.fix) from None
        self._end_spare()

    def stop(self) -> None:
        """Stop it, letting running answers finish, and close its port.

        Raises:
            ServiceError: It does not stop, or systemd cannot be asked.
        """
        # The socket first, since a connection to it would start the service again.
        for unit in (self._socket, self.name, self._spare):
            if self._is_active(unit):
                self._change("stop", unit)

    def disable(self) -> None:
        """Keep it from starting at the next login; no effect on one that is not enabled."""
        self._systemctl("disable", self.name)

    def reset(self) -> None:
        """Make systemd read its unit files again and forget past failures.

        Raises:
            ServiceError: systemd cannot be asked.
        """
        if self._systemctl("daemon-reload", timeout_s=_JOB_S).returncode:
            raise _not_answering("its manager does not reload its unit files")
        # Fails for a unit that is not loaded, which then has no failures either.
        for unit in (self._socket, self._spare, self.name):
            self._systemctl("reset-failed", unit)

    def log_lines(self, most: int, *, fresh: bool = False) -> list[str]:
        """Return its last lines, unredacted: the caller must redact before showing.

        Empty where the journal has none, or cannot be read.

        Args:
            most: How many.
            fresh: Those of the spare unit.
        """
        unit = self._spare if fresh else self.name
        # The user's own journal has no entries for root: there the unit's name must be looked
        # for in the system's (seen with 252).
        which = ["--user-unit", unit] if os.getuid() == 0 else ["--user", "-u", unit]
        argv = ["journalctl", *which, "--quiet", "--no-pager", "--output=cat", f"--lines={most}"]
        with suppress(OSError):
            return run(argv, env=manager_environment(), timeout_s=_ASK_S).stdout.decode(
                errors="replace"
            ).splitlines()  # fmt: skip
        return []

    def lingering(self) -> bool | None:
        """Tell whether the user's services run without a login, or None where nobody knows."""
        argv = ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"]
        with suppress(OSError):
            answer = run(argv, env=manager_environment(), timeout_s=_ASK_S)
            if b"not logged in or lingering" in answer.stderr:
                return False
            return {b"yes": True, b"no": False}.get(answer.stdout.strip())
        return None

    def _end_spare(self) -> None:
        """Stop the spare unit, also one that a killed run left behind."""
        if self._is_active(self._spare):
            self._change("stop", self._spare)

    def _show(self, unit: str = "", properties: str = _PROPERTIES) -> dict[str, str]:
        answer = self._systemctl("show", unit or self.name, f"--property={properties}")
        if answer.returncode:
            raise _not_answering(self.available() or "its manager gives no answer")
        lines = answer.stdout.decode(errors="replace").splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def _is_active(self, unit: str) -> bool:
        return self._show(unit, "ActiveState").get("ActiveState") not in ("inactive", "failed")

    def _change(self, verb: str, unit: str = "") -> None:
        """Have the manager do it, and wait until it is done.

        Raises:
            NotReadyError: Starting it failed.
            ServiceError: Something else did.
        """
        unit = unit or self.name
        if self._systemctl(verb, unit, timeout_s=_JOB_S).returncode == 0:
            return
        why = describe(self._show(unit))
        socket = self._show(self._socket)
        if verb in ("start", "restart") and socket.get("Result") not in (None, "", "success"):
            why = f"{self._socket} cannot open the port: another program holds it, or it is "
            why += "no address of this machine"
        kind = NotReadyError if verb in ("start", "restart") else ServiceError
        raise kind(f"{unit} does not {verb}", why=why, fix=self._log_hint(unit))

    def _refuse_unusable(self, verb: str) -> None:
        """Explain what systemctl would only complain about.

        Raises:
            ServiceError: The unit cannot be started as it is.
        """
        fixes = {
            "masked": f"systemctl --user unmask {self.name}",
            "not-found": "run: keyturn apply",
            "bad-setting": f"run: systemd-analyze --user verify {self.name}; then: keyturn apply",
            "error": f"run: systemd-analyze --user verify {self.name}; then: keyturn apply",
        }
        found = self._show()
        fix = fixes.get(found.get("LoadState", ""))
        if fix is not None:
            raise ServiceError(f"cannot {verb} {self.name}", why=describe(found), fix=fix)

    def _log_hint(self, unit: str) -> str:
        option = "--user-unit" if os.getuid() == 0 else "--user -u"
        return f"see its log: journalctl {option} {unit}"

    def _systemctl(self, *words: str, timeout_s: float = _ASK_S) -> Finished:
        argv = ["systemctl", "--user", "--no-pager", "--quiet", *words]
        try:
            return run(argv, env=manager_environment(), timeout_s=timeout_s)
        except OSError as error:
            raise _not_answering(f"systemctl {words[0]}: {type(error).__name__}") from None


def _not_answering(why: str) -> ServiceError:
    return ServiceError(
        "systemd --user cannot be asked",
        why=why,
        fix='log in again, or set service = "supervisor" under [gateway] in lab.toml',
    )
