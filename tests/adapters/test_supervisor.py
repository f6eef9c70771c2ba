"""The supervisor for machines without systemd, with real processes."""

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

import pytest

from bootstrap.adapters import supervisor
from bootstrap.adapters.process_identity import ProcessIdentity
from bootstrap.adapters.supervisor import SupervisorService
from bootstrap.adapters.supervisor_state import (
    BACKOFF,
    LOCK_FILE,
    RUNNING,
    STATUS_FILE,
    Limits,
    SupervisorState,
    write_state,
)
from bootstrap.domain.errors import NotReadyError, ServiceError
from support.processes import environment_of, measured_python
from support.service_files import SPEC_TEMPLATE, service_text, write_env_file
from support.sessions import TOOLS
from support.supervised_place import QUICK, SupervisedPlace
from support.waiting import until

pytestmark = pytest.mark.integration

KEY = "sk-test-supervised-0123456789"
NEXT_KEY = "sk-test-supervised-9876543210"
REPOSITORY = TOOLS.parent.parent
SLOW_GATEWAY = TOOLS.parent / "support" / "slow_gateway.py"


class Place(SupervisedPlace):
    """A supervised service that opens its port itself."""

    def __init__(self, root: Path, port: int) -> None:
        super().__init__(root, port, KEY)

    def write(self, *argv: str) -> None:
        self.spec.write_text(service_text(SPEC_TEMPLATE, argv, self.env_file))

    def write_mini_gateway(self) -> None:
        self.write(sys.executable, str(TOOLS / "mini-gateway"), "--port", str(self.port))

    def write_slow_gateway(self) -> None:
        self.write(sys.executable, str(SLOW_GATEWAY), str(self.port), str(self.root))

    def write_shell(self, script: str) -> None:
        self.write("/bin/sh", "-c", script)

    def status_of(self, key: str) -> int:
        """Return the gateway's HTTP status to `key`; 0 while nothing answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/models")
        request.add_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code
        except OSError:
            return 0


@pytest.fixture
def place(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path, free_port)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", measured_python(tmp_path))
        yield made
    for path in tmp_path.glob(f"**/{STATUS_FILE}"):
        SupervisorService(made.spec, path.parent, Limits(stop_s=2)).stop()


def started(place: Place, limits: Limits = QUICK) -> SupervisorService:
    """Start the tests' gateway."""
    place.write_mini_gateway()
    service = place.service(limits)
    service.start()
    return service


def gateway_pid(service: SupervisorService) -> int:
    pid = until(lambda: service.status().pid, "a gateway process")
    assert pid is not None
    return pid


def supervisors_of(spec: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and str(spec).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_a_started_gateway_serves_with_the_key_of_the_env_file(place: Place) -> None:
    service = started(place)
    until(lambda: place.status_of(KEY) == 200)
    status = service.status()
    assert (status.running, status.installed, status.detail) == (True, True, "running")


def test_the_gateway_gets_the_env_file_and_the_unit_but_not_what_the_caller_has(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = 'two words "quoted" $HOME #not a comment'
    write_env_file(place.env_file, LITELLM_MASTER_KEY=KEY, ODD=odd)
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "SOPS_AGE_KEY", "LITELLM_LOG", "PYTHONPATH"):
        monkeypatch.setenv(name, "/inherited")
    service = started(place)
    environment = environment_of(gateway_pid(service))
    assert environment["ODD"] == odd
    assert environment["LITELLM_MASTER_KEY"] == KEY
    assert environment["LITELLM_MODE"] == "PRODUCTION"
    assert "/inherited" not in environment.values()
    supervisor = environment_of(place.state().daemon.pid)
    assert "/inherited" not in supervisor.values()


def test_a_service_that_was_never_started_says_so(place: Place) -> None:
    status = place.service().status()
    assert (status.running, status.pid, status.installed) == (False, None, False)
    assert place.service().log_lines(5) == []
    place.service().stop()


def test_starting_without_a_spec_says_how_to_get_one(place: Place) -> None:
    with pytest.raises(ServiceError) as caught:
        place.service().start()
    assert "keyturn apply" in caught.value.fix


def test_starting_twice_leaves_one_gateway(place: Place) -> None:
    place.write_mini_gateway()
    place.service().start()
    first = gateway_pid(place.service())
    place.service().start()
    assert gateway_pid(place.service()) == first
    assert supervisors_of(place.spec) == [place.state().daemon.pid]


def test_two_starts_at_once_leave_one_supervisor(place: Place) -> None:
    place.write_mini_gateway()
    failures: list[BaseException] = []

    def start() -> None:
        try:
            place.service().start()
        except ServiceError as error:
            failures.append(error)

    starters = [threading.Thread(target=start) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert failures == []
    assert supervisors_of(place.spec) == [place.state().daemon.pid]
    until(lambda: place.status_of(KEY) == 200)


def test_a_supervisor_that_another_container_holds_is_an_error_not_a_hang(place: Place) -> None:
    place.write_mini_gateway()
    place.state_dir.mkdir()
    with (place.state_dir / LOCK_FILE).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ServiceError, match="gave no answer"):
            place.service(Limits(start_s=2)).start()


def test_a_killed_gateway_comes_back(place: Place) -> None:
    service = started(place)
    first = gateway_pid(service)
    os.kill(first, signal.SIGKILL)
    until(lambda: service.status().running and service.status().pid != first)
    until(lambda: place.status_of(KEY) == 200)
    assert "killed by signal 9; starts again in 0.05 s" in place.log()


def test_a_program_that_keeps_failing_is_started_ever_more_rarely(place: Place) -> None:
    place.write_shell("echo hello from it; exit 3")
    with suppress(ServiceError):  # it may fail before or after the start is seen
        place.service().start()
    until(lambda: place.log().count("starts again in 0.2 s") >= 2)
    pauses = [line.rpartition("in ")[2] for line in place.log().splitlines() if "again" in line]
    assert pauses[:4] == ["0.05 s", "0.1 s", "0.2 s", "0.2 s"]
    assert "hello from it" in place.log()
    until(lambda: place.service().status().detail == "backoff: exit status 3")
    assert not place.service().status().running


def test_a_gateway_that_ran_for_long_is_started_again_quickly(place: Place) -> None:
    place.write_shell("exit 3")
    with suppress(ServiceError):
        place.service(Limits(backoff_first_s=0.05, steady_s=0)).start()
    until(lambda: place.log().count("starts again") >= 4)
    assert "in 0.1 s" not in place.log()


def test_a_missing_program_fails_the_start_and_is_named(place: Place) -> None:
    place.write("/nonexistent/litellm")
    with pytest.raises(ServiceError) as caught:
        place.service().start()
    assert "/nonexistent/litellm cannot be run" in caught.value.why
    assert KEY not in str(caught.value)


def test_a_supervisor_that_does_not_start_says_why_in_its_log(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write_mini_gateway()
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho the reason >&2; exit 3\n")
    broken.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(broken))
        with pytest.raises(NotReadyError) as caught:
            place.service().start()
    assert str(caught.value).startswith("the supervisor does not start")
    assert caught.value.why == "it ended with 3"
    assert place.service().log_lines(5) == ["the reason"]


def test_a_full_disk_is_called_one_at_once_and_leaves_no_supervisor(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    place.write_mini_gateway()
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ServiceError) as caught:
        place.service().start()
    assert caught.value.why.endswith("no space left on device")
    assert caught.value.fix.startswith("make room: df -h ")
    assert place.service().status().detail == "it was never started"


def test_a_missing_env_file_fails_the_start_until_it_is_there(place: Place) -> None:
    place.write_mini_gateway()
    place.env_file.unlink()
    with pytest.raises(ServiceError) as caught:
        place.service(Limits(backoff_first_s=300, backoff_most_s=300)).start()
    assert str(place.env_file) in caught.value.why
    write_env_file(place.env_file, LITELLM_MASTER_KEY=KEY)
    place.service().start()
    until(lambda: place.status_of(KEY) == 200)


@pytest.mark.parametrize("text", ["", "[]", '{"argv": [], "environment": {}, "env_file": ""}'])
def test_a_damaged_spec_fails_the_start_and_is_named(place: Place, text: str) -> None:
    place.spec.write_text(text)
    with pytest.raises(ServiceError) as caught:
        place.service().start()
    assert str(place.spec) in caught.value.why


def test_a_restart_takes_the_files_as_they_are_now(place: Place) -> None:
    place.write_mini_gateway()
    service = place.service()
    service.restart()
    until(lambda: place.status_of(KEY) == 200)
    write_env_file(place.env_file, LITELLM_MASTER_KEY=NEXT_KEY)
    assert place.status_of(KEY) == 200
    service.reset()
    service.restart()
    until(lambda: place.status_of(NEXT_KEY) == 200)
    assert place.status_of(KEY) == 400


def test_ten_restarts_in_a_row_are_ten_new_gateways(place: Place) -> None:
    service = started(place)
    pids = [gateway_pid(service)]
    for _ in range(10):
        service.restart()
        pids.append(gateway_pid(service))
    assert len(set(pids)) == 11
    until(lambda: place.status_of(KEY) == 200)


def test_a_restart_with_a_broken_program_is_an_error(place: Place) -> None:
    place.write_mini_gateway()
    place.service().start()
    place.write("/nonexistent/litellm")
    with pytest.raises(ServiceError, match="does not restart"):
        place.service().restart()


def ask_slowly(place: Place) -> tuple[threading.Thread, list[bytes]]:
    """Send a request that is being answered when this returns."""
    until((place.root / "ready").exists)
    answers: list[bytes] = []

    def ask() -> None:
        url = f"http://127.0.0.1:{place.port}/slow"
        with urllib.request.urlopen(url, timeout=60) as answer:
            answers.append(answer.read())

    asking = threading.Thread(target=ask)
    asking.start()
    until((place.root / "asked").exists)
    return asking, answers


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_stopping_lets_a_running_answer_finish(place: Place, verb: str) -> None:
    place.write_slow_gateway()
    service = place.service()
    service.start()
    first = gateway_pid(service)
    asking, answers = ask_slowly(place)
    acting = threading.Thread(target=getattr(service, verb))
    acting.start()
    until(lambda: place.status_of(KEY) == 0, "the port closes")
    assert ProcessIdentity.of(first) is not None
    (place.root / "finish").touch()
    asking.join()
    acting.join()
    assert answers == [b"done"]
    assert ProcessIdentity.of(first) is None
    assert service.status().running is (verb == "restart")


def test_a_gateway_that_does_not_stop_is_killed(place: Place) -> None:
    (place.root / "deaf").touch()
    place.write_slow_gateway()
    service = place.service(Limits(stop_s=0.2))
    service.start()
    until((place.root / "ready").exists)
    pid = gateway_pid(service)
    service.stop()
    assert ProcessIdentity.of(pid) is None
    assert service.status().detail == "stopped"


def test_a_gateway_that_somebody_stopped_ends_as_any_other(place: Place) -> None:
    service = started(place)
    pid = gateway_pid(service)
    os.kill(pid, signal.SIGSTOP)
    service.stop()
    assert ProcessIdentity.of(pid) is None
    assert "killed by signal 9" not in "\n".join(service.log_lines(20))


def test_stop_cuts_the_supervisors_longer_patience_short(place: Place) -> None:
    (place.root / "deaf").touch()
    place.write_slow_gateway()
    place.service(Limits(stop_s=3600)).start()
    until((place.root / "ready").exists)
    place.service(Limits(stop_s=0.2)).stop()
    assert not place.state().daemon.alive()
    assert "did not stop in time" in place.log()


def test_a_supervisor_that_hangs_is_killed_and_the_gateway_with_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_KILLED_S", 0.5)
    service = started(place, Limits(stop_s=0.2))
    pid = gateway_pid(service)
    place.state().daemon.send(signal.SIGSTOP)
    service.stop()
    until(lambda: ProcessIdentity.of(pid) is None)
    assert not place.state().daemon.alive()


def test_starting_while_it_stops_starts_it_anew(place: Place) -> None:
    (place.root / "deaf").touch()
    place.write_slow_gateway()
    service = place.service(Limits(stop_s=0.5))
    service.start()
    until((place.root / "ready").exists)
    old = place.state()
    old.daemon.send(signal.SIGTERM)
    until(lambda: place.state().phase != RUNNING)
    service.start()
    assert place.state().daemon != old.daemon
    assert gateway_pid(service)


def test_stopping_takes_along_what_the_gateway_started(place: Place) -> None:
    note = place.root / "worker"
    place.write_shell(f"sleep 3600 & echo $! > {note}; wait")
    service = place.service()
    service.start()
    worker = int(until(lambda: note.exists() and note.read_text().strip()) or 0)
    service.stop()
    until(lambda: ProcessIdentity.of(worker) is None)


def test_a_killed_supervisor_takes_the_gateway_with_it_and_start_mends_it(place: Place) -> None:
    service = started(place)
    pid = gateway_pid(service)
    place.state().daemon.send(signal.SIGKILL)
    until(lambda: ProcessIdentity.of(pid) is None)
    assert service.status().detail == "its supervisor was killed"
    service.start()
    until(lambda: place.status_of(KEY) == 200)


def test_a_gateway_left_behind_is_ended_before_another_is_started(place: Place) -> None:
    place.write_mini_gateway()
    place.state_dir.mkdir()
    orphan = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; read x"], stdin=subprocess.PIPE)
    identity = ProcessIdentity.of(orphan.pid)
    dead = ProcessIdentity(os.getpid(), 1, "another boot")
    write_state(place.state_dir / STATUS_FILE, SupervisorState(dead, identity, RUNNING, "", 0))
    assert place.service().status().running
    reaper = threading.Thread(target=orphan.communicate)
    place.service(Limits(stop_s=0.5)).start()
    reaper.start()
    reaper.join()
    assert orphan.returncode in (-signal.SIGTERM, -signal.SIGKILL)


def test_a_reused_process_number_is_never_signalled(place: Place) -> None:
    place.write_mini_gateway()
    place.state_dir.mkdir()
    with subprocess.Popen(["/bin/sleep", "3600"]) as innocent:
        real = ProcessIdentity.of(innocent.pid)
        assert real is not None
        stale = ProcessIdentity(real.pid, real.start - 1, real.boot)
        write_state(place.state_dir / STATUS_FILE, SupervisorState(stale, stale, RUNNING, "", 0))
        assert not place.service().status().running
        place.service().stop()
        place.service().start()
        assert innocent.poll() is None
        innocent.kill()


def test_ctrl_c_in_the_terminal_that_started_it_does_not_end_it(place: Place) -> None:
    place.write_mini_gateway()
    script = textwrap.dedent(f"""
        import pathlib, sys, time
        from bootstrap.adapters.supervisor import SupervisorService
        SupervisorService(pathlib.Path({str(place.spec)!r}),
                          pathlib.Path({str(place.state_dir)!r})).start()
        print("started", flush=True)
        time.sleep(3600)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        cwd=REPOSITORY, process_group=0,
    ) as terminal:  # fmt: skip
        assert terminal.stdout is not None
        assert terminal.stdout.readline() == b"started\n"
        for number in (signal.SIGINT, signal.SIGHUP):
            with suppress(ProcessLookupError):
                os.killpg(terminal.pid, number)
        terminal.wait()
    until(lambda: place.status_of(KEY) == 200)
    assert place.state().restarts_done == 0
    assert place.state().daemon.alive()


def test_no_secret_is_in_a_command_line_a_log_or_a_state_file(
    place: Place, leaks: ModuleType
) -> None:
    service = started(place)
    until(lambda: place.status_of(KEY) == 200)
    service.restart()
    pids = [place.state().daemon.pid, gateway_pid(service)]
    texts = {f"cmdline of {pid}": Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids}
    texts["environment of the supervisor"] = Path(f"/proc/{pids[0]}/environ").read_bytes()
    assert leaks.find(KEY, [place.root], texts=texts, allowed=[place.env_file]) == []


def test_its_files_are_private_and_the_log_stays_small(place: Place) -> None:
    place.write_shell(
        "i=0; while [ $i -lt 400 ]; do echo line $i; i=$((i+1)); done; read x </dev/tty"
    )
    with suppress(ServiceError):
        place.service(Limits(log_bytes=1000, backoff_first_s=600, backoff_most_s=600)).start()
    until(lambda: "line 399" in place.log())
    until(lambda: place.state().phase == BACKOFF)
    files = [path for path in place.state_dir.iterdir() if path.is_file()]
    assert {path.name for path in files} == {
        "gateway.log", "gateway.log.1", LOCK_FILE, STATUS_FILE,
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(place.state_dir.stat().st_mode) == 0o700


def test_a_state_folder_that_cannot_be_made_is_explained(place: Place) -> None:
    place.write_mini_gateway()
    place.state_dir.write_text("a file")
    with pytest.raises(ServiceError) as caught:
        place.service().start()
    assert str(place.state_dir) in caught.value.fix


def test_a_python_that_cannot_run_the_supervisor_is_explained(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.write_mini_gateway()
    for program, word in (("/bin/false", "ended with 1"), ("/nonexistent", "FileNotFoundError")):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", program)
            with pytest.raises(ServiceError, match=word):
                place.service().start()


def test_the_status_survives_a_damaged_file(place: Place) -> None:
    place.write_mini_gateway()
    place.state_dir.mkdir()
    own = asdict(ProcessIdentity.own())
    whole = {"daemon": own, "child": None, "phase": "running", "detail": "", "restarts_done": 0}
    for broken in ({}, whole | {"phase": 1}, whole | {"daemon": own | {"pid": 0}}):
        (place.state_dir / STATUS_FILE).write_text(json.dumps(broken))
        assert place.service().status().detail == "it was never started"
