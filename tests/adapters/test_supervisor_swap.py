"""The supervisor holds the port open, and lets a fresh process take over, with real processes."""

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bootstrap.adapters.process_identity import ProcessIdentity
from bootstrap.adapters.supervisor_child import (
    CannotStart,
    Child,
    Notices,
    Spec,
    open_listener,
)
from bootstrap.adapters.supervisor_log import RotatingLog
from bootstrap.adapters.supervisor_state import (
    BACKOFF,
    RUNNING,
    STARTING,
    STATUS_FILE,
    STOPPED,
    Limits,
)
from bootstrap.domain.errors import KeptError, NotReadyError, ServiceError
from bootstrap.domain.lab import Gateway
from support.load import load_on
from support.processes import environment_of, measured_python
from support.service_files import SPEC_TEMPLATE, service_text
from support.sessions import TOOLS
from support.supervised_place import SupervisedPlace
from support.waiting import until

pytestmark = pytest.mark.integration

KEY = "sk-test-swapped-0123456789"
MINI = str(TOOLS / "mini-gateway")


class Place(SupervisedPlace):
    """A supervised service whose port the supervisor opens."""

    def __init__(self, root: Path, port: int) -> None:
        super().__init__(root, port, KEY)
        self.write_mini()

    def write_mini(self, **environment: str) -> None:
        self.write(sys.executable, MINI, "--port", str(self.port), **environment)

    def write(self, *argv: str, host: str = "127.0.0.1", **environment: str) -> None:
        gateway = Gateway(host=host, port=self.port)
        text = service_text(
            SPEC_TEMPLATE, argv, self.env_file, environment=environment, gateway=gateway
        )
        self.spec.write_text(text)


@pytest.fixture
def place(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path, free_port)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", measured_python(tmp_path))
        yield made
    made.service(Limits(stop_s=2)).stop()


def accepts(port: int) -> bool:
    """Tell whether a connection to the port is taken, by a process or by its queue."""
    with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def test_the_gateway_gets_the_open_port_and_says_when_it_is_ready(place: Place) -> None:
    place.write_mini(MINI_START_S="0.3")
    service = place.service()
    starting = threading.Thread(target=service.start)
    starting.start()
    until(lambda: service.status().detail == STARTING and service.status().running)
    assert accepts(place.port)
    starting.join()
    assert service.status().detail == RUNNING
    assert service.listening() == f"127.0.0.1:{place.port}"
    pid = service.status().pid
    assert pid is not None
    given = environment_of(pid)
    assert (given["LISTEN_FDS"], given["LISTEN_PID"]) == ("1", str(pid))
    assert Path(f"/proc/{pid}/fd/3").readlink().name.startswith("socket:")


def test_a_swap_puts_a_fresh_process_in_place_and_loses_nothing(place: Place) -> None:
    begin = f'echo it begins; exec "{sys.executable}" "{MINI}" --port {place.port}'
    place.write("/bin/sh", "-c", begin, MINI_START_S="0.2")
    service = place.service()
    service.start()
    pids = [service.status().pid]
    with load_on(place.port, KEY, "stub-model", stream_s=0.5) as load:
        for _ in range(3):
            service.swap()
            pids.append(service.status().pid)
    assert load.lost == 0, load.problems()
    assert load.kept.resets == 0
    assert len(set(pids)) == 4
    assert place.log().count("it begins") == 4
    assert service.status().detail == RUNNING
    first = pids[0]
    assert first is not None
    assert ProcessIdentity.of(first) is None


def test_a_restart_keeps_the_port_open(place: Place) -> None:
    place.write_mini(MINI_START_S="0.2")
    service = place.service()
    service.start()
    with load_on(place.port, KEY, "stub-model", streams=1, stream_s=0.3) as load:
        service.restart()
    assert load.lost == 0, load.problems()


@pytest.mark.parametrize(
    ("script", "ready_s", "why"),
    [("echo the reason; exit 3", 20, "exit status 3"), ("sleep 60", 4, "killed by signal 9")],
)
def test_a_fresh_process_that_does_not_come_up_changes_nothing(
    place: Place, script: str, ready_s: float, why: str
) -> None:
    service = place.service(Limits(ready_s=ready_s, stop_s=20, start_s=20))
    service.start()
    before = service.status()
    place.write("/bin/sh", "-c", script)
    told: list[str] = []
    with pytest.raises(KeptError) as caught:
        service.swap(lambda: told.append("it serves"))
    assert told == []
    assert caught.value.why == why
    assert service.status() == before
    assert accepts(place.port)
    if "echo" in script:
        assert service.log_lines(5, fresh=True) == ["the reason"]
        assert "the reason" not in place.log()


def test_a_program_that_is_not_there_is_named_and_changes_nothing(place: Place) -> None:
    service = place.service()
    service.start()
    pid = service.status().pid
    place.write("/nonexistent/litellm")
    with pytest.raises(KeptError, match="/nonexistent/litellm cannot be run"):
        service.swap()
    assert service.status().pid == pid


def test_a_swap_of_what_does_not_run_starts_it(place: Place) -> None:
    service, told = place.service(), []
    service.swap(lambda: told.append(service.status().detail))
    assert service.status().detail == RUNNING
    assert told == [RUNNING]


def test_who_waits_for_the_fresh_process_is_told_while_the_old_one_answers(place: Place) -> None:
    service, told = place.service(), []
    service.start()
    old = place.state().child
    assert old is not None

    def look() -> None:
        fresh = place.state().child
        told.append((fresh is not None and fresh != old, old.alive()))

    with load_on(place.port, KEY, "stub-model", rate=10, stream_s=1.5) as load:
        until(lambda: load.fresh.sent > 2)
        service.swap(look)
    assert told == [(True, True)]
    assert not old.alive()
    assert load.lost == 0, load.problems()


def test_a_swap_of_a_gateway_that_keeps_failing_starts_it_at_once(place: Place) -> None:
    place.write("/bin/sh", "-c", "exit 3")
    limits = Limits(backoff_first_s=300, backoff_most_s=300, stop_s=20, ready_s=20, start_s=20)
    service = place.service(limits)
    with pytest.raises(NotReadyError):
        service.start()
    place.write_mini()
    service.swap()
    until(lambda: service.status().detail == RUNNING)


def test_whoever_asks_during_a_swap_gets_one_of_their_own(place: Place) -> None:
    place.write_mini(MINI_START_S="0.5")
    service = place.service()
    service.start()
    place.state().daemon.send(signal.SIGUSR1)  # of a keyturn that was killed
    until(lambda: "is to take over" in place.log())
    place.write_mini(MINI_START_S="0.5", MINI_LATER="yes")
    service.swap()
    pid = service.status().pid
    assert pid is not None
    assert environment_of(pid)["MINI_LATER"] == "yes"


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_a_swap_under_way_is_ended_by_a_stop_or_a_restart(place: Place, verb: str) -> None:
    place.write_mini(MINI_START_S="1")
    service = place.service()
    service.start()
    place.state().daemon.send(signal.SIGUSR1)
    until(lambda: "is to take over" in place.log())
    getattr(service, verb)()
    if verb == "stop":
        assert place.state().phase == STOPPED
        assert not accepts(place.port)
    else:
        assert service.status().detail == RUNNING


def test_a_gateway_that_dies_during_a_swap_is_taken_over_from_all_the_same(place: Place) -> None:
    place.write_mini(MINI_START_S="0.7")
    service = place.service()
    service.start()
    pid = service.status().pid
    swapping = threading.Thread(target=service.swap)
    swapping.start()
    until(lambda: "is to take over" in place.log())
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    swapping.join()
    assert service.status().detail == RUNNING
    assert service.status().pid != pid


def test_a_port_that_another_program_has_is_an_error_with_its_address(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.port)):
        with pytest.raises(ServiceError) as caught:
            place.service().start()
        assert f"127.0.0.1:{place.port} cannot be opened" in caught.value.why
        assert place.state().phase == BACKOFF
        assert place.service().listening() is None


def test_stopping_closes_the_port(place: Place) -> None:
    service = place.service()
    service.start()
    service.stop()
    assert not accepts(place.port)
    assert service.listening() is None


def test_an_ipv6_address_is_opened_for_itself_alone(free_port: int) -> None:
    with open_listener(f"[::1]:{free_port}") as opened:
        assert opened.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert not accepts(free_port)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "192.0.2.1:4000"])
def test_what_is_no_address_of_this_machine_is_refused(address: str) -> None:
    with pytest.raises(CannotStart, match="cannot be opened"):
        open_listener(address)


@pytest.mark.parametrize("listen", [4000, ["127.0.0.1:4000"]])
def test_a_spec_with_an_address_of_another_kind_is_malformed(place: Place, listen: object) -> None:
    values = json.loads(place.spec.read_text())
    place.spec.write_text(json.dumps(values | {"listen": listen}))
    with pytest.raises(ServiceError) as caught:
        place.service().start()
    assert "malformed" in caught.value.why


def test_the_state_of_an_older_supervisor_holds_nothing_open(place: Place) -> None:
    place.service().start()
    text = (place.state_dir / STATUS_FILE).read_text()
    values = json.loads(text)
    for name in ("listening", "swaps_done", "swap_failure"):
        del values[name]
    (place.state_dir / STATUS_FILE).write_text(json.dumps(values))
    assert place.service().status().running
    assert place.service().listening() is None
    (place.state_dir / STATUS_FILE).write_text(text)


def test_a_child_that_has_ended_may_be_told_so_again(place: Place) -> None:
    spec = Spec((sys.executable, "-c", "pass"), place.env_file, {}, None)
    notices = Notices()
    child = Child(spec, None, notices, RotatingLog(place.root / "log", 1000))
    notices.socket.close()
    until(child.has_ended)
    child.end(0.0, 1.0)
    child.kill()
    assert child.has_ended()
    assert child.bury() == "exit status 0"
