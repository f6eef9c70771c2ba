"""The user's systemd manager: how to reach it, and what it hands to every program."""

import os
from contextlib import suppress
from pathlib import Path

from bootstrap.adapters.process import run
from bootstrap.domain.secret import Secret

_SESSION_S = 3.0


def manager_environment() -> dict[str, str]:
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


def session_environment() -> dict[str, Secret]:
    """Return the variables that every unit of this user starts with; none where nobody knows.

    Those whose value systemd would have to quote are left out: no key of ours is such.
    """
    with suppress(OSError):
        argv = ["systemctl", "--user", "--no-pager", "show-environment"]
        answer = run(argv, env=manager_environment(), timeout_s=_SESSION_S)
        lines = answer.stdout.decode(errors="replace").splitlines() if not answer.returncode else []
        pairs = (line.partition("=") for line in lines)
        return {n: Secret(v) for n, _, v in pairs if v and not v.startswith("$'")}
    return {}


def _leads_to_manager(folder: str) -> bool:
    with suppress(OSError):
        return bool(folder) and (Path(folder) / "systemd" / "private").is_socket()
    return False
