"""age identities: found as sops finds them, made as age-keygen makes them."""

import os
import stat
import subprocess
import threading
from pathlib import Path

import pyrage
import pytest

from bootstrap.adapters import age
from bootstrap.adapters.age import ensure_identity, identity_file, identity_problems, recipients
from bootstrap.adapters.sops_store import locked
from bootstrap.domain.errors import LabError, ProviderUnavailableError, SecretError
from support.homes import AgeIdentity
from support.sops_lab import REAL_SOPS, RULES

pytestmark = pytest.mark.integration


def new_identity() -> tuple[str, str]:
    """Return a secret key and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def put(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def modes(path: Path, top: Path) -> list[int]:
    steps = [path, *[parent for parent in path.parents if top in parent.parents]]
    return [stat.S_IMODE(step.stat().st_mode) for step in steps]


def test_the_default_file_is_where_sops_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity_file() == home / ".config/sops/age/keys.txt"
    assert identity_file({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == Path("/x/sops/age/keys.txt")
    assert identity_file({"HOME": "/h"}) == Path("/h/.config/sops/age/keys.txt")
    monkeypatch.setenv("HOME", "/from-the-process")
    assert identity_file({}) == Path("/from-the-process/.config/sops/age/keys.txt")


def test_without_identities_there_are_no_recipients_and_no_problems() -> None:
    assert recipients() == []
    assert identity_problems() == ()


def test_the_identities_of_all_three_sources_are_found(
    age_identity: AgeIdentity, tmp_path: Path
) -> None:
    in_variable, first = new_identity()
    in_file, second = new_identity()
    path = put(tmp_path / "more.txt", f"# a comment\n\n{in_file}\r\n{in_variable}\n")
    environ = {**os.environ, "SOPS_AGE_KEY": in_variable, "SOPS_AGE_KEY_FILE": str(path)}
    assert recipients(environ) == [age_identity.recipient, first, second]
    assert identity_problems(environ) == ()


def test_the_default_file_named_by_the_variable_counts_once(age_identity: AgeIdentity) -> None:
    environ = {**os.environ, "SOPS_AGE_KEY_FILE": str(age_identity.path)}
    assert recipients(environ) == [age_identity.recipient]


def test_a_new_identity_is_private_from_its_folder_on(home: Path) -> None:
    recipient, created = ensure_identity()
    assert created
    assert recipients() == [recipient]
    assert modes(identity_file(), home) == [0o600, 0o700, 0o700, 0o700]
    assert [entry.name for entry in identity_file().parent.iterdir()] == ["keys.txt"]


def test_the_second_time_the_same_identity_is_found() -> None:
    recipient, _ = ensure_identity()
    before = identity_file().read_bytes()
    assert ensure_identity() == (recipient, False)
    assert identity_file().read_bytes() == before


def test_age_keygen_reads_the_new_identity() -> None:
    recipient, _ = ensure_identity()
    command = ("age-keygen", "-y", str(identity_file()))
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == recipient
    lines = identity_file().read_text().splitlines()
    assert lines[0].startswith("# created: 2")
    assert lines[1] == f"# public key: {recipient}"
    assert lines[2].startswith("AGE-SECRET-KEY-1")
    assert len(lines) == 3


def test_age_decrypts_what_is_encrypted_for_the_new_identity() -> None:
    recipient, _ = ensure_identity()
    sealed = subprocess.run(
        ("age", "-r", recipient), input=b"hello", capture_output=True, check=True
    )
    opened = subprocess.run(
        ("age", "-d", "-i", str(identity_file())),
        input=sealed.stdout,
        capture_output=True,
        check=True,
    )
    assert opened.stdout == b"hello"


def test_sops_decrypts_with_the_new_identity_and_no_variable(tmp_path: Path) -> None:
    recipient, _ = ensure_identity()
    (tmp_path / ".sops.yaml").write_text(RULES.format(recipient))
    seal = (str(REAL_SOPS), "encrypt", "--filename-override", "secrets/a.enc.env")
    sealed = subprocess.run(seal, input=b"A=b\n", cwd=tmp_path, capture_output=True, check=True)
    types = ("--input-type", "dotenv", "--output-type", "dotenv")
    opened = subprocess.run(
        (str(REAL_SOPS), "decrypt", *types), input=sealed.stdout, capture_output=True, check=True
    )
    assert opened.stdout == b"A=b\n"


def test_an_identity_in_the_environment_is_enough() -> None:
    text, recipient = new_identity()
    environ = {**os.environ, "SOPS_AGE_KEY": text}
    assert ensure_identity(environ) == (recipient, False)
    assert not identity_file().exists()


def test_many_at_once_make_one_identity() -> None:
    results: list[tuple[str, bool]] = []
    makers = [threading.Thread(target=lambda: results.append(ensure_identity())) for _ in range(6)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert len({recipient for recipient, _ in results}) == 1
    assert sorted(created for _, created in results) == [False] * 5 + [True]


def test_what_a_killed_maker_left_is_removed() -> None:
    left = put(identity_file().with_name(".keys.txt.0123456789ab.tmp"), "AGE-SECRET-KEY-1")
    kept = put(identity_file().with_name(".keys.txt.of-mine.tmp"), "a user's own file")
    ensure_identity()
    assert not left.exists()
    assert kept.exists()


def test_a_disk_that_refuses_leaves_no_half_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(handle: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(SecretError) as caught:
        ensure_identity()
    assert caught.value.why == "input/output error"
    assert list(identity_file().parent.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(home: Path) -> None:
    put(home / ".config" / "sops", "a file")
    with pytest.raises(ProviderUnavailableError) as caught:
        ensure_identity()
    assert "cannot use the age identity" in caught.value.what
    assert "not a directory" in caught.value.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("sk-test-garbage\n", "something else than age identities"),
        ("AGE-SECRET-KEY-1QQQQ\n", "something else than age identities"),
        ("age-encryption.org/v1\n-> scrypt", "protected by a passphrase"),
        ("-----BEGIN AGE ENCRYPTED FILE-----\n", "protected by a passphrase"),
    ],
)
def test_what_is_no_identity_is_explained_without_quoting_it(text: str, why: str) -> None:
    path = put(identity_file(), text)
    for ask in (recipients, ensure_identity):
        with pytest.raises(ProviderUnavailableError) as caught:
            ask()
        error = caught.value
        assert str(path) in error.what
        assert why in error.why
        assert text.strip() not in f"{error.what} {error.why} {error.fix}"
    assert path.read_text() == text
    assert any(why in problem for problem in identity_problems())


def test_garbage_in_the_variable_is_told_by_its_name() -> None:
    environ = {**os.environ, "SOPS_AGE_KEY": "sk-test-garbage"}
    with pytest.raises(ProviderUnavailableError, match="SOPS_AGE_KEY"):
        recipients(environ)
    (problem,) = identity_problems(environ)
    assert "SOPS_AGE_KEY" in problem
    assert "sk-test" not in problem


def test_bytes_that_are_no_text_are_garbage() -> None:
    put(identity_file(), "").write_bytes(b"\xff\xfe")
    with pytest.raises(ProviderUnavailableError, match="something else"):
        recipients()


def test_an_empty_identity_file_is_not_replaced() -> None:
    path = put(identity_file(), "# nothing yet\nAGE-PLUGIN-YUBIKEY-1QQQ\n")
    with pytest.raises(ProviderUnavailableError) as caught:
        ensure_identity()
    assert "public half" in caught.value.why
    assert path.read_text().startswith("# nothing yet")


def test_a_folder_in_its_place_is_no_identity() -> None:
    identity_file().mkdir(parents=True)
    with pytest.raises(ProviderUnavailableError, match="not a regular file"):
        recipients()


def test_an_identity_of_another_user_is_not_used(
    age_identity: AgeIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = age_identity.path.stat()
    stranger = os.stat_result((*found[:4], 4711, *found[5:]))
    monkeypatch.setattr(Path, "stat", lambda self, **options: stranger)
    with pytest.raises(ProviderUnavailableError) as caught:
        recipients()
    assert "another user (uid 4711)" in caught.value.why


def test_an_identity_that_may_not_be_read_says_so(
    age_identity: AgeIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ProviderUnavailableError) as caught:
        recipients()
    assert caught.value.why == "permission denied"


def test_an_identity_that_may_not_be_looked_at_is_a_problem(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = home / ".config/sops/age/keys.txt"
    loop.parent.mkdir(parents=True)
    loop.symlink_to("keys.txt")
    (problem,) = identity_problems()
    assert "too many levels of symbolic links" in problem


def test_an_identity_open_to_others_is_a_problem(age_identity: AgeIdentity) -> None:
    age_identity.path.chmod(0o644)
    (problem,) = identity_problems()
    assert problem.endswith(f"(mode 0644): chmod 600 {age_identity.path}")


def test_a_folder_where_others_may_write_is_a_problem(age_identity: AgeIdentity) -> None:
    age_identity.path.parent.chmod(0o777)
    (problem,) = identity_problems()
    folder = age_identity.path.parent
    assert problem == f"other users may replace files in {folder}: chmod 700 {folder}"
    age_identity.path.parent.chmod(0o1777)
    assert identity_problems() == ()


def test_a_named_file_that_is_not_there_is_a_problem(
    age_identity: AgeIdentity, tmp_path: Path
) -> None:
    environ = {**os.environ, "SOPS_AGE_KEY_FILE": str(tmp_path / "gone")}
    assert recipients(environ) == [age_identity.recipient]
    (problem,) = identity_problems(environ)
    assert problem == f"SOPS_AGE_KEY_FILE names {tmp_path / 'gone'}, which is not there"


def test_another_maker_that_holds_the_folder_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bootstrap.adapters.sops_store.LOCK_TIMEOUT_S", 0.05)
    folder = identity_file().parent
    folder.mkdir(parents=True)
    with locked(folder), pytest.raises(LabError, match="locked"):
        ensure_identity()


def test_a_maker_that_was_faster_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, recipient = new_identity()
    make = age._new_identity

    def be_overtaken() -> tuple[str, bytes]:
        put(identity_file(), theirs)
        return make()

    monkeypatch.setattr(age, "_new_identity", be_overtaken)
    assert ensure_identity() == (recipient, False)


def test_a_home_that_cannot_be_written_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: int, exist_ok: bool) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ProviderUnavailableError) as caught:
        ensure_identity()
    assert caught.value.why == "it cannot be made: read-only file system"
