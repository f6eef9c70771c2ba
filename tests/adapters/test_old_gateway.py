"""A gateway that somebody started is understood, stopped, and started again as it was."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.listeners import LocalPorts
from bootstrap.adapters.old_gateway import (
    OldGateway,
    _unit_of,
    await_return,
    env_file,
    installed_by_hand,
    is_returning,
    option,
    port_in,
    read_unit,
    run_by_keyturn,
    serving,
)
from bootstrap.adapters.process_identity import ProcessIdentity
from bootstrap.adapters.systemd import SystemdService
from bootstrap.domain.errors import GatewayError, ServiceError
from bootstrap.ports import Listener, ServiceStatus
from support.labs import port_of_our_own
from support.waiting import until

SERVER = "import http.server, sys; http.server.test(port=int(sys.argv[2]), bind='127.0.0.1')"


@pytest.mark.parametrize(
    ("given", "port"), [("4010", 4010), ("0", None), ("70000", None), ("\u00b2", None), ("", None)]
)
def test_a_port_is_taken_out_of_a_command_line_where_it_is_one(
    given: str, port: int | None
) -> None:
    assert port_in(("litellm", "--port", given)) == port


def test_an_option_is_found_in_both_spellings() -> None:
    assert option(("litellm", "--config", "a.yaml"), "--config") == "a.yaml"
    assert option(("litellm", "--port=4001"), "--port") == "4001"
    assert option(("litellm", "--config"), "--config") is None
    assert option((), "--config") is None


def test_a_unit_file_says_what_it_runs_and_with_which_variables() -> None:
    text = """\
[Service]
# ExecStart=/bin/false
ExecStart=%h/venv/bin/litellm \\
  --config "%h/my config.yaml"
Environment="A=1 2" B=3
EnvironmentFile=-%h/x.env
EnvironmentFile="unclosed
"""
    argv, variables, files = read_unit(text, "/home/u")
    assert argv == ("/home/u/venv/bin/litellm", "--config", "/home/u/my config.yaml")
    assert variables == {"A": "1 2", "B": "3"}
    assert files == [PurePath("/home/u/x.env")]


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/litellm.service\n",
         "litellm.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
        ("0::/user.slice/user-1000.slice/user@1000.service\n", None),
        ("0::/system.slice/cron.service\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_unit_is_told_by_the_control_group(cgroup: str, unit: str | None) -> None:
    assert _unit_of(cgroup) == unit


def test_a_litellm_that_somebody_installed_is_told_by_its_version(tmp_path: Path) -> None:
    assert installed_by_hand(tmp_path) is None
    package = tmp_path / "lib/python3.11/site-packages/litellm-1.80.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 1.80.0\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "litellm").touch(0o755)
    assert installed_by_hand(tmp_path) == "1.80.0"
    (tmp_path / "keyturn.json").touch()
    assert installed_by_hand(tmp_path) is None


def test_an_env_file_gives_its_values_and_a_missing_one_none(tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    file.write_text("A=sk-test\nB=\n")
    assert env_file(file) == {"A": "sk-test"}
    assert env_file(tmp_path / "none") == {}


@pytest.fixture
def port() -> Iterator[int]:
    """A port; what listens there in the end is stopped."""
    number = port_of_our_own()
    yield number
    found = LocalPorts().listener(number)
    identity = ProcessIdentity.of(found.pid) if found and found.pid else None
    if identity is not None:
        identity.send(signal.SIGTERM)
        until(lambda: LocalPorts().listener(number) is None)


@pytest.mark.integration
def test_a_process_started_by_hand_is_stopped_and_started_again(tmp_path: Path, port: int) -> None:
    (tmp_path / "c.yaml").write_text("")
    words = [sys.executable, "-c", SERVER, "--config=c.yaml", str(port)]
    with (tmp_path / "log").open("wb") as log:
        first = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log, env={"MINE": "1"})
    until(lambda: LocalPorts().listener(port))
    old = serving(port)
    assert old is not None
    assert (old.config, old.unit) == (PurePath(tmp_path / "c.yaml"), None)
    assert old.environ["MINE"] == "1"
    assert "started by hand" in old.label
    old.stop()
    first.wait(10)
    assert serving(port) is None
    assert not is_returning(old.to_come)
    started = old.start()
    assert until(lambda: is_returning(old.to_come)), "where a kill comes before it is noted"
    until(lambda: LocalPorts().listener(port))
    again = serving(port)
    assert again is not None
    assert (again.argv, again.environ["MINE"]) == (old.argv, "1")
    assert is_returning(started), "it is there, and no gateway answers"


@pytest.mark.integration
def test_a_gateway_that_was_started_again_is_waited_for_until_it_answers_or_ends(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity is not None
        started = json.loads(json.dumps({"port": port, "process": asdict(identity)}))
        assert is_returning(started)
        monkeypatch.setattr("bootstrap.adapters.old_gateway._RETURN_S", 0.0)
        with pytest.raises(ServiceError, match="does not answer yet"):
            await_return(started)
        child.communicate(b"\n")
    assert not is_returning(started)
    assert not is_returning({**started, "process": None})
    monkeypatch.setattr("bootstrap.adapters.old_gateway._RETURN_S", 60.0)
    looks = iter([True, True, False])
    monkeypatch.setattr("bootstrap.adapters.old_gateway.is_returning", lambda _: next(looks))
    await_return(started)
    assert next(looks, "all used") == "all used"


def test_a_unit_that_was_started_again_is_known_by_its_name(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    status = ServiceStatus(True, 7, "active", True)
    monkeypatch.setattr(SystemdService, "status", lambda self: status)
    monkeypatch.setattr(SystemdService, "available", lambda: None)
    assert is_returning({"port": port, "unit": "old.service"})
    monkeypatch.setattr(SystemdService, "available", lambda: "there is none")
    assert not is_returning({"port": port, "unit": "old.service"})
    assert not is_returning({})


def test_a_process_of_somebody_else_cannot_be_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = Listener(None, "")
    monkeypatch.setattr(LocalPorts, "listener", lambda self, port: taken)
    with pytest.raises(GatewayError) as caught:
        serving(4000)
    assert "--port" in caught.value.fix


@pytest.mark.integration
def test_a_port_that_does_not_become_free_is_an_error(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    monkeypatch.setattr("bootstrap.adapters.old_gateway._STOP_S", 0.0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    old = OldGateway(child.pid, port)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ServiceError) as caught:
        old.stop()
    child.wait(10)
    assert child.stdin is not None
    child.stdin.close()
    assert "by hand" in caught.value.fix


@pytest.mark.integration
@pytest.mark.parametrize(("name", "ours"), [("keyturn_serve.py", True), ("proxy.py", False)])
def test_keyturns_own_gateway_is_known_also_behind_a_held_socket(name: str, ours: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        assert not run_by_keyturn(port)  # the holder alone, as a service manager is
        with subprocess.Popen(
            [sys.executable, "-c", "print(1, flush=True); input()", f"/home/u/{name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[held.fileno()],
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert run_by_keyturn(port) is ours
            child.communicate(b"\n")
