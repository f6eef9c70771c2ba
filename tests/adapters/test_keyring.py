"""`keyring:SERVICE#NAME` with a real gnome-keyring in each state that it can have."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.keyring import KeyringProvider, plaintext_leftovers
from bootstrap.contract import WritableProviderContract
from bootstrap.domain.errors import (
    ProviderUnavailableError,
    SecretError,
    SecretNotFoundError,
    StoreDamagedError,
)
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support import leaks
from support.sessions import SecretService

# On one worker, and so with one keyring.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("keyring")]

Start = Callable[..., SecretService]

KEY = "sk-test-keyring-1f6d0c"
REF = SecretRef.parse("keyring:keyturn#LITELLM_MASTER_KEY")
ITEMS = {("keyturn", "LITELLM_MASTER_KEY"): KEY}
PLAINTEXT = "keyrings.alt.file.PlaintextKeyring"


@pytest.fixture
def provider() -> KeyringProvider:
    return KeyringProvider(PurePath("/lab"), timeout_s=30)


@pytest.fixture
def silent_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A session bus that takes connections and never says a word; returns its socket."""
    path = tmp_path / "silent"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={path}")
    with listener:
        yield path


def secret_tool(service: SecretService, *words: str, input: str = "") -> str:
    return service.run("secret-tool", *words, input=input).stdout


def everything_said(error: SecretError) -> dict[str, str]:
    return {"error": f"{error!r} {error} {error.what} {error.why} {error.fix}"}


@pytest.fixture(scope="module")
def unlocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretService]:
    """One for all tests that only write and read in it."""
    service = SecretService(cwd=tmp_path_factory.mktemp("unlocked"))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def service(unlocked: SecretService, monkeypatch: pytest.MonkeyPatch) -> SecretService:
    """An open keyring, found by this process, with nothing in it but the key."""
    for name, value in unlocked.environment.items():
        monkeypatch.setenv(name, value)
    secret_tool(unlocked, "clear", "service", "keyturn")
    words = ("service", "keyturn", "username", "LITELLM_MASTER_KEY")
    about = ("--label=Password", "application", "Python keyring library")
    secret_tool(unlocked, "store", *about, *words, input=KEY)
    return unlocked


class TestContract(WritableProviderContract):
    HELD = KEY

    @pytest.fixture
    def ref(self, service: SecretService) -> SecretRef:
        assert service
        return REF

    @pytest.fixture
    def another(self, ref: SecretRef) -> KeyringProvider:
        return KeyringProvider(PurePath("/lab"), timeout_s=30)


@pytest.mark.usefixtures("service")
class TestUnlocked:
    def test_an_empty_entry_is_not_found_and_said_to_be_empty(
        self, provider: KeyringProvider, service: SecretService
    ) -> None:
        secret_tool(service, "store", "--label=x", "service", "keyturn", "username", "EMPTY")
        with pytest.raises(SecretNotFoundError, match="it is empty"):
            provider.read(SecretRef("keyring", "keyturn", "EMPTY"))

    def test_other_programs_read_what_is_written(
        self, provider: KeyringProvider, service: SecretService
    ) -> None:
        new = SecretRef("keyring", "keyturn", "NEW")
        provider.write(new, Secret("sk-test-new"))
        found = secret_tool(service, "lookup", "service", "keyturn", "username", "NEW")
        assert found == "sk-test-new"

    def test_writing_replaces_an_entry_that_secret_tool_stored(
        self, provider: KeyringProvider, service: SecretService
    ) -> None:
        words = ("service", "keyturn", "username", "BY_HAND")
        secret_tool(service, "store", "--label=by hand", *words, input="sk-test-old")
        ref = SecretRef("keyring", "keyturn", "BY_HAND")
        provider.write(ref, Secret("sk-test-new"))
        assert provider.read(ref) == Secret("sk-test-new")
        assert "sk-test-old" not in secret_tool(service, "search", "--all", *words)

    def test_deleting_removes_every_entry_of_that_name(
        self, provider: KeyringProvider, service: SecretService
    ) -> None:
        words = ("service", "keyturn", "username", "LITELLM_MASTER_KEY")
        secret_tool(service, "store", "--label=second", *words, input="sk-test-second")
        provider.delete(REF)
        with pytest.raises(SecretNotFoundError):
            provider.read(REF)
        with pytest.raises(SecretNotFoundError):
            provider.delete(REF)

    def test_a_text_that_no_keyring_can_hold_is_an_error_and_keeps_the_old_one(
        self, provider: KeyringProvider
    ) -> None:
        with pytest.raises(SecretError) as caught:
            provider.write(REF, Secret(f"{KEY}-new\udcff"))
        assert leaks.find(f"{KEY}-new", texts=everything_said(caught.value)) == []
        assert provider.read(REF) == Secret(KEY)

    def test_no_secret_is_ever_in_an_argument_list(self, tmp_path: Path) -> None:
        program = (
            "from pathlib import PurePath\n"
            "from bootstrap.adapters.keyring import *\n"
            "provider = KeyringProvider(PurePath('/'), timeout_s=60)\n"
            f"provider.write(SecretRef.parse({str(REF)!r}), Secret(input()))\n"
        )
        script = tmp_path / "write.py"
        script.write_text(program)
        traced = leaks.watch_argv([sys.executable, script], cwd=tmp_path, input="sk-test-argument")
        assert traced.status == 0, traced.stderr
        assert len(traced.programs) >= 2
        assert traced.find("sk-test-argument") == []

    def test_the_bus_is_found_without_its_variable_where_a_login_would_have_put_it(
        self, provider: KeyringProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runtime = tmp_path / "runtime"
        runtime.mkdir()
        socket_path = os.environ["DBUS_SESSION_BUS_ADDRESS"].removeprefix("unix:path=")
        (runtime / "bus").symlink_to(socket_path)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS")
        assert provider.read(REF) == Secret(KEY)

    @pytest.mark.parametrize(
        "backend",
        [
            PLAINTEXT,
            "keyring.backends.null.Keyring",
            "keyring.backends.fail.Keyring",
            "keyring.backends.chainer.ChainerBackend",
            "somebody.elses.Keyring",
        ],
    )
    def test_a_backend_that_is_not_trusted_is_refused_by_name(
        self, provider: KeyringProvider, monkeypatch: pytest.MonkeyPatch, home: Path, backend: str
    ) -> None:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", backend)
        assert backend in (provider.unavailable(REF) or "")
        with pytest.raises(ProviderUnavailableError) as caught:
            provider.write(REF, Secret("sk-test-refused"))
        assert backend in caught.value.why
        assert leaks.find("sk-test-refused", [home]) == []

    def test_a_backend_refused_in_the_settings_file_is_named_too(
        self, provider: KeyringProvider, home: Path
    ) -> None:
        settings = home / ".config" / "python_keyring" / "keyringrc.cfg"
        settings.parent.mkdir(parents=True)
        settings.write_text(f"[backend]\ndefault-keyring={PLAINTEXT}\n")
        assert PLAINTEXT in (provider.unavailable(REF) or "")

    def test_the_secret_service_may_be_named_in_the_settings(
        self, provider: KeyringProvider, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.SecretService.Keyring")
        assert provider.read(REF) == Secret(KEY)


class TestUnusable:
    @pytest.mark.parametrize(
        ("state", "items", "why"),
        [
            ("locked", ITEMS, "the keyring is locked"),
            ("empty", {}, "no default collection"),
            ("none", {}, "no Secret Service runs"),
            ("no-bus", {}, "no D-Bus"),
        ],
    )
    def test_every_operation_says_why(
        self,
        provider: KeyringProvider,
        secret_service: Start,
        home: Path,
        state: str,
        items: dict[tuple[str, str], str],
        why: str,
    ) -> None:
        secret_service(state=state, items=items)
        assert why in (provider.unavailable(REF) or "")
        operations: list[Callable[[], object]] = [
            lambda: provider.read(REF),
            lambda: provider.write(REF, Secret("sk-test-unusable")),
            lambda: provider.delete(REF),
        ]
        for operation in operations:
            with pytest.raises(ProviderUnavailableError) as caught:
                operation()
            assert why in caught.value.why
            assert str(REF) in caught.value.what
            assert caught.value.fix
        # keyrings.alt is installed beside us, and keyring alone would have used it.
        assert leaks.find("sk-test-unusable", [home]) == []
        assert plaintext_leftovers("keyturn") == ()

    def test_a_bus_that_has_ended(
        self, provider: KeyringProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", f"unix:path={tmp_path}/gone")
        assert "the session it names has ended" in (provider.unavailable(REF) or "")

    def test_a_stopped_service_is_given_up(self, secret_service: Start) -> None:
        secret_service(state="stalled", items=ITEMS)
        provider = KeyringProvider(PurePath("/lab"), timeout_s=2)
        with pytest.raises(ProviderUnavailableError, match="did not answer"):
            provider.read(REF)

    def test_a_silent_bus_is_given_up_once_for_all(self, silent_bus: Path) -> None:
        provider = KeyringProvider(PurePath("/lab"), timeout_s=1)
        assert "did not answer" in (provider.unavailable(REF) or "")
        # A second wait would need a connection, and there is nothing left to connect to.
        silent_bus.unlink()
        with pytest.raises(ProviderUnavailableError, match="did not answer"):
            provider.read(REF)


def store_in_plaintext(service: str, name: str, value: str) -> None:
    """Do what keyring does by itself with keyrings.alt installed and no bus."""
    code = "import sys, keyring; keyring.set_password(*sys.argv[1:3], sys.stdin.read())"
    subprocess.run(
        ["env", f"PYTHON_KEYRING_BACKEND={PLAINTEXT}", sys.executable, "-c", code, service, name],
        input=value,
        text=True,
        check=True,
    )


class TestPlaintextLeftovers:
    def test_entries_are_listed_by_name_without_their_values(self) -> None:
        store_in_plaintext("keyturn", "LITELLM_MASTER_KEY", "sk-test-plain")
        store_in_plaintext("keyturn", "other-name é", "sk-test-plain")
        store_in_plaintext("somebody else", "THEIRS", "sk-test-plain")
        assert plaintext_leftovers("keyturn") == ("litellm_master_key", "other-name é")
        assert plaintext_leftovers("somebody else") == ("theirs",)
        assert plaintext_leftovers("nobody") == ()

    def test_without_the_file_there_is_none(self) -> None:
        assert plaintext_leftovers("keyturn") == ()

    def test_a_file_that_does_not_parse_is_an_error_without_its_text(self, home: Path) -> None:
        path = home / ".local" / "share" / "python_keyring" / "keyring_pass.cfg"
        path.parent.mkdir(parents=True)
        path.write_text("c2stdGVzdC1wbGFpbg==\n")
        with pytest.raises(StoreDamagedError) as caught:
            plaintext_leftovers("keyturn")
        assert str(path) in caught.value.what
        assert leaks.find("c2stdGVzdC1wbGFpbg", texts=everything_said(caught.value)) == []

    def test_on_windows_it_lies_in_the_local_application_data(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = home / "Python Keyring" / "keyring_pass.cfg"
        path.parent.mkdir()
        path.write_text("[keyturn]\nold_5fkey = \n\tc2s=\n")
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setenv("LOCALAPPDATA", str(home))
        assert plaintext_leftovers("keyturn") == ("old_key",)


class TestTheChild:
    """What the provider makes of its child, shown with a script in the child's place."""

    @pytest.fixture
    def child(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
        def stand_in(body: str) -> Path:
            script = tmp_path / "python"
            script.write_text(
                f"#!/bin/sh\ncd {shlex.quote(str(tmp_path))}\nenv > environment\n{body}\n"
            )
            script.chmod(0o700)
            monkeypatch.setattr(sys, "executable", str(script))
            monkeypatch.setenv("DISPLAY", ":77")  # else nothing could lead to a keyring
            return tmp_path

        return stand_in

    def test_it_gets_neither_age_keys_nor_direnvs_copy_of_the_environment(
        self,
        provider: KeyringProvider,
        child: Callable[[str], Path],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-TEST")
        monkeypatch.setenv("DIRENV_DIFF", "eJtest")
        folder = child("""echo '{"value": "sk-test"}'""")
        assert provider.read(REF) == Secret("sk-test")
        seen = (folder / "environment").read_text()
        assert "HOME=" in seen
        assert "SOPS_AGE_" not in seen
        assert "DIRENV_" not in seen

    @pytest.mark.parametrize(
        ("body", "why"),
        [
            ("exit 75", "did not answer"),
            ("echo sk-test-noise; exit 3", "exit status 3"),
            ("echo '[]'", "exit status 0"),
            ("""echo '{"problem": "never heard of", "detail": "X"}'""", "failed (X)"),
            ("""echo '{"problem": "no-library"}'""", "cannot be imported"),
        ],
    )
    def test_whatever_it_says_ends_in_a_typed_error(
        self, provider: KeyringProvider, child: Callable[[str], Path], body: str, why: str
    ) -> None:
        child(f"cat > /dev/null; {body}")
        with pytest.raises(ProviderUnavailableError) as caught:
            provider.read(REF)
        assert why in caught.value.why
        assert leaks.find("sk-test-noise", texts=everything_said(caught.value)) == []

    def test_a_value_that_is_not_read_back_is_not_called_stored(
        self, provider: KeyringProvider, child: Callable[[str], Path]
    ) -> None:
        for reply, words in (
            ('{"stored": false}', "could not be put back"),
            ('{"stored": false, "put_back": true}', "what was there before is back"),
        ):
            child(f"cat > /dev/null; echo '{reply}'")
            with pytest.raises(SecretError, match="was not stored") as caught:
                provider.write(REF, Secret("sk-test"))
            assert words in caught.value.why

    def test_a_python_that_is_gone_is_a_typed_error(
        self, provider: KeyringProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
        monkeypatch.setenv("DISPLAY", ":77")
        assert "FileNotFoundError" in (provider.unavailable(REF) or "")

    def test_keyring_is_never_imported_here(self, tmp_path: Path) -> None:
        code = (
            "import sys\nfrom pathlib import PurePath\n"
            "from bootstrap.adapters.keyring import *\n"
            "KeyringProvider(PurePath('/')).unavailable(SecretRef.parse('keyring:a#B'))\n"
            "print(sorted(m for m in sys.modules if 'keyring' in m))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert "bootstrap.adapters.keyring_child" in done.stdout
        assert "'keyring" not in done.stdout
