"""Who listens on a port, from the real /proc and from one made up."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.adapters import listeners, socket_diag
from bootstrap.adapters.listeners import SUPERVISOR, LocalPorts
from bootstrap.adapters.machine import JsonState
from bootstrap.ports import Listener
from support.waiting import until


@contextmanager
def listening(
    address: str, family: socket.AddressFamily = socket.AF_INET, *, both: bool = False
) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as server:
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        server.bind((address, 0))
        server.listen()
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def own_name() -> str:
    return Path("/proc/self/comm").read_text().strip()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "0.0.0.0"])  # noqa: S104
def test_a_listener_on_loopback_or_everywhere_is_found(address: str) -> None:
    with listening(address) as server:
        port = port_of(server)
        assert LocalPorts().listener(port) == Listener(os.getpid(), own_name())
    assert LocalPorts().listener(port) is None


@pytest.mark.parametrize("address", ["::1", "::", "::ffff:127.0.0.1"])
def test_a_listener_on_ipv6_is_found(address: str) -> None:
    with listening(address, socket.AF_INET6, both=True) as server:
        assert LocalPorts().listener(port_of(server)) == Listener(os.getpid(), own_name())


def test_a_port_that_is_bound_but_not_listened_on_is_free() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert LocalPorts().listener(bound.getsockname()[1]) is None


@pytest.mark.integration
def test_of_several_processes_with_one_socket_the_first_is_named() -> None:
    with (
        listening("127.0.0.1") as server,
        subprocess.Popen(  # inherits the socket, as workers do
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            pass_fds=[server.fileno()],
        ) as worker,
    ):
        assert LocalPorts().listener(port_of(server)) == Listener(os.getpid(), own_name())
        worker.communicate(b"\n")


@pytest.mark.integration
def test_the_gateway_of_a_supervisor_of_ours_is_known_by_its_lab(tmp_path: Path) -> None:
    JsonState(tmp_path).save({"lab": "/my lab"})
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); "
    script += "print(s.getsockname()[1], flush=True); input()"
    spec = str(tmp_path / "service.json")
    with subprocess.Popen(
        [sys.executable, "-S", "-c", script, SUPERVISOR, spec],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as daemon:
        assert daemon.stdout
        port = int(daemon.stdout.readline())
        found = LocalPorts().listener(port)
        assert found
        assert (found.supervisor, found.lab) == (daemon.pid, "/my lab")
        (tmp_path / "state.json").unlink()
        assert LocalPorts().listener(port) == replace(found, lab="")
        daemon.communicate(b"\n")


# A /proc as another user, or another machine, would show it.
HEADER = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid to inode\n"
)


def row(address: str, port: int, *, state: str = "0A", inode: int = 77) -> str:
    return f"   0: {address}:{port:04X} 00000000:0000 {state} 0:0 00:0 0 1000 0 {inode} 1 0\n"


def kernel_says_nothing(port: int) -> list[tuple[bytes, int]]:
    raise OSError(errno.EPROTONOSUPPORT, f"nothing about {port}")


@pytest.fixture
def only_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that answers no question about sockets, as in some sandboxes."""
    monkeypatch.setattr(socket_diag, "listening", kernel_says_nothing)


def fake_proc(tmp_path: Path, tcp: str, patch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "tcp").write_text(HEADER + tcp)
    patch.setattr(socket_diag, "listening", kernel_says_nothing)
    patch.setattr(listeners, "_PROC", tmp_path)


@pytest.mark.usefixtures("only_proc")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.8.7", "0.0.0.0"])  # noqa: S104
def test_a_listener_is_found_where_the_kernel_answers_no_question(address: str) -> None:
    with listening(address) as server:
        port = port_of(server)
        assert LocalPorts().listener(port) == Listener(os.getpid(), own_name())
    assert LocalPorts().listener(port) is None


@pytest.mark.usefixtures("only_proc")
@pytest.mark.parametrize("address", ["::1", "::", "::ffff:127.0.0.1"])
def test_so_it_is_on_ipv6(address: str) -> None:
    with listening(address, socket.AF_INET6, both=True) as server:
        assert LocalPorts().listener(port_of(server)) == Listener(os.getpid(), own_name())


def test_a_kernel_that_refuses_the_question_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_diag, "_BY_FAMILY", 99)  # no such question
    with listening("127.0.0.1") as server:
        with pytest.raises(OSError, match="no answer"):
            socket_diag.listening(port_of(server))
        assert LocalPorts().listener(port_of(server)) == Listener(os.getpid(), own_name())


def loopback() -> str:
    return f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"


def test_another_users_listener_has_no_process_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_proc(tmp_path, row(loopback(), 4000), monkeypatch)
    assert LocalPorts().listener(4000) == Listener(None, "")


def test_a_listener_on_another_address_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = f"{int.from_bytes(socket.inet_aton('192.0.2.1'), sys.byteorder):08X}"
    fake_proc(tmp_path, row(other, 4000) + row(loopback(), 4000, state="01"), monkeypatch)
    assert LocalPorts().listener(4000) is None


def test_a_process_that_ends_while_it_is_looked_at_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_proc(tmp_path, row(loopback(), 4000), monkeypatch)
    pid = os.getpid()  # exists in the real /proc, has no name and no second descriptor here
    descriptors = tmp_path / str(pid) / "fd"
    descriptors.mkdir(parents=True)
    (descriptors / "0").touch()
    (descriptors / "1").symlink_to("socket:[1]")
    (descriptors / "2").symlink_to("socket:[77]")
    assert LocalPorts().listener(4000) == Listener(pid, "")


@pytest.mark.integration
def test_a_process_serves_a_port_where_it_or_a_child_of_its_holds_the_socket() -> None:
    inner = "[sys.executable, '-c', 'print(1); input()'], close_fds=False"
    script = f"import subprocess, sys; subprocess.run({inner})"
    ports = LocalPorts()
    with (
        listening("127.0.0.1") as server,
        listening("127.0.0.1") as other,
        subprocess.Popen(
            [sys.executable, "-u", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[server.fileno()],
        ) as child,
    ):
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        grandchild = int(until(lambda: children.read_text().split())[0])
        for pid in (os.getpid(), child.pid, grandchild):
            assert ports.serves(pid, port_of(server))
        assert ports.serves(os.getpid(), port_of(other))
        assert not ports.serves(child.pid, port_of(other))
        child.communicate(b"\n")
        port = port_of(server)
        assert not ports.serves(grandchild, port)
    assert not ports.serves(os.getpid(), port)


@pytest.mark.integration
def test_a_port_that_a_stranger_listens_on_too_is_not_served() -> None:
    with listening("127.0.0.1") as server:
        port = port_of(server)
        script = (
            "import socket; s = socket.socket(socket.AF_INET6); "
            f"s.bind(('::1', {port})); s.listen(); print(1, flush=True); input()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as stranger:
            assert stranger.stdout is not None
            stranger.stdout.readline()
            # It has ::1, and somebody else, which is us, 127.0.0.1.
            assert not LocalPorts().serves(stranger.pid, port)
            stranger.communicate(b"\n")
