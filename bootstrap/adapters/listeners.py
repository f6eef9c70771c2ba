"""Who listens on a TCP port of this machine (Linux: sock_diag, or /proc/net/tcp; /proc/PID/fd)."""

import ipaddress
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath

from bootstrap.adapters import socket_diag
from bootstrap.adapters.machine import JsonState
from bootstrap.adapters.process_identity import Stat, stat_of
from bootstrap.ports import Listener

_PROC = Path("/proc")
_LISTEN = "0A"
SUPERVISOR = b"bootstrap.adapters.supervisor_daemon"


class LocalPorts:
    """The machine's listening sockets, as far as this network namespace goes."""

    def listener(self, port: int) -> Listener | None:
        """Return who listens on `port` on a loopback or wildcard address, or None.

        Where several processes share the socket, the one that was started first, whose children
        the others usually are.
        """
        inodes = _inodes(port)
        if not inodes:
            return None
        pids = [pid for pid in _pids() if _holds(pid, inodes)]
        started = {pid: found.start for pid in pids if (found := stat_of(pid)) is not None}
        if not started:
            return Listener(None, "")
        first = min(started, key=lambda pid: (started[pid], pid))
        return Listener(first, _name_of(first), *_supervisor_of(first))

    def holders(self, port: int) -> list[int]:
        """Return every process that holds a socket listening on `port`, as far as is visible."""
        inodes = _inodes(port)
        return [pid for pid in _pids() if _holds(pid, inodes)] if inodes else []

    def serves(self, pid: int, port: int) -> bool:
        """Tell whether every socket that listens on `port` is held by `pid` or a child of its.

        Others may hold it as well: a service manager that opened it, a second instance.
        """
        inodes = _inodes(port)
        family = [other for other in _pids() if _is_descendant(other, pid)]
        return bool(inodes) and all(
            any(_holds(member, {inode}) for member in family) for inode in inodes
        )


def _supervisor_of(pid: int) -> tuple[int | None, str]:
    """Return the supervisor of keyturn's that is the process, or has started it, and its lab."""
    while pid > 1:
        try:
            argv = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:
            break
        if SUPERVISOR in argv[:-1]:
            spec = os.fsdecode(argv[argv.index(SUPERVISOR) + 1])
            lab = JsonState(PurePath(spec).parent).load().get("lab")
            return pid, lab if isinstance(lab, str) else ""
        found = stat_of(pid)
        pid = found.parent if found else 0
    return None, ""


def _is_descendant(pid: int, ancestor: int) -> bool:
    """Tell whether process `pid` is `ancestor` or was started by it, at any depth."""
    seen: set[int] = set()
    while pid > 0 and pid not in seen:
        if pid == ancestor:
            return True
        seen.add(pid)
        found: Stat | None = stat_of(pid)
        pid = found.parent if found else 0
    return False


def _inodes(port: int) -> set[str]:
    try:
        found = socket_diag.listening(port)
    except OSError:
        found = [row for name in ("tcp", "tcp6") for row in _listening(name, port)]
    return {str(inode) for address, inode in found if _reachable_here(address)}


def _listening(name: str, port: int) -> Iterator[tuple[bytes, int]]:
    """Give address and inode of the sockets in /proc/net/NAME that listen on `port`."""
    try:
        rows = (_PROC / "net" / name).read_text().splitlines()[1:]
    except OSError:  # a machine without IPv6 has no tcp6
        return
    for row in rows:
        fields = row.split()
        address, _, number = fields[1].partition(":")
        if fields[3] == _LISTEN and int(number, 16) == port:
            yield _packed(address), int(fields[9])


def _packed(address: str) -> bytes:
    """Return an address that is spelled as 32-bit words in the machine's byte order."""
    words = [int(address[at : at + 8], 16) for at in range(0, len(address), 8)]
    return b"".join(struct.pack("=I", word) for word in words)


def _reachable_here(address: bytes) -> bool:
    """Tell whether an address is ours to ask."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback or parsed.is_unspecified


def _pids() -> list[int]:
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]  # noqa: PTH208


def _holds(pid: int, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    folder = f"{_PROC}/{pid}/fd"
    with suppress(OSError):  # another user's process, or one that ended meanwhile
        for descriptor in os.listdir(folder):  # noqa: PTH208 - texts, not paths, of thousands
            with suppress(OSError):
                if os.readlink(f"{folder}/{descriptor}") in wanted:  # noqa: PTH115
                    return True
    return False


def _name_of(pid: int) -> str:
    """Return the program's short name; not its arguments, which may hold anything."""
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""
