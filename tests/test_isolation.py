"""No test can reach the developer's keys, lab or network, and the real daemons are real."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import homes
from support.home_pool import HomePool
from support.sessions import SecretService, SessionFailed, UserSystemd


def test_the_home_is_empty_and_private(home: Path) -> None:
    assert Path.home() == home
    assert list(home.iterdir()) == []
    assert home.stat().st_mode & 0o777 == 0o700
    assert [name for name in os.environ if name.startswith("XDG_")] == ["XDG_RUNTIME_DIR"]


def test_a_home_is_given_to_another_test_only_as_it_was_made(tmp_path: Path) -> None:
    pool = HomePool(tmp_path)
    first = pool.take()
    pool.give_back(first)
    assert pool.take() == first
    assert pool.take() != first
    changes: list[Callable[[Path], object]] = [
        lambda base: (base / "home" / ".config").mkdir(),
        lambda base: (base / "run" / "bus").touch(),
        lambda base: (base / "more").touch(),
        lambda base: (base / "home").chmod(0o755),
        lambda base: (base / "run").rmdir(),
    ]
    for change in changes:
        base = pool.take()
        change(base)
        pool.give_back(base)
        assert not base.exists()
        assert sorted(path.name for path in pool.take().iterdir()) == ["home", "run"]


def test_another_machine_cannot_be_reached_or_looked_up() -> None:
    with socket.socket() as sock:
        with pytest.raises(AssertionError, match=r"must not connect to 192\.0\.2\.1"):
            sock.connect(("192.0.2.1", 80))
        with pytest.raises(AssertionError, match="must not connect"):
            sock.connect_ex(("192.0.2.1", 80))
    with pytest.raises(AssertionError, match=r"must not look up example\.com"):
        socket.create_connection(("example.com", 80))
    with pytest.raises(socket.gaierror):
        socket.create_connection(("gateway.invalid", 80))


def test_this_machine_can_be_reached(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        socket.create_connection(("localhost", free_port)).close()
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", free_port)) != 0


def test_variables_of_the_developer_are_not_passed_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-TEST")
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    monkeypatch.setenv("HARMLESS", "1")
    passed = homes.environment(home, LITELLM_MASTER_KEY="sk-test-1")
    assert passed["HOME"] == str(home)
    assert passed["HARMLESS"] == "1"
    assert passed["LITELLM_MASTER_KEY"] == "sk-test-1"
    assert not {"SOPS_AGE_KEY", "https_proxy"} & passed.keys()


def test_an_age_identity_stands_where_sops_looks(
    home: Path, age_identity: homes.AgeIdentity
) -> None:
    assert age_identity.path == home / ".config/sops/age/keys.txt"
    assert age_identity.recipient.startswith("age1")
    assert homes.readable_by_others(home) == []


def test_a_snapshot_shows_a_changed_mode_and_a_changed_content(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    file.chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    first = homes.snapshot(tmp_path)
    file.write_text("two")
    second = homes.snapshot(tmp_path)
    file.chmod(0o644)
    assert len({str(first), str(second), str(homes.snapshot(tmp_path))}) == 3
    assert homes.readable_by_others(tmp_path) == ["file"]


@pytest.mark.integration
class TestRealDaemons:
    def test_a_private_systemd_runs_a_unit_and_keeps_its_journal(
        self, user_systemd: Callable[..., UserSystemd]
    ) -> None:
        session = user_systemd()
        session.check("systemd-run", "--user", "--wait", "--unit=hello", "echo", "hello, journal")
        assert session.show("hello.service", "Id") == "hello.service"
        assert session.systemctl("is-active", "no-such.service").returncode != 0
        assert "hello, journal" in session.journal("hello.service")
        assert session.runtime_dir.parts[:3] == ("/", "run", "user")

    def test_a_private_systemd_runs_as_another_user(
        self, user_systemd: Callable[..., UserSystemd]
    ) -> None:
        assert user_systemd(user="lab:2001").check("id", "-un").stdout == "lab\n"

    def test_a_session_that_cannot_start_is_a_failure(
        self, user_systemd: Callable[..., UserSystemd]
    ) -> None:
        with pytest.raises(SessionFailed, match="no such user"):
            user_systemd(user="no-such-user")

    def test_a_command_that_fails_or_hangs_says_so(
        self, user_systemd: Callable[..., UserSystemd]
    ) -> None:
        session = user_systemd(journal=False)
        with pytest.raises(AssertionError, match="false -> 1"):
            session.check("false")
        with pytest.raises(subprocess.TimeoutExpired):
            session.run("sleep", "30", timeout=0.2)
        assert session.run("no-such-program").returncode == 127
        session.stop()
        session.stop()

    @pytest.mark.parametrize("state", ["unlocked", "locked", "empty", "none", "no-bus"])
    def test_a_secret_service_is_in_the_state_asked_for(
        self, secret_service: Callable[..., SecretService], state: str
    ) -> None:
        items = {("keyturn", "KEY"): "sk-test-1"} if state in ("unlocked", "locked") else {}
        service = secret_service(state=state, items=items)
        code = "import keyring; print(keyring.get_password('keyturn', 'KEY'))"
        backend = {"PYTHON_KEYRING_BACKEND": "keyring.backends.SecretService.Keyring"}
        asked = service.run(sys.executable, "-c", code, env=backend)
        expected = {
            "unlocked": "sk-test-1",
            "locked": "KeyringLocked",
            "empty": "InitError",
            "none": "neither running nor activatable",
            "no-bus": "DBUS_SESSION_BUS_ADDRESS is unset",
        }
        assert expected[state] in asked.stdout + asked.stderr

    def test_this_process_finds_the_secret_service_too(
        self, secret_service: Callable[..., SecretService]
    ) -> None:
        secret_service(items={("keyturn", "KEY"): "sk-test-2"})
        looked_up = subprocess.run(
            ["secret-tool", "lookup", "service", "keyturn", "username", "KEY"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert looked_up.stdout == "sk-test-2"
