"""The real `systemd --user`, as root and as a user without privileges."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bootstrap.domain.lab import Gateway
from bootstrap.domain.service_env import unset_for
from support import forked
from support.forked import CopiesInSession
from support.homes import REPOSITORY
from support.service_files import UNIT_TEMPLATE, service_text, write_env_file
from support.sessions import TOOLS, UserSystemd
from support.waiting import until

# On one worker, and so on one machine.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("systemd units")]

UNIT = "litellm.service"
KEY = "sk-test-in-a-unit-0123456789"
NEXT_KEY = "sk-test-in-a-unit-9876543210"
PYTHON = "/usr/bin/python3"  # a user made for the session cannot reach a private one

# Runs inside the session: one call of the adapter, its result or its error as JSON.
CALL = """
import dataclasses, json, sys
from bootstrap.adapters.systemd import SystemdService
from bootstrap.domain.errors import LabError
try:
    found = getattr(SystemdService(), sys.argv[1])(*map(int, sys.argv[2:]))
except LabError as error:
    print(json.dumps({"what": error.what, "why": error.why, "fix": error.fix}))
else:
    print(json.dumps(dataclasses.asdict(found) if dataclasses.is_dataclass(found) else found))
"""


class Host:
    """A machine with a unit, and the adapter called on it."""

    def __init__(self, session: UserSystemd, *, private_python: bool) -> None:
        self.session = session
        self.port = 0
        self.folder = session.home
        self.units = session.home / ".config" / "systemd" / "user"
        self.env_file = session.home / "lab secrets" / "100% [a]*.env"
        self._copies = None if private_python else CopiesInSession(session)
        if private_python:
            shutil.copytree(REPOSITORY / "bootstrap", self.folder / "lib" / "bootstrap")
        shutil.copy(TOOLS / "mini-gateway", self.folder / "mini-gateway")

    def begin(self, port: int) -> None:
        """Have an env file, and a port for a gateway."""
        self.port = port
        self.write_env(LITELLM_MASTER_KEY=KEY)

    def clean(self) -> None:
        """Leave nothing of a test behind but its journal."""
        self.session.systemctl("stop", UNIT)
        shutil.rmtree(self.units, ignore_errors=True)
        self.session.systemctl("daemon-reload", check=True)
        self.session.systemctl("reset-failed", check=True)

    def call(self, verb: str, *args: int, env: dict[str, str] | None = None) -> Any:
        """Return what the adapter returned, or its error's what, why and fix."""
        words = (verb, *map(str, args))
        if self._copies is not None:
            ran = forked.run(self._copies, words, cwd=self.folder, env=env or {}, code=CALL)
            assert ran[0] == 0, ran
            return json.loads(ran[1])
        variables = {"PYTHONPATH": str(self.folder / "lib"), **(env or {})}
        result = self.session.check(PYTHON, "-c", CALL, *words, env=variables)
        return json.loads(result.stdout)

    def write_env(self, **values: str) -> None:
        write_env_file(self.env_file, **values)
        self.hand_over()

    def write_unit(self, *argv: str, **options: Any) -> None:
        words = argv or (
            PYTHON, str(self.folder / "mini-gateway"), "--port", str(self.port),
        )  # fmt: skip
        self.units.mkdir(parents=True, exist_ok=True)
        options.setdefault("used", ("LITELLM_MASTER_KEY",))
        text = service_text(UNIT_TEMPLATE, words, self.env_file, **options)
        (self.units / UNIT).write_text(text)
        self.hand_over()

    def hand_over(self) -> None:
        """Give every file to the session's user."""
        owner = self.folder.stat()
        if owner.st_uid == os.getuid():
            return
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, owner.st_uid, owner.st_gid)

    def status_of(self, key: str) -> str:
        """Return the gateway's HTTP status to `key`, 000 where nothing answers."""
        url = f"http://127.0.0.1:{self.port}/v1/models"
        script = (
            "import sys, urllib.request as r, urllib.error as e\n"
            "q = r.Request(sys.argv[1], headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
            "try: print(r.urlopen(q, timeout=10).status)\n"
            "except e.HTTPError as x: print(x.code)\n"
            "except OSError: print('000')"
        )
        return self.session.check(PYTHON, "-c", script, url, key).stdout.strip()

    def environment(self) -> dict[str, str]:
        """Return the environment of the unit's process."""
        pid = self.session.show(UNIT, "MainPID")
        text = self.session.check("cat", f"/proc/{pid}/environ").stdout
        return dict(entry.split("=", 1) for entry in text.split("\0") if entry)


@pytest.fixture(scope="module", params=["root", pytest.param("lab:2001", marks=pytest.mark.slow)])
def machine(request: pytest.FixtureRequest) -> Iterator[Host]:
    """One for all tests, since its start takes longer than most of them."""
    # Another user may enter it: a second pytest closes the parent of tmp_path again.
    with tempfile.TemporaryDirectory(prefix="keyturn-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        user = None if request.param == "root" else request.param
        with UserSystemd(Path(name) / "home", user=user) as session:
            yield Host(session, private_python=user is not None)


@pytest.fixture
def host(machine: Host, free_port: int) -> Iterator[Host]:
    machine.begin(free_port)
    yield machine
    machine.clean()


def test_the_unit_file_has_no_complaint_from_systemd(host: Host) -> None:
    host.write_unit()
    verified = host.session.run("systemd-analyze", "--user", "verify", host.units / UNIT)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    assert (host.units / UNIT).read_text().startswith("# Written by `keyturn apply`")


def test_a_started_unit_serves_and_comes_back_after_a_reboot(host: Host) -> None:
    host.write_unit()
    assert host.call("available") is None
    assert host.call("status")["detail"] == "inactive"
    assert host.call("start") is None
    until(lambda: host.status_of(KEY) == "200")
    status = host.call("status")
    assert status["running"]
    assert str(status["pid"]) == host.session.show(UNIT, "MainPID")
    assert host.session.show(UNIT, "UnitFileState") == "enabled"
    assert host.call("lingering") is None


def test_values_arrive_as_they_are(host: Host) -> None:
    odd = 'two words "quoted" $HOME ${HOME} 100% #no comment é'
    host.write_env(LITELLM_MASTER_KEY=KEY, ODD_SECRET=odd)
    host.write_unit(environment={"ODD_SETTING": odd + " '", "PLAIN": "1"})
    host.call("start")
    environment = host.environment()
    assert environment["ODD_SECRET"] == odd
    assert environment["ODD_SETTING"] == odd + " '"
    assert environment["PLAIN"] == "1"


def test_arguments_arrive_as_they_are(host: Host) -> None:
    words = [
        "two words",
        'say "hi"',
        "it's",
        "$HOME",
        "${HOME}",
        "100%h",
        "a\\b",
        "é",
        ";",
        "",
        "-",
    ]
    host.write_unit(PYTHON, "-c", "import time; time.sleep(3600)", *words)
    assert host.call("start") is None
    pid = host.session.show(UNIT, "MainPID")
    text = host.session.check("cat", f"/proc/{pid}/cmdline").stdout
    assert text.split("\0")[3:-1] == words


def test_a_program_with_odd_characters_in_its_path_is_found(host: Host) -> None:
    folder = host.folder / "od$d %h ${x} é"
    folder.mkdir(exist_ok=True)
    program = folder / "program"
    program.write_text("#!/bin/sh\nexec sleep 3600\n")
    program.chmod(0o755)
    host.write_unit(str(program))
    assert host.call("start") is None
    assert host.call("status")["running"]


def test_no_variable_of_the_login_session_redirects_the_gateway(host: Host) -> None:
    unset = unset_for(("LITELLM_MASTER_KEY",))
    host.session.systemctl("set-environment", *(f"{n}=/inherited" for n in unset), check=True)
    host.session.systemctl("set-environment", "HARMLESS=/inherited", check=True)
    host.write_unit()
    host.call("start")
    environment = host.environment()
    host.session.systemctl("unset-environment", "HARMLESS", *unset, check=True)
    assert environment["LITELLM_MASTER_KEY"] == KEY
    assert [n for n, value in environment.items() if value == "/inherited"] == ["HARMLESS"]


@pytest.mark.faults
def test_a_rotation_needs_only_a_restart_however_many_there_are(host: Host) -> None:
    host.write_unit()
    host.call("start")
    pids = {host.call("status")["pid"]}
    for _ in range(10):
        assert host.call("restart") is None
        pids.add(host.call("status")["pid"])
    assert len(pids) == 11
    host.write_env(LITELLM_MASTER_KEY=NEXT_KEY)
    host.call("restart")
    until(lambda: host.status_of(NEXT_KEY) == "200")
    assert host.status_of(KEY) == "400"


@pytest.mark.faults
def test_a_killed_gateway_comes_back(host: Host) -> None:
    host.write_unit()
    host.call("start")
    first = host.call("status")["pid"]
    host.session.check("kill", "-9", first)
    until(lambda: host.call("status")["running"] and host.call("status")["pid"] != first)
    until(lambda: host.status_of(KEY) == "200")


def test_a_changed_unit_file_counts_from_the_next_restart(host: Host) -> None:
    host.write_unit()
    host.call("start")
    host.write_unit(environment={"CHANGED": "yes"})
    host.call("restart")
    assert host.environment()["CHANGED"] == "yes"


def test_a_masked_unit_says_how_to_unmask_it(host: Host) -> None:
    host.session.systemctl("mask", UNIT, check=True)
    for verb in ("start", "restart"):
        assert host.call(verb)["fix"] == f"systemctl --user unmask {UNIT}"
    assert "masked" in host.call("status")["detail"]
    assert host.call("properties")["LoadState"] == "masked"


def test_a_unit_that_was_never_written_says_so(host: Host) -> None:
    assert host.call("status")["installed"] is False
    assert "keyturn apply" in host.call("start")["fix"]
    assert host.call("stop") is None
    assert host.call("reset") is None


def test_a_bad_setting_is_explained(host: Host) -> None:
    host.units.mkdir(parents=True)
    (host.units / UNIT).write_text("[Service]\nType=exec\nRestart=always\n")
    host.hand_over()
    assert "does not take" in host.call("start")["why"]
    assert host.call("status")["installed"] is True


def test_a_missing_program_and_a_missing_env_file_are_told_apart(host: Host) -> None:
    host.write_unit("/nonexistent/litellm")
    assert "missing or cannot be run" in host.call("start")["why"]
    host.env_file.unlink()
    host.write_unit()
    assert "environment file" in host.call("restart")["why"]
    assert not host.call("status")["running"]


def test_a_program_that_fails_is_started_again_and_its_status_and_log_are_shown(
    host: Host,
) -> None:
    host.write_unit("/bin/sh", "-c", "echo the reason; sleep 0.3; exit 3")
    host.call("start")
    detail = until(lambda: (d := host.call("status")["detail"]) and "status 3" in d and d)
    assert "systemd tries again" in str(detail)
    until(lambda: "the reason" in host.call("log_lines", 50))
    host.call("stop")
    assert host.call("status")["running"] is False


def test_the_manager_is_found_without_a_runtime_folder_in_the_environment(host: Host) -> None:
    for folder in ("", "/nonexistent"):
        lost = {"XDG_RUNTIME_DIR": folder, "DBUS_SESSION_BUS_ADDRESS": ""}
        assert host.call("available", env=lost) is None


def test_the_sandbox_is_in_force(host: Host) -> None:
    host.write_unit()
    host.call("start")
    pid = host.session.show(UNIT, "MainPID")
    status = host.session.check("cat", f"/proc/{pid}/status").stdout
    limits = host.session.check("cat", f"/proc/{pid}/limits").stdout
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert "Umask:\t0077" in status
    assert "Max core file size 0 0 bytes" in " ".join(limits.split())


# Each tries one thing that the sandbox forbids, and prints the kernel's answer.
ATTEMPTS = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, call):
    try:
        failed = call() == -1
        said = os.strerror(ctypes.get_errno()) if failed else "allowed"
    except OSError as error:
        said = error.strerror
    print(f"{name}: {said}", flush=True)
open(os.path.join(sys.argv[1], "file"), "w").close()
attempt("namespace", lambda: libc.unshare(0x10000000))
attempt("personality", lambda: libc.personality(0x0004000))
attempt("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
attempt("setuid bit", lambda: os.chmod(os.path.join(sys.argv[1], "file"), 0o4755))
attempt("raw network", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
print("done", flush=True)
input()
"""


def test_what_the_sandbox_forbids_is_refused(host: Host) -> None:
    host.write_unit(PYTHON, "-c", ATTEMPTS, str(host.folder))
    host.call("start")
    until(lambda: "done" in host.call("log_lines", 50))
    lines = host.call("log_lines", 50)
    said = dict(line.split(": ", 1) for line in lines if ": " in line)
    names = ("namespace", "personality", "realtime", "setuid bit", "raw network")
    assert {said[name] for name in names} <= {
        "Operation not permitted", "Address family not supported by protocol",
    }  # fmt: skip


def test_no_secret_is_where_others_can_see_it(host: Host, leaks: ModuleType) -> None:
    host.write_unit()
    host.call("start")
    until(lambda: host.status_of(KEY) == "200")
    host.call("restart")
    pid = host.session.show(UNIT, "MainPID")
    texts = {
        "systemctl show": host.session.systemctl("show", UNIT).stdout,
        "systemctl cat": host.session.systemctl("cat", UNIT).stdout,
        "cmdline": host.session.check("cat", f"/proc/{pid}/cmdline").stdout,
        "journal": host.session.journal(UNIT),
    }
    assert leaks.find(KEY, [host.units], texts=texts) == []


def test_outside_of_a_session_there_is_no_manager(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CALL, "available"]
    lost = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}
    result = subprocess.run(
        command, cwd=REPOSITORY, env=lost, capture_output=True, text=True, check=True
    )
    assert "no systemd manager" in json.loads(result.stdout)


def test_an_ipv6_gateway_with_a_zone_does_not_break_the_description(host: Host) -> None:
    host.write_unit(gateway=Gateway(host="fe80::1%eth0"))
    host.call("start")
    assert host.session.show(UNIT, "Description").endswith("[fe80::1%eth0]:4000")
