"""`keyturn exec` with a secret from the desktop's keyring: open, locked, silent."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.exec_runs import KEYTURN, environment, is_gone, run_exec, start_exec
from support.leaks import watch_argv
from support.sessions import SecretService, State
from support.sops_lab import fake_sops
from support.waiting import until

pytestmark = pytest.mark.integration

NAME = "LITELLM_MASTER_KEY"
KEY = "sk-test-exec-keyring-0123456789ab"
Start = Callable[..., SecretService]


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    text = f'version = 1\n[secrets.{NAME}]\nsources = ["keyring:keyturn#{NAME}"]\n'
    (folder / "lab.toml").write_text(text)
    return folder


def test_the_program_gets_it_and_nobody_else_does(secret_service: Start, lab: Path) -> None:
    secret_service(items={("keyturn", NAME): KEY})
    assert run_exec("--", "sh", "-c", f"printf %s ${NAME}", cwd=lab).out == KEY
    traced = watch_argv([KEYTURN, "exec", "--", "sh", "-c", f'test -n "${NAME}"'], cwd=lab)
    assert traced.status == 0, traced.stderr
    assert traced.find(KEY) == []


@pytest.mark.parametrize(("state", "why"), [("locked", "is locked"), ("no-bus", "no D-Bus")])
def test_a_keyring_that_is_closed_starts_no_program(
    secret_service: Start, lab: Path, state: State, why: str
) -> None:
    secret_service(state=state, items={("keyturn", NAME): KEY} if state == "locked" else None)
    ran = run_exec("--", "echo", "started", cwd=lab)
    assert (ran.status, ran.out) == (125, "")
    what, cause, fix = ran.err.splitlines()
    assert what == f"error: no source holds {NAME}"
    assert why in cause
    assert fix.startswith("fix: ")


def test_a_signal_while_the_keyring_is_asked_ends_it_and_the_asking(
    lab: Path, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    body = f"echo $$ >{note}.new; mv {note}.new {note}; exec sleep 300"
    fake_sops(tmp_path / "secret-tool", body)
    path = f"{tmp_path}:{os.environ['PATH']}"
    env = environment(PATH=path, DBUS_SESSION_BUS_ADDRESS="unix:path=/none")
    with start_exec(["--", "echo", "started"], cwd=lab, env=env) as process:
        until(note.exists)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (128 + signal.SIGTERM, "", "")
    until(lambda: is_gone(int(note.read_text())))
