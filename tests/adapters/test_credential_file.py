"""`file:PATH`."""

import os
import socket
from pathlib import Path

import pytest

from bootstrap.adapters import credential_file
from bootstrap.adapters.credential_file import MOST_BYTES, CredentialFileProvider
from bootstrap.contract import ProviderContract
from bootstrap.domain.errors import (
    LabError,
    ProviderUnavailableError,
    SecretNotFoundError,
    StoreDamagedError,
)
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.ports import WritableProvider

TEXT = "sk-test-file-0123456789"


class TestCredentialFileProvider(ProviderContract):
    @pytest.fixture
    def provider(self, tmp_path: Path) -> CredentialFileProvider:
        return CredentialFileProvider(tmp_path)

    @pytest.fixture
    def ref(self, tmp_path: Path) -> SecretRef:
        put(tmp_path / "master", f"{self.HELD}\n".encode())
        return SecretRef.parse("file:master")

    def absent(self, ref: SecretRef) -> SecretRef:
        return SecretRef(ref.scheme, "no-such-file")


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def read(root: Path, place: str, environ: dict[str, str] | None = None) -> Secret:
    return CredentialFileProvider(root, environ).read(SecretRef("file", place))


def refusal(root: Path, place: str, environ: dict[str, str] | None = None) -> LabError:
    with pytest.raises(LabError) as caught:
        read(root, place, environ)
    error = caught.value
    assert TEXT not in f"{error.what} {error.why} {error.fix}"
    return error


@pytest.mark.parametrize("end", ["", "\n"])
def test_one_newline_at_the_end_is_not_part_of_the_secret(tmp_path: Path, end: str) -> None:
    put(tmp_path / "key", (TEXT + end).encode())
    assert read(tmp_path, "key") == Secret(TEXT)


def test_an_absolute_and_a_home_path_do_not_start_at_the_lab(tmp_path: Path, home: Path) -> None:
    put(tmp_path / "key", TEXT.encode())
    put(home / "key", b"sk-test-home")
    assert read(Path("/elsewhere"), str(tmp_path / "key")) == Secret(TEXT)
    assert read(Path("/elsewhere"), "~/key") == Secret("sk-test-home")


def test_a_systemd_credential_is_found_by_its_directory(tmp_path: Path) -> None:
    put(tmp_path / "master", TEXT.encode(), 0o400)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read(Path("/elsewhere"), "$CREDENTIALS_DIRECTORY/master", environ) == Secret(TEXT)


def test_outside_a_unit_with_credentials_the_place_is_unavailable(tmp_path: Path) -> None:
    ref = SecretRef("file", "$CREDENTIALS_DIRECTORY/master")
    assert "CREDENTIALS_DIRECTORY" in str(CredentialFileProvider(tmp_path, {}).unavailable(ref))
    error = refusal(tmp_path, ref.place, {})
    assert isinstance(error, ProviderUnavailableError)
    assert "LoadCredential=" in error.fix


def test_the_links_that_kubernetes_mounts_are_followed(tmp_path: Path) -> None:
    put(tmp_path / "..data", TEXT.encode())
    (tmp_path / "key").symlink_to("..data")
    assert read(tmp_path, "key") == Secret(TEXT)


@pytest.mark.parametrize("data", [b"", b"\n"])
def test_an_empty_file_holds_no_secret(tmp_path: Path, data: bytes) -> None:
    put(tmp_path / "key", data)
    error = refusal(tmp_path, "key")
    assert isinstance(error, SecretNotFoundError)
    assert error.why == "the file is empty"


def test_below_a_file_there_is_no_secret(tmp_path: Path) -> None:
    put(tmp_path / "key", TEXT.encode())
    assert isinstance(refusal(tmp_path, "key/inner"), SecretNotFoundError)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (f"{TEXT}\n\n".encode(), "it holds many lines"),
        (f"{TEXT}\nmore\n".encode(), "it holds many lines"),
        (f"{TEXT}\r\n".encode(), "it holds a carriage return"),
        (f"{TEXT}\0".encode(), "it holds a NUL byte"),
        (b"\xff\xfe" + TEXT.encode(), "it is not UTF-8 text"),
        (b"x" * (MOST_BYTES + 1), "it is longer than 65536 bytes"),
    ],
)
def test_what_is_not_one_line_of_text_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    put(tmp_path / "key", data)
    error = refusal(tmp_path, "key")
    assert isinstance(error, StoreDamagedError)
    assert error.why == why
    assert error.fix


def test_a_secret_of_the_largest_size_is_read(tmp_path: Path) -> None:
    put(tmp_path / "key", b"x" * MOST_BYTES)
    assert read(tmp_path, "key") == Secret("x" * MOST_BYTES)


def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "key", TEXT.encode(), 0o644)
    error = refusal(tmp_path, "key")
    assert isinstance(error, StoreDamagedError)
    assert error.fix == f"chmod 600 {path}"


def test_a_file_that_the_group_may_read_is_accepted(tmp_path: Path) -> None:
    put(tmp_path / "key", TEXT.encode(), 0o640)
    assert read(tmp_path, "key") == Secret(TEXT)


def test_below_run_the_container_keeps_others_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_file, "_RUNTIME", tmp_path.resolve())
    put(tmp_path / "key", TEXT.encode(), 0o444)
    assert read(tmp_path, "key") == Secret(TEXT)


def test_a_folder_and_a_pipe_are_no_credentials(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for place in (".", "pipe"):
        error = refusal(tmp_path, place)
        assert isinstance(error, StoreDamagedError)
        assert error.why == "it is not a regular file"


def test_a_place_that_cannot_be_opened_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # socket paths are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        error = refusal(tmp_path, "socket")
    assert isinstance(error, ProviderUnavailableError)
    assert error.why == "no such device or address"


def test_a_credential_file_cannot_be_written(tmp_path: Path) -> None:
    assert not isinstance(CredentialFileProvider(tmp_path), WritableProvider)
