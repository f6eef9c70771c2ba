"""What systemctl says, in our words; the programs are stand-ins that answer as the real ones do."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters import memory
from bootstrap.adapters.systemd import SystemdService
from bootstrap.adapters.systemd_session import session_environment
from bootstrap.domain.errors import KeptError, NotReadyError, ServiceError

pytestmark = pytest.mark.integration

LEAK = "sk-test-from-a-complaint"


class Machine:
    """A PATH with a systemctl, journalctl and loginctl that tests write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.diary = folder / "diary"

    def install(self, name: str, script: str) -> None:
        program = self.folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.diary}\n{script}\n')
        program.chmod(0o700)

    def unit_is(
        self,
        *,
        failing: object = "nothing",
        socket: Mapping[str, object] | None = None,
        spare: Mapping[str, object] | None = None,
        **properties: Any,
    ) -> None:
        """Let `systemctl show` give these properties, and the verb `failing` fail.

        `failing` may name the unit, too; socket and spare unit do not run unless told.
        """
        away = {"ActiveState": "inactive", "LoadState": "loaded", "Result": "success"}
        answers = (("socket", socket or away), ("-spare.service", spare or away), ("", properties))
        shows = "".join(
            f'*" show "*"{name} "*) printf \'{lines}\';;\n'
            for name, values in answers
            for lines in ["".join(f"{n}={value}\\n" for n, value in values.items())]
        )
        self.install(
            "systemctl",
            f'case "$*" in\n*" {failing} "*|*" {failing}") echo {LEAK} >&2; exit 1;;\n'
            f"{shows}*is-system-running*) echo degraded; exit 1;;\nesac",
        )

    def calls(self) -> list[str]:
        lines = self.diary.read_text().splitlines()
        return [line.removeprefix("systemctl --user --no-pager --quiet ") for line in lines]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Machine(folder)


RUNNING: dict[str, Any] = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "MainPID": 42,
}
FAILED: dict[str, Any] = {
    "LoadState": "loaded",
    "ActiveState": "failed",
    "SubState": "failed",
    "MainPID": 0,
}


def test_a_running_unit_is_running(machine: Machine) -> None:
    machine.unit_is(**RUNNING, Result="success")
    status = SystemdService().status()
    assert (status.running, status.pid, status.installed) == (True, 42, True)
    assert status.detail == "active (running)"


@pytest.mark.parametrize(
    ("properties", "detail"),
    [
        ({"LoadState": "masked", "ActiveState": "inactive"}, "masked"),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "not installed"),
        ({"LoadState": "bad-setting", "ActiveState": "inactive"}, "does not take"),
        ({"LoadState": "error", "ActiveState": "inactive"}, "does not take"),
        ({"LoadState": "loaded", "ActiveState": "inactive", "Result": "success"}, "inactive"),
        (FAILED | {"Result": "exit-code", "ExecMainStatus": 3}, "ended with status 3"),
        (FAILED | {"Result": "exit-code", "ExecMainStatus": 203}, "missing or cannot be run"),
        (FAILED | {"Result": "exit-code", "ExecMainStatus": 226}, "sandbox"),
        (FAILED | {"Result": "signal", "ExecMainStatus": 9}, "killed by signal 9"),
        (FAILED | {"Result": "start-limit-hit"}, "restarted too often"),
        (FAILED | {"Result": "resources"}, "environment file"),
        (FAILED | {"Result": "oom-kill"}, "out of memory"),
        (FAILED | {"Result": "protocol"}, "failed: protocol"),
        (
            {"LoadState": "loaded", "ActiveState": "activating", "SubState": "auto-restart",
             "Result": "exit-code", "ExecMainStatus": 3, "NRestarts": 7},
            "ended with status 3; systemd tries again (restart 7)",
        ),
    ],
)  # fmt: skip
def test_a_unit_that_does_not_run_is_explained(
    machine: Machine, properties: dict[str, Any], detail: str
) -> None:
    machine.unit_is(**properties)
    status = SystemdService().status()
    assert not status.running
    assert detail in status.detail
    assert status.installed is (properties["LoadState"] != "not-found")


def test_starting_enables_the_unit_too(machine: Machine) -> None:
    machine.unit_is(**RUNNING)
    SystemdService("lab.service").start()
    verbs = [call for call in machine.calls() if not call.startswith("show")]
    assert verbs == [
        "daemon-reload", "reset-failed lab.socket", "reset-failed lab-spare.service",
        "reset-failed lab.service", "enable lab.service", "start lab.service",
    ]  # fmt: skip


def test_a_restart_takes_the_unit_file_as_it_is_now(machine: Machine) -> None:
    machine.unit_is(**RUNNING)
    SystemdService().restart()
    calls = machine.calls()
    assert calls.index("daemon-reload") < calls.index("restart litellm.service")


def test_stopping_what_does_not_run_does_nothing(machine: Machine) -> None:
    machine.unit_is(LoadState="not-found", ActiveState="inactive")
    SystemdService().stop()
    assert all(call.startswith("show") for call in machine.calls())


def test_stopping_what_runs_stops_it(machine: Machine) -> None:
    machine.unit_is(**RUNNING)
    SystemdService().stop()
    assert [call for call in machine.calls() if "show" not in call] == ["stop litellm.service"]


@pytest.mark.parametrize(
    ("load_state", "fix"),
    [
        ("masked", "systemctl --user unmask litellm.service"),
        ("not-found", "keyturn apply"),
        ("bad-setting", "systemd-analyze --user verify"),
        ("error", "systemd-analyze --user verify"),
    ],
)
@pytest.mark.parametrize("verb", ["start", "restart"])
def test_a_unit_that_systemd_refuses_is_explained_before_it_is_tried(
    machine: Machine, load_state: str, fix: str, verb: str
) -> None:
    machine.unit_is(LoadState=load_state, ActiveState="inactive")
    with pytest.raises(ServiceError) as caught:
        getattr(SystemdService(), verb)()
    assert fix in caught.value.fix
    assert f"{verb} litellm.service" not in machine.calls()


def test_a_failed_start_is_explained_without_quoting_systemctl(machine: Machine) -> None:
    machine.unit_is(**FAILED, failing="start", Result="exit-code", ExecMainStatus=203)
    with pytest.raises(ServiceError) as caught:
        SystemdService().start()
    error = caught.value
    assert "cannot be run" in error.why
    assert "journalctl --user" in error.fix
    assert LEAK not in f"{error} {error.fix}"


def test_the_log_hint_fits_the_user(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.unit_is(**FAILED, failing="start")
    hints = []
    for uid in (0, 1000):
        monkeypatch.setattr(os, "getuid", lambda uid=uid: uid)
        with pytest.raises(ServiceError) as caught:
            SystemdService().start()
        hints.append(caught.value.fix)
    assert ["--user-unit litellm" in hints[0], "--user -u litellm" in hints[1]] == [True, True]


def test_a_manager_that_does_not_reload_is_an_error(machine: Machine) -> None:
    machine.unit_is(**RUNNING, failing="daemon-reload")
    with pytest.raises(ServiceError, match="reload"):
        SystemdService().reset()


def test_a_failure_to_reset_is_no_failure(machine: Machine) -> None:
    machine.unit_is(**RUNNING, failing="reset-failed")
    SystemdService().reset()


def test_a_manager_that_gives_no_answer_is_an_error(machine: Machine) -> None:
    machine.unit_is(failing="show")
    with pytest.raises(ServiceError, match="gives no answer"):
        SystemdService().status()


def test_no_systemctl_is_explained(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine.folder))
    assert SystemdService.available() == "systemctl is not installed"
    with pytest.raises(ServiceError) as caught:
        SystemdService().status()
    assert "supervisor" in caught.value.fix
    assert SystemdService().log_lines(5) == []
    assert SystemdService().lingering() is None


def test_a_systemctl_that_cannot_be_run_is_explained(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = machine.folder / "systemctl"
    program.write_bytes(b"\x7fELF broken")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(machine.folder))
    assert SystemdService.available() == "systemctl cannot be run (OSError)"


@pytest.mark.parametrize("word", ["running", "degraded", "starting"])
def test_a_manager_that_runs_can_be_used_even_if_units_failed(machine: Machine, word: str) -> None:
    machine.install("systemctl", f"echo {word}; exit 1")
    assert SystemdService.available() is None


@pytest.mark.parametrize("word", ["offline", "", "unknown"])
def test_no_manager_is_explained(machine: Machine, word: str) -> None:
    machine.install("systemctl", f"echo {word}; echo {LEAK} >&2; exit 1")
    reason = SystemdService.available()
    assert reason is not None
    assert "no systemd manager" in reason
    assert LEAK not in reason


def test_systemctl_gets_no_secret_of_ours(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", LEAK)
    machine.install("systemctl", f"env > {machine.folder}/environment; echo running")
    SystemdService.available()
    assert LEAK not in (machine.folder / "environment").read_text()


@pytest.mark.parametrize(("word", "answer"), [("yes", True), ("no", False), ("", None)])
def test_lingering_is_known_or_not(machine: Machine, word: str, answer: bool | None) -> None:
    machine.install("loginctl", f"echo {word}")
    assert SystemdService().lingering() is answer


def test_who_has_no_session_and_is_not_known_to_logind_does_not_linger(machine: Machine) -> None:
    said = "Failed to get user: User ID 0 is not logged in or lingering"
    machine.install("loginctl", f"echo '{said}' >&2; exit 1")
    assert SystemdService().lingering() is False


@pytest.mark.parametrize(("uid", "option"), [(0, "--user-unit"), (1000, "--user -u")])
def test_the_log_is_asked_for_where_it_is(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, uid: int, option: str
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    machine.install("journalctl", "printf 'one\\ntwo\\n'")
    assert SystemdService().log_lines(2) == ["one", "two"]
    assert f"{option} litellm.service" in machine.calls()[0]
    assert "--lines=2" in machine.calls()[0]


def verbs(machine: Machine) -> list[str]:
    seen = ("show", "reset-failed", "daemon-reload")
    return [call for call in machine.calls() if not call.startswith(seen)]


def test_a_swap_lets_the_spare_serve_while_the_unit_restarts(machine: Machine) -> None:
    machine.unit_is(**RUNNING, spare=RUNNING)
    SystemdService().swap()
    assert verbs(machine) == [
        "stop litellm-spare.service",  # of a run that was killed
        "start litellm-spare.service",
        "restart litellm.service",
        "stop litellm-spare.service",
    ]


def test_a_spare_that_does_not_come_up_leaves_the_unit_alone(machine: Machine) -> None:
    failed = FAILED | {"Result": "exit-code", "ExecMainStatus": 3}
    machine.unit_is(**RUNNING, spare=failed, failing="start litellm-spare.service")
    with pytest.raises(KeptError) as caught:
        SystemdService().swap()
    assert "ended with status 3" in caught.value.why
    assert "litellm-spare.service" in caught.value.fix
    assert verbs(machine)[-1] == "stop litellm-spare.service"
    assert "restart litellm.service" not in verbs(machine)


def test_a_unit_that_does_not_come_up_is_left_to_the_spare(machine: Machine) -> None:
    failed = FAILED | {"Result": "exit-code", "ExecMainStatus": 3}
    machine.unit_is(**failed, failing="restart litellm.service")
    with pytest.raises(NotReadyError) as caught:
        SystemdService().swap()
    assert not isinstance(caught.value, KeptError)
    assert "litellm-spare.service serves in its place" in caught.value.why
    assert verbs(machine)[-1] == "restart litellm.service"


def test_who_waits_for_the_spare_is_told_before_the_unit_ends(machine: Machine) -> None:
    machine.unit_is(**RUNNING)
    told: list[str] = []
    SystemdService().swap(lambda: told.extend(verbs(machine)))
    assert told[-1] == "start litellm-spare.service"
    assert "restart litellm.service" in verbs(machine)


def test_what_fails_in_that_moment_leaves_the_unit_alone(machine: Machine) -> None:
    machine.unit_is(**RUNNING)

    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        SystemdService().swap(fail)
    assert verbs(machine)[-1] == "--no-block stop litellm-spare.service"
    assert "restart litellm.service" not in verbs(machine)


def test_an_interrupted_swap_ends_the_spare(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.unit_is(**RUNNING)
    service, change = SystemdService(), SystemdService._change

    def interrupted(self: SystemdService, verb: str, unit: str = "") -> None:
        if unit.endswith("-spare.service"):
            raise KeyboardInterrupt
        change(self, verb, unit)

    monkeypatch.setattr(SystemdService, "_change", interrupted)
    with pytest.raises(KeyboardInterrupt):
        service.swap()
    assert verbs(machine) == ["--no-block stop litellm-spare.service"]


@pytest.mark.parametrize("active", ["active", "inactive"])
def test_what_the_socket_unit_holds_open_is_known(machine: Machine, active: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        held = {"ActiveState": active, "Listen": f"{address} (Stream)"}
        machine.unit_is(**RUNNING, socket=held)
        assert SystemdService().listening() == (address if active == "active" else None)


def test_an_address_that_is_only_written_in_the_unit_is_not_held(machine: Machine) -> None:
    machine.unit_is(**RUNNING, socket={"ActiveState": "active", "Listen": "127.0.0.1:9 (Stream)"})
    assert SystemdService().listening() is None


def test_a_lab_that_wants_no_socket_closes_an_earlier_one(machine: Machine) -> None:
    machine.unit_is(**RUNNING)
    SystemdService(socket=False).start()
    assert verbs(machine)[0] == "disable --now litellm.socket"


def test_stopping_closes_the_port_first(machine: Machine) -> None:
    machine.unit_is(**RUNNING, socket=RUNNING, spare=RUNNING)
    SystemdService().stop()
    assert verbs(machine) == [
        "stop litellm.socket", "stop litellm.service", "stop litellm-spare.service",
    ]  # fmt: skip


def test_a_port_that_systemd_cannot_open_is_explained(machine: Machine) -> None:
    failed = {"ActiveState": "failed", "Result": "resources"}
    machine.unit_is(ActiveState="inactive", socket=failed, failing="start litellm.service")
    with pytest.raises(NotReadyError) as caught:
        SystemdService().start()
    assert "litellm.socket cannot open the port" in caught.value.why


def test_the_spares_log_is_asked_for(machine: Machine) -> None:
    machine.install("journalctl", "echo one")
    assert SystemdService().log_lines(2, fresh=True) == ["one"]
    assert "litellm-spare.service" in machine.calls()[0]


def test_short_memory_hinders_a_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: memory.FOR_SECOND)
    assert SystemdService().swap_hindrance() is None
    monkeypatch.setattr(memory, "available", lambda: memory.FOR_SECOND - 1)
    assert "699 MiB" in str(SystemdService().swap_hindrance())


def test_what_systemd_hands_to_every_program_is_told(machine: Machine) -> None:
    machine.install("systemctl", "printf 'A=b=c\\nQUOTED=$'; printf \"'x'\\nNONE=\\n\"")
    assert {n: v.reveal() for n, v in session_environment().items()} == {"A": "b=c"}
    machine.install("systemctl", "exit 1")
    assert session_environment() == {}


def test_the_properties_of_a_unit_are_told_as_systemd_has_them(machine: Machine) -> None:
    machine.unit_is(**RUNNING, DropInPaths="/a.conf", NeedDaemonReload="no")
    found = SystemdService().properties()
    assert (found["LoadState"], found["DropInPaths"]) == ("loaded", "/a.conf")
