"""The program that serves LiteLLM on an inherited socket, with doubles of uvicorn and LiteLLM."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bootstrap.gateway import keyturn_serve
from bootstrap.gateway.keyturn_serve import inherited, main, notify, serve, server_class


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """A service manager that is told things; its address is an abstract one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")
        receiver.settimeout(5)
        yield receiver


def address_of(manager: socket.socket) -> str:
    return "@" + bytes(manager.getsockname()[1:]).decode()


def pass_on(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    """Let the listener come as a service manager passes it."""
    monkeypatch.setattr(keyturn_serve, "FIRST_FD", os.dup(listener.fileno()))
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_FDNAMES", "litellm.socket")


class FakeServer:
    """As uvicorn's, as far as it is used; `connections` empty themselves after some looks."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self.calls: list[str] = []
        self.started = False
        self.force_exit = False
        self.comes_up = True
        self.servers = [SimpleNamespace(close=lambda: self.calls.append("close"))]
        self.server_state = SimpleNamespace(default_headers=[(b"date", b"x")], connections=set())

    async def startup(self, sockets: Any = None) -> None:
        self.started = self.comes_up

    async def shutdown(self, sockets: Any = None) -> None:
        self.calls.append("shutdown")

    def run(self, sockets: Any) -> None:
        self.sockets = sockets
        asyncio.run(self.startup(sockets))


def config(**options: Any) -> SimpleNamespace:
    return SimpleNamespace(timeout_keep_alive=5, **options)


def test_the_passed_socket_is_taken_and_its_variables_go_no_further(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    pass_on(monkeypatch, listener)
    taken = inherited()
    assert taken is not None
    with taken:
        assert taken.getsockname() == listener.getsockname()
        assert not taken.get_inheritable()
    assert [name for name in os.environ if name.startswith("LISTEN_")] == []


@pytest.mark.parametrize("changes", [{"LISTEN_PID": "1"}, {"LISTEN_FDS": "2"}])
def test_a_socket_that_is_meant_for_somebody_else_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket, changes: dict[str, str]
) -> None:
    pass_on(monkeypatch, listener)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    assert inherited() is None
    os.close(keyturn_serve.FIRST_FD)


def test_without_a_socket_it_ends_and_says_what_to_start() -> None:
    with pytest.raises(SystemExit, match="start litellm"):
        main(["keyturn_serve.py", "config.yaml"])


def test_a_manager_without_an_address_is_not_told(manager: socket.socket) -> None:
    notify("", "READY=1")
    notify(address_of(manager), "READY=1")
    assert manager.recv(100) == b"READY=1"


def test_a_start_is_announced_once_it_is_one(manager: socket.socket) -> None:
    made = server_class(FakeServer, address_of(manager))(config())
    made.comes_up = False
    asyncio.run(made.startup())
    made.comes_up = True
    asyncio.run(made.startup())
    assert manager.recv(100) == b"READY=1"
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


def test_open_connections_are_told_to_close_and_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = server_class(FakeServer, "")(config())
    made.server_state.connections = {1, 2}
    looks: list[float] = []

    async def look(seconds: float) -> None:
        looks.append(seconds)
        made.server_state.connections.pop()

    monkeypatch.setattr(asyncio, "sleep", look)
    asyncio.run(made.shutdown())
    assert made.calls == ["close", "shutdown"]
    assert made.server_state.default_headers == [(b"date", b"x"), (b"connection", b"close")]
    assert len(looks) == 2


@pytest.mark.parametrize("forced", [False, True])
def test_a_long_answer_is_left_to_uvicorn_after_the_keep_alive_time(
    monkeypatch: pytest.MonkeyPatch, forced: bool
) -> None:
    made = server_class(FakeServer, "")(config())
    made.server_state.connections, made.force_exit = {1}, forced
    waited: list[float] = []

    async def look(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", look)
    asyncio.run(made.shutdown())
    assert made.calls == ["close", "shutdown"]
    assert sum(waited) == pytest.approx(0 if forced else 6.0, abs=0.1)


class TestProgram:
    @pytest.fixture(autouse=True)
    def modules(self, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
        """Let uvicorn and LiteLLM be doubles that remember how they were called."""
        seen = SimpleNamespace(argv=None, config=None, server=None, comes_up=True)
        uvicorn, cli = ModuleType("uvicorn"), ModuleType("litellm.proxy.proxy_cli")

        def make_config(app: str, **options: Any) -> SimpleNamespace:
            seen.config = {"app": app, **options}
            return config()

        class Server(FakeServer):
            def __init__(self, settings: Any) -> None:
                super().__init__(settings)
                self.comes_up = seen.comes_up
                seen.server = self

        def run_server(argv: list[str]) -> None:
            seen.argv = argv
            uvicorn.run("proxy:app", host="0.0.0.0", port=1, workers=4, loop="uvloop")  # noqa: S104

        uvicorn.Config, uvicorn.Server = make_config, Server  # type: ignore[attr-defined]
        cli.run_server = run_server  # type: ignore[attr-defined]
        for name in ("litellm", "litellm.proxy"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, "uvicorn", uvicorn)
        monkeypatch.setitem(sys.modules, "litellm.proxy.proxy_cli", cli)
        return seen

    def test_litellms_own_command_serves_the_passed_socket(
        self,
        monkeypatch: pytest.MonkeyPatch,
        modules: SimpleNamespace,
        listener: socket.socket,
        manager: socket.socket,
    ) -> None:
        pass_on(monkeypatch, listener)
        monkeypatch.setenv("NOTIFY_SOCKET", address_of(manager))
        main(["keyturn_serve.py", "/lab/config.yaml"])
        assert modules.argv[:2] == ["--config", "/lab/config.yaml"]
        # What LiteLLM chose stays, but for where to listen and how often.
        assert modules.config == {"app": "proxy:app", "workers": 1, "loop": "uvloop"}
        (served,) = modules.server.sockets
        with served:
            assert served.getsockname() == listener.getsockname()
        assert manager.recv(100) == b"READY=1"
        assert "NOTIFY_SOCKET" not in os.environ

    def test_a_start_that_fails_has_uvicorns_exit_status(
        self, modules: SimpleNamespace, listener: socket.socket
    ) -> None:
        modules.comes_up = False
        with pytest.raises(SystemExit) as ended:
            serve("proxy:app", listener, "")
        assert ended.value.code == 3
