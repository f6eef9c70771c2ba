"""A real systemd-logind for a session of `with-user-systemd`, which knows nobody yet."""

import shlex
from pathlib import Path

from support.sessions import UserSystemd

_CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={bus}</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/><allow user="*"/></policy></busconfig>
"""
# Who lingers is kept in /var/lib/systemd, which the session gets an empty one of.
_START = """\
mkdir -p /var/lib/systemd && mount -t tmpfs none /var/lib/systemd || exit 1
dbus-daemon --config-file={config} --fork --nopidfile
setsid /lib/systemd/systemd-logind >/dev/null 2>&1 </dev/null &
for _ in $(seq 200); do loginctl list-users >/dev/null 2>&1 && exit; sleep 0.05; done
exit 1
"""


def start_logind(session: UserSystemd, folder: Path) -> None:
    """Start it, with a system bus of its own, for all later commands of the session.

    Args:
        session: Root's; both end with it.
        folder: For the bus.
    """
    bus, config = folder / "system-bus", folder / "bus.conf"
    config.write_text(_CONFIG.format(bus=bus))
    session.env["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={bus}"
    session.check("sh", "-c", _START.format(config=shlex.quote(str(config))))
