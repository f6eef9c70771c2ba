"""Rotations where the key lives in a real keyring, and where systemd --user runs the gateway."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrap.adapters.entropy import new_key
from support import labs
from support.sessions import SecretService, UserSystemd
from support.sops_lab import REAL_SOPS
from support.unit_labs import UnitLab
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

MASTER = "LITELLM_MASTER_KEY"
LOGIN = "/org/freedesktop/secrets/collection/login"
KEYRING, SOPS = f"keyring:keyturn#{MASTER}", f"sops:{labs.STORE}#{MASTER}"


class TestKeyring:
    """The key in a real Secret Service, with or without a copy in the encrypted file."""

    @pytest.fixture
    def start(
        self, secret_service: Callable[..., SecretService], tmp_path: Path
    ) -> Callable[[], SecretService]:
        """Start a Secret Service over the same files each time, unlocked."""
        return lambda: secret_service(data=tmp_path / "keyring")

    @pytest.fixture
    def lab(
        self, start: Callable[[], SecretService], tmp_path: Path, home: Path
    ) -> Iterator[labs.CliLab]:
        self.service = start()
        made = labs.make(tmp_path, home, write=False)
        self.first = new_key().reveal()
        self.store(self.first)
        made.write(more=f'[secrets.{MASTER}]\nsources = ["{KEYRING}"]\n')
        made.ok("bootstrap", str(made.root))
        with labs.stopped_after(made) as lab:
            yield lab

    def store(self, value: str) -> None:
        subprocess.run(
            ["secret-tool", "store", "--label", "test", "application", "Python keyring library",
             "service", "keyturn", "username", MASTER],
            input=value.encode(),
            check=True,
        )  # fmt: skip

    def held(self, suffix: str = "") -> str:
        words = ("secret-tool", "lookup", "service", "keyturn", "username", MASTER + suffix)
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout

    def lock(self) -> None:
        subprocess.run(
            ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.secrets",
             "/org/freedesktop/secrets", "org.freedesktop.Secret.Service.Lock",
             f"array:objpath:{LOGIN}"],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def test_a_rotation_leaves_one_entry_with_the_new_key(self, lab: labs.CliLab) -> None:
        assert lab.accepts(self.first)
        lab.ok("rotate")
        new = self.held()
        assert new not in ("", self.first)
        assert lab.accepts(new)
        assert not lab.accepts(self.first)
        assert self.held("_KEYTURN_ROTATION") == self.held("_KEYTURN_PREVIOUS") == ""
        assert lab.call("plan", "--exit-code").code == 0

    @pytest.mark.faults
    def test_a_keyring_that_is_locked_in_the_middle_recovers_once_it_is_open(
        self, lab: labs.CliLab, start: Callable[[], SecretService]
    ) -> None:
        rotation = subprocess.Popen(
            [*labs.MODULE, "rotate"],
            cwd=lab.root,
            env=lab.environment(**self.service.environment),
            stderr=subprocess.PIPE,
            text=True,
        )
        journal = lab.state / "rotation.journal"
        until(lambda: journal.exists() and "created" in journal.read_text(), "the pending key")
        rotation.send_signal(signal.SIGSTOP)
        self.lock()
        rotation.send_signal(signal.SIGCONT)
        _, said = rotation.communicate(timeout=60)
        assert rotation.returncode == 6, said
        assert "locked" in said
        self.service.stop()
        start()
        lab.ok("recover", "-q")
        assert self.held() == self.first
        assert lab.accepts(self.first)
        assert lab.call("plan", "--exit-code").code == 0

    def test_a_copy_in_the_keyring_follows_the_encrypted_file(self, lab: labs.CliLab) -> None:
        lab.write(more=f'[secrets.{MASTER}]\nsources = ["{SOPS}", "{KEYRING}"]\n')
        subprocess.run(
            [REAL_SOPS, "set", "--value-stdin", lab.store, f'["{MASTER}"]'],
            input=json.dumps(self.first).encode(), env=lab.environment(), cwd=lab.root, check=True,
        )  # fmt: skip
        lab.ok("apply")
        lab.ok("rotate")
        assert lab.key != self.first
        assert lab.key == self.held()
        assert lab.accepts(lab.key)


class TestSystemd:
    """The gateway as a unit of a real systemd --user."""

    @pytest.fixture
    def session(self, user_systemd: Callable[..., UserSystemd], tmp_path: Path) -> UserSystemd:
        return user_systemd(tmp_path / "user")

    @pytest.mark.parametrize("auth", ["guard", "master-key"])
    def test_a_rotation_works_the_same(
        self, session: UserSystemd, tmp_path: Path, auth: str
    ) -> None:
        lab = labs.make(tmp_path, session.home, write=False)
        lab.write(gateway=f'auth = "{auth}"')
        lab.file.write_text(lab.file.read_text().replace('"supervisor"', '"systemd"'))
        there = UnitLab(lab.root, lab.home, lab.port, lab.wrapper, session=session)
        there.ok("bootstrap", str(lab.root))
        old, pid = lab.key, session.show("litellm.service", "MainPID")
        assert "proven at" in there.ok("rotate").out
        assert lab.accepts(lab.key)
        assert not lab.accepts(old)
        assert (session.show("litellm.service", "MainPID") == pid) == (auth == "guard")
        assert not there.ok("plan", "--exit-code", "--json").json.get("changes")
