"""Reading the keyring by `secret-tool`, only where its answer is beyond doubt."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.keyring import KeyringProvider
from bootstrap.adapters.keyring_lookup import has_no_bus, look_up
from bootstrap.domain.errors import ProviderUnavailableError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support.sessions import SecretService

Start = Callable[..., SecretService]
KEY = "sk-test-lookup-0123456789"
ITEM = "[/1]\\nlabel = x\\nsecret = {}\\ncreated = 2026-01-01 00:00:00\\nmodified = x\\n"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Let a script be `secret-tool`, on a bus that is not asked."""

    def stand_in(body: str) -> Path:
        script = tmp_path / "secret-tool"
        script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/runs\n{body}\n')
        script.chmod(0o755)
        return script

    monkeypatch.setenv("PATH", f"relative:{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/none")
    return stand_in


def shows(text: str) -> str:
    return f"printf '{ITEM.format(text)}'"


def find() -> str | None:
    return look_up("keyturn", "KEY", 30)


@pytest.mark.integration
def test_the_only_entry_is_the_answer(tool: Callable[[str], Path], tmp_path: Path) -> None:
    tool(shows(KEY))
    assert find() == KEY
    assert (tmp_path / "runs").read_text() == "search --all service keyturn username KEY\n"


@pytest.mark.integration
@pytest.mark.parametrize("text", ["", "two\\nlines", " outer spaces ", "ä", "secret = x"])
def test_any_text_is_exact(tool: Callable[[str], Path], text: str) -> None:
    tool(shows(text))
    assert find() == text.replace("\\n", "\n")


@pytest.mark.integration
@pytest.mark.parametrize(
    "body",
    [
        "exit 1",
        "true",
        shows(KEY) + "; " + shows("second"),
        shows("forged\\nsecret = " + KEY),
        shows("forged\\ncreated = now"),
        "printf '[/1]\\nlabel = locked\\ncreated = x\\n'",
        "printf '[/1]\\nlabel = a\\ncreated = b\\nsecret = turned round\\n'",
        shows("\\377"),
        "kill -9 $$",
    ],
)
def test_a_doubtful_answer_is_none(tool: Callable[[str], Path], body: str) -> None:
    tool(body)
    assert find() is None


@pytest.mark.integration
def test_a_program_that_does_not_start_is_no_answer(tool: Callable[[str], Path]) -> None:
    tool("").write_bytes(b"\x7fELF of another machine")
    assert find() is None


@pytest.mark.integration
def test_settings_that_choose_another_keyring_are_respected(
    tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    tool(shows(KEY))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    assert find() is None
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.SecretService.Keyring")
    assert find() == KEY
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    monkeypatch.setenv("KEYRING_PROPERTY_PREFERRED_COLLECTION", "/x")
    assert find() is None
    monkeypatch.delenv("KEYRING_PROPERTY_PREFERRED_COLLECTION")
    (home / ".config/python_keyring").mkdir(parents=True)
    (home / ".config/python_keyring/keyringrc.cfg").write_text("[backend]\n")
    assert find() is None


@pytest.mark.integration
def test_without_a_bus_or_without_the_tool_nothing_is_asked(
    tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool(shows(KEY))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
    assert find() is None
    runtime = Path(os.environ["XDG_RUNTIME_DIR"])
    (runtime / "bus").touch()
    assert find() == KEY
    monkeypatch.setenv("PATH", "/none")
    assert find() is None


def test_elsewhere_than_on_linux_python_is_asked(
    tool: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(shows(KEY))
    monkeypatch.setattr("sys.platform", "darwin")
    assert find() is None


@pytest.mark.integration
def test_a_keyring_that_does_not_answer_is_given_up_once(
    tool: Callable[[str], Path], tmp_path: Path
) -> None:
    tool("exec sleep 300")
    provider = KeyringProvider(PurePath("/lab"), timeout_s=0.5)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(ProviderUnavailableError) as caught:
            provider.read(SecretRef("keyring", "keyturn", "KEY"))
        assert "did not answer" in caught.value.why
    assert (tmp_path / "runs").read_text().count("\n") == 1
    assert time.monotonic() - began < 30


@pytest.mark.integration
def test_the_real_tool_reads_what_the_real_keyring_holds(secret_service: Start) -> None:
    secret_service(items={("keyturn", "KEY"): KEY})
    assert find() == KEY
    assert look_up("keyturn", "NONE", 30) is None
    provider = KeyringProvider(PurePath("/lab"))
    assert provider.read(SecretRef("keyring", "keyturn", "KEY")) == Secret(KEY)


@pytest.mark.integration
def test_the_real_tool_does_not_prompt_where_the_keyring_is_locked(secret_service: Start) -> None:
    secret_service(state="locked", items={("keyturn", "KEY"): KEY})
    assert find() is None
    with pytest.raises(ProviderUnavailableError, match="keyring") as caught:
        KeyringProvider(PurePath("/lab"), timeout_s=30).read(SecretRef("keyring", "keyturn", "KEY"))
    assert caught.value.why == "the keyring is locked"


class TestNoBus:
    """A session that nothing leads to a keyring from."""

    @pytest.fixture(autouse=True)
    def bare(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DISPLAY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)

    def test_no_process_is_started_to_find_that_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "must-not-run"))
        provider, ref = KeyringProvider(PurePath("/lab")), SecretRef.parse("keyring:k#KEY")
        assert has_no_bus()
        assert "no D-Bus" in str(provider.unavailable(ref))
        with pytest.raises(ProviderUnavailableError, match="keyring:k#KEY"):
            provider.read(ref)

    @pytest.mark.parametrize(
        "name", ["DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "PYTHON_KEYRING_BACKEND"]
    )
    def test_what_could_lead_to_one_is_followed(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, "x")
        assert not has_no_bus()

    def test_the_bus_of_a_login_is_found_without_its_address(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert has_no_bus()
        (tmp_path / "bus").touch()
        assert not has_no_bus()

    def test_settings_of_keyring_itself_are_left_to_it(self) -> None:
        settings = Path(os.environ["HOME"], ".config/python_keyring/keyringrc.cfg")
        settings.parent.mkdir(parents=True)
        settings.touch()
        assert not has_no_bus()

    def test_another_system_has_keyrings_without_a_bus(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "platform", "darwin")
        assert not has_no_bus()
