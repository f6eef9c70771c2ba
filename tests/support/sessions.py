"""Real daemons for one test: systemd --user, a Secret Service."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tools.user_systemd import Session, SessionFailed, UserSystemd

__all__ = ["TOOLS", "SecretService", "Session", "SessionFailed", "State", "UserSystemd"]

TOOLS = Path(__file__).resolve().parent.parent / "tools"

State = Literal["unlocked", "locked", "empty", "none", "stalled", "no-bus"]


class SecretService(Session):
    """A private D-Bus bus with a real gnome-keyring beside it, in one of the states it can have.

    Args:
        state: `unlocked`; `locked` (with its items); `empty` (no collection); `none` (a bus, no
            service); `stalled` (calls never return); `no-bus`.
        items: (service, user) -> test value, stored before anything runs.
        data: Folder for the keyring files, kept; a temporary one unless given.
    """

    def __init__(
        self,
        *,
        cwd: Path,
        state: State = "unlocked",
        items: Mapping[tuple[str, str], str] | None = None,
        data: Path | None = None,
    ) -> None:
        wrapper = [str(TOOLS / "secret-service-session"), "--state", state]
        for (service, user), value in (items or {}).items():
            wrapper += ["--item", f"{service}/{user}={value}"]
        if data is not None:
            wrapper += ["--data", str(data)]
        super().__init__(wrapper, cwd=cwd)

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs to find it: the bus address and the runtime folder."""
        names = ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR")
        return {name: self.inner[name] for name in names if name in self.inner}
