"""The same one command within a real `systemd --user` session, as a user who is not root."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from support import leaks
from support.acceptance import (
    ECHO_SAYS,
    WRONG_KEY,
    clone,
    install_litellm_for_anybody,
    installer_environment,
    refuses,
)
from support.homes import pick_free_port, snapshot
from support.sessions import UserSystemd
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

UNIT = "litellm.service"
USER, UID = "lab", 2001
START_S = 120.0


class LabUser:
    """A user of the machine with a session of their own, a clone, and bootstrap done in it.

    The clone is set up by pip, since uv is not on their PATH.
    """

    def __init__(self, base: Path) -> None:
        self.home, self.clone = base / "home", base / "keyturn"
        self.port = pick_free_port()
        self.gateway = HttpGateway(f"http://127.0.0.1:{self.port}")
        self.said: list[str] = []
        litellm = self.home / ".config" / "litellm"
        install_litellm_for_anybody(litellm / "venv")
        clone(self.clone)
        own = [self.home, self.home / ".config", litellm, self.clone]
        for path in [*own, *self.clone.rglob("*")]:
            os.chown(path, UID, UID, follow_symlinks=False)
        self.session = UserSystemd(self.home, user=f"{USER}:{UID}", cwd=self.clone)

    def run(self, *argv: object, note: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the session with little set; it must succeed."""
        inner = self.session.inner
        variables = installer_environment() | {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": inner["HOME"],
            "XDG_RUNTIME_DIR": inner["XDG_RUNTIME_DIR"],
            "DBUS_SESSION_BUS_ADDRESS": inner["DBUS_SESSION_BUS_ADDRESS"],
        }
        pairs = [f"{name}={value}" for name, value in variables.items()]
        done = self.session.check("env", "-i", *pairs, *argv, timeout=300)
        if note:
            self.said += [done.stdout, done.stderr]
        return done

    def script(self, name: str, *args: object) -> str:
        """Run one of the clone's scripts and return what it printed."""
        return self.run(self.clone / "scripts" / name, *args).stdout

    def key(self) -> Secret:
        """Return the master key as `keyturn get` gives it."""
        program = self.clone / ".venv" / "bin" / "keyturn"
        return Secret(self.run(program, "get", "LITELLM_MASTER_KEY", note=False).stdout.strip())


@pytest.fixture(scope="module")
def user() -> Iterator[LabUser]:
    # Not below pytest's folder: each start of a pytest closes that for other users.
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        lab_user = LabUser(Path(base))
        try:
            lab_user.session.start()
            lab_user.script("bootstrap.sh", "--port", lab_user.port)
            yield lab_user
        finally:
            lab_user.session.stop()


def proves(user: LabUser) -> bool:
    """Tell whether the gateway refuses no key and a wrong one, and accepts the lab's."""
    accepted = verdict(user.gateway.models(user.key()), with_key=True) is Verdict.ACCEPTED
    return accepted and refuses(user.gateway, None) and refuses(user.gateway, WRONG_KEY)


def test_bootstrap_uses_the_unit(user: LabUser) -> None:
    assert f"{UNIT} (systemd)" in user.said[0]
    assert user.session.show(UNIT, "ActiveState") == "active"
    unit = user.home / ".config" / "systemd" / "user" / UNIT
    assert user.session.show(UNIT, "FragmentPath") == str(unit)
    assert user.session.systemctl("is-enabled", UNIT).stdout.strip() == "enabled"
    assert proves(user)


def test_a_second_run_changes_nothing(user: LabUser) -> None:
    files, pid = snapshot(user.home / ".config" / "systemd"), user.session.show(UNIT, "MainPID")
    assert "Nothing to change" in user.script("bootstrap.sh")
    assert snapshot(user.home / ".config" / "systemd") == files
    assert user.session.show(UNIT, "MainPID") == pid


def test_a_restart_by_systemctl_keeps_working(user: LabUser) -> None:
    pid = user.session.show(UNIT, "MainPID")
    user.run("systemctl", "--user", "restart", UNIT)
    until(lambda: user.gateway.alive().status == 200, "the gateway", START_S)
    assert user.session.show(UNIT, "MainPID") != pid
    assert proves(user)
    said = user.script("healthcheck.sh", "--deep")
    assert "completion from lab-echo: answered" in said
    assert user.gateway.complete(user.key(), "lab-echo").text == ECHO_SAYS


def test_nothing_that_systemd_shows_holds_the_key(user: LabUser) -> None:
    journal = user.session.journal(UNIT)
    assert journal.strip()
    texts = {
        "journal of the unit": journal,
        "journal": user.run("journalctl", "-q", "--no-pager", "-o", "json").stdout,
        "show": user.session.systemctl("show", UNIT, check=True).stdout,
        "cat": user.session.systemctl("cat", UNIT, check=True).stdout,
        "status": user.session.systemctl("status", "--lines", "100", UNIT).stdout,
        "show-environment": user.session.systemctl("show-environment", check=True).stdout,
        "arguments": user.run("ps", "axww", "-o", "args").stdout,
        "outputs": "\n".join(user.said),
    }
    assert leaks.find(user.key().reveal(), texts=texts) == []


def test_all_that_was_made_is_the_users_own(user: LabUser) -> None:
    made = [user.home / ".factory", user.home / ".config" / "lab-secrets", user.clone / "lab.toml"]
    for path in made:
        assert path.stat().st_uid == UID
        assert path.is_file() or path.stat().st_mode & 0o777 == 0o700
