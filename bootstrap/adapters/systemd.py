"""The gateway as a unit of the user's own systemd manager.

Seen with systemd 252 as root and as another user. What systemctl prints is never shown: it is
asked for properties instead, and these are put into our own words.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bootstrap.adapters.process import Finished, run
from bootstrap.domain.errors import ServiceError
from bootstrap.ports import ServiceStatus

_ASK_S = 20.0
# The unit's TimeoutStopSec= and TimeoutStartSec= together, and some more.
_JOB_S = 200.0
_USABLE = ("running", "degraded", "starting", "initializing", "maintenance", "stopping")
_PROPERTIES = "LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,NRestarts"
# The exit statuses that systemd gives when it cannot even run the program (systemd.exec(5)).
_BEFORE_THE_PROGRAM = {
    200: "its working folder cannot be entered",
    203: "its program is missing or cannot be run",
    218: "this system does not allow its capabilities",
    226: "this system does not allow its sandbox",
    228: "this system does not allow its system call filter",
}
_RESULTS = {
    "resources": "its environment file or another resource cannot be read",
    "start-limit-hit": "it was restarted too often in a short time",
    "timeout": "it did not start or stop in time",
    "oom-kill": "the machine ran out of memory",
    "core-dump": "its program crashed",
}


class SystemdService:
    """A unit of `systemd --user`.

    Args:
        unit: Its name, for example `litellm.service`.
    """

    kind = "systemd"

    def __init__(self, unit: str = "litellm.service") -> None:
        self.name = unit

    @classmethod
    def available(cls) -> str | None:
        """Return why this user has no systemd manager that we can talk to, or None if it has."""
        try:
            answer = run(
                ["systemctl", "--user", "is-system-running"], env=_environment(), timeout_s=_ASK_S
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
        return ServiceStatus(pid is not None, pid, _describe(found), load != "not-found")

    def start(self) -> None:
        """Enable and start it. After a reboot it comes back at login, or at once with lingering.

        Raises:
            ServiceError: It is masked, not installed, malformed, or its program cannot be run.
        """
        self.reset()
        self._refuse_unusable("start")
        self._change("enable")
        self._change("start")

    def restart(self) -> None:
        """Stop it and start it, with the unit and the env file as they are now.

        Raises:
            ServiceError: As start.
        """
        self.reset()
        self._refuse_unusable("restart")
        self._change("restart")

    def stop(self) -> None:
        """Stop it, letting running answers finish; no effect where it does not run.

        Raises:
            ServiceError: It does not stop, or systemd cannot be asked.
        """
        if self._show().get("ActiveState") != "inactive":
            self._change("stop")

    def reset(self) -> None:
        """Make systemd read its unit files again and forget past failures.

        Raises:
            ServiceError: systemd cannot be asked.
        """
        if self._systemctl("daemon-reload", timeout_s=_JOB_S).returncode:
            raise _not_answering("its manager does not reload its unit files")
        # Fails for a unit that is not loaded, which then has no failures either.
        self._systemctl("reset-failed", self.name)

    def log_lines(self, most: int) -> list[str]:
        """Return its last lines, unredacted: the caller must redact before showing.

        Empty where the journal has none, or cannot be read.
        """
        # The user's own journal has no entries for root: there the unit's name must be looked
        # for in the system's (seen with 252).
        which = ["--user-unit", self.name] if os.getuid() == 0 else ["--user", "-u", self.name]
        argv = ["journalctl", *which, "--quiet", "--no-pager", "--output=cat", f"--lines={most}"]
        with suppress(OSError):
            return run(argv, env=_environment(), timeout_s=_ASK_S).stdout.decode(
                errors="replace"
            ).splitlines()  # fmt: skip
        return []

    def lingering(self) -> bool | None:
        """Tell whether the user's services run without a login, or None where nobody knows."""
        argv = ["loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value"]
        with suppress(OSError):
            word = run(argv, env=_environment(), timeout_s=_ASK_S).stdout.strip()
            return {b"yes": True, b"no": False}.get(word)
        return None

    def _show(self) -> dict[str, str]:
        answer = self._systemctl("show", self.name, f"--property={_PROPERTIES}")
        if answer.returncode:
            raise _not_answering(self.available() or "its manager gives no answer")
        lines = answer.stdout.decode(errors="replace").splitlines()
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def _change(self, verb: str) -> None:
        if self._systemctl(verb, self.name, timeout_s=_JOB_S).returncode:
            raise ServiceError(
                f"{self.name} does not {verb}", why=_describe(self._show()), fix=self._log_hint()
            )

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
            raise ServiceError(f"cannot {verb} {self.name}", why=_describe(found), fix=fix)

    def _log_hint(self) -> str:
        option = "--user-unit" if os.getuid() == 0 else "--user -u"
        return f"see its log: journalctl {option} {self.name}"

    def _systemctl(self, *words: str, timeout_s: float = _ASK_S) -> Finished:
        argv = ["systemctl", "--user", "--no-pager", "--quiet", *words]
        try:
            return run(argv, env=_environment(), timeout_s=timeout_s)
        except OSError as error:
            raise _not_answering(f"systemctl {words[0]}: {type(error).__name__}") from None


def _describe(found: Mapping[str, str]) -> str:
    """Return one clause for people about what `systemctl show` says."""
    load, active = found.get("LoadState", ""), found.get("ActiveState", "")
    if load == "masked":
        return "it is masked, so systemd refuses to start it"
    if load == "not-found":
        return "its unit file is not installed"
    if load in ("bad-setting", "error"):
        return "its unit file has a setting that systemd does not take"
    if active == "active":
        return f"active ({found.get('SubState')})"
    reason = _reason(found)
    if not reason:
        return active
    if found.get("SubState") == "auto-restart":
        return f"{reason}; systemd tries again (restart {found.get('NRestarts')})"
    return f"{active}: {reason}"


def _reason(found: Mapping[str, str]) -> str:
    result, status = found.get("Result", ""), int(found.get("ExecMainStatus") or 0)
    if result in ("", "success"):
        return ""
    if result == "exit-code":
        return _BEFORE_THE_PROGRAM.get(status, f"its program ended with status {status}")
    if result == "signal":
        return f"its program was killed by signal {status}"
    return _RESULTS.get(result, result)


def _not_answering(why: str) -> ServiceError:
    return ServiceError(
        "systemd --user cannot be asked",
        why=why,
        fix='log in again, or set service = "supervisor" under [gateway] in lab.toml',
    )


def _environment() -> dict[str, str]:
    """Return what systemctl needs, with the runtime folder that leads to the user's manager.

    `sudo`, `su` and cron jobs come without XDG_RUNTIME_DIR, or with somebody else's.
    """
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME") or name.startswith(("XDG_", "DBUS_"))
    }
    if not _leads_to_manager(environment.get("XDG_RUNTIME_DIR", "")):
        own = f"/run/user/{os.getuid()}"
        if _leads_to_manager(own):
            environment["XDG_RUNTIME_DIR"] = own
            environment.pop("DBUS_SESSION_BUS_ADDRESS", None)
    return environment


def _leads_to_manager(folder: str) -> bool:
    with suppress(OSError):
        return bool(folder) and (Path(folder) / "systemd" / "private").is_socket()
    return False
