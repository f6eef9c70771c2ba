"""The child process of the keyring provider: which backend it takes, and that it ends."""

import io
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bootstrap.adapters import keyring_child
from bootstrap.adapters.keyring_child import SECRET_SERVICE, Unusable, answer, choose_backend

pytestmark = pytest.mark.integration


class Memory:
    """A backend that keeps its entries in a dictionary."""

    viable = True

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self.entries.get((service, name))

    def set_password(self, service: str, name: str, text: str) -> None:
        self.entries[service, name] = text

    def delete_password(self, service: str, name: str) -> None:
        del self.entries[service, name]


class Broken(Memory):
    """One that quotes the secret in what it raises."""

    def set_password(self, service: str, name: str, text: str) -> None:
        raise ValueError(f"cannot store {text}")


class KeyringLocked(Exception):
    """As keyring names it."""


class LocksItself(Memory):
    def get_password(self, service: str, name: str) -> str | None:
        raise KeyringLocked("Failed to unlock the collection!")


class Forgets(Memory):
    """One that keeps something else than it is given, once."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1

    def set_password(self, service: str, name: str, text: str) -> None:
        self.left -= 1
        super().set_password(service, name, text if self.left < 0 else text[:-1])


class Loses(Memory):
    """One that takes a value and then complains, once."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 1

    def set_password(self, service: str, name: str, text: str) -> None:
        super().set_password(service, name, text)
        self.left -= 1
        if self.left >= 0:
            raise ValueError(f"cannot store {text}")


class Absent(Memory):
    viable = False


def trust(monkeypatch: pytest.MonkeyPatch, *backends: type[Memory] | str) -> None:
    """Make these the trusted backends, in this order."""
    module = ModuleType("stand_in_backends")
    names = []
    for backend in backends:
        if isinstance(backend, str):
            names.append(backend)
        else:
            setattr(module, backend.__name__, backend)
            names.append(f"{module.__name__}.{backend.__name__}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(keyring_child, "TRUSTED_ELSEWHERE", tuple(names))


def request(operation: str, **more: Any) -> dict[str, Any]:
    return {"operation": operation, "service": "keyturn", "name": "KEY", "text": None} | more


class TestChoice:
    def test_the_next_trusted_backend_serves_where_there_is_no_secret_service(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trust(monkeypatch, SECRET_SERVICE, Absent, Memory)
        assert type(choose_backend()) is Memory

    def test_the_first_problem_is_the_one_to_explain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trust(monkeypatch, SECRET_SERVICE, Absent)
        assert answer(request("probe")) == {"problem": "no-bus", "detail": SECRET_SERVICE}

    def test_secretstorage_not_installed_is_a_missing_library(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trust(monkeypatch, SECRET_SERVICE)
        monkeypatch.setitem(sys.modules, "secretstorage", None)
        assert answer(request("probe"))["problem"] == "no-library"

    def test_keyring_not_installed_is_a_missing_library(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "keyring.util.platform_", None)
        assert answer(request("probe"))["problem"] == "no-library"

    @pytest.mark.parametrize("platform", ["darwin", "win32"])
    def test_other_systems_have_their_own_keyring_only(
        self, monkeypatch: pytest.MonkeyPatch, platform: str
    ) -> None:
        trust(monkeypatch, Memory)
        monkeypatch.setattr(sys, "platform", platform)
        with pytest.raises(Unusable) as caught:  # this machine cannot run either
            choose_backend()
        assert caught.value.detail in keyring_child.TRUSTED_BY_PLATFORM[platform]


class TestAnswer:
    @pytest.fixture(autouse=True)
    def _one_store(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = Memory()
        trust(monkeypatch, Memory)
        monkeypatch.setattr(keyring_child, "choose_backend", lambda: store)

    def test_an_entry_lives_from_write_to_delete(self) -> None:
        assert answer(request("probe")) == {}
        assert answer(request("read")) == {"value": None}
        assert answer(request("write", text="sk-test")) == {"stored": True}
        assert answer(request("read")) == {"value": "sk-test"}
        assert answer(request("delete")) == {"deleted": True}
        assert answer(request("delete")) == {"deleted": False}


class TestFailure:
    @pytest.mark.parametrize("before", [None, "sk-test-before"])
    def test_a_value_that_is_not_read_back_is_replaced_by_what_was_there(
        self, monkeypatch: pytest.MonkeyPatch, before: str | None
    ) -> None:
        for store in (Forgets(), Loses()):
            if before is not None:
                store.entries["keyturn", "KEY"] = before
            monkeypatch.setattr(keyring_child, "choose_backend", lambda store=store: store)
            reply = answer(request("write", text="sk-test-new"))
            if isinstance(store, Forgets):
                assert reply == {"stored": False, "put_back": True}
            else:
                assert reply == {"problem": "failed", "detail": "ValueError"}
            assert store.get_password("keyturn", "KEY") == before

    def test_it_says_where_that_cannot_be_put_back_either(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = Forgets()
        store.left, store.entries["keyturn", "KEY"] = 9, "sk-test-before"
        monkeypatch.setattr(keyring_child, "choose_backend", lambda: store)
        reply = answer(request("write", text="sk-test-new"))
        assert reply == {"stored": False, "put_back": False}

    def test_a_backends_complaint_is_reported_by_its_type_only(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trust(monkeypatch, Broken)
        reply = answer(request("write", text="sk-test"))
        assert reply == {"problem": "failed", "detail": "ValueError"}

    def test_a_keyring_that_locks_while_it_is_read_is_locked(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trust(monkeypatch, LocksItself)
        assert answer(request("read"))["problem"] == "locked"


class TestProcess:
    def test_the_request_comes_on_stdin_and_the_reply_goes_to_stdout(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        trust(monkeypatch, Memory)
        monkeypatch.setattr(sys, "path", list(sys.path))
        limits: list[float] = []  # the real one would end this process a minute later
        monkeypatch.setattr(keyring_child, "end_after", limits.append)
        asked = request("probe", seconds=60, path=[str(tmp_path), *sys.path])
        monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
        keyring_child.main()
        assert json.loads(capsys.readouterr().out) == {}
        assert limits == [60]
        assert sys.path.count(str(tmp_path)) == 1
        assert sys.path[-1] == str(tmp_path)

    def test_it_ends_by_itself_when_nobody_is_left_to_kill_it(self, silent_bus: str) -> None:
        asked = request("read", seconds=0.5, path=[])
        done = subprocess.run(
            [sys.executable, "-I", keyring_child.__file__],
            input=json.dumps(asked).encode(),
            env={"DBUS_SESSION_BUS_ADDRESS": silent_bus},
            check=False,
            timeout=60,
        )
        assert done.returncode == keyring_child.HUNG_STATUS

    @pytest.fixture
    def silent_bus(self, tmp_path: Path) -> Iterator[str]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(tmp_path / "silent"))
            listener.listen()
            yield f"unix:path={tmp_path}/silent"
