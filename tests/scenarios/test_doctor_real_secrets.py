"""Faults of stores and keyrings made with the real sops, git and Secret Service: found, mended."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters import doctor_keyring, doctor_secrets
from bootstrap.adapters.age import ensure_identity
from support.doctor import KEY, OLD_KEY, Patient, patient
from support.sessions import SecretService
from support.sops_lab import REAL_SOPS, RULES, SopsLab, make_lab

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
Start = Callable[..., SecretService]
NAME = "LITELLM_MASTER_KEY"
PLAINTEXT = "keyrings.alt.file"
GIT = ("-c", "user.name=me", "-c", "user.email=me@lab.invalid")


@pytest.fixture
def sick(home: Path) -> Patient:
    return patient(home)


@pytest.fixture
def sops(sick: Patient) -> SopsLab:
    """The lab's store, encrypted by the real sops for this home's identity."""
    made = make_lab(sick.lab, sick.home)
    made.put({NAME: KEY, "UPSTREAM_KEY": "sk-test-upstream-0123456789"})
    file = sick.lab / "lab.toml"
    more = f'", "sops:secrets/global.enc.env#{NAME}"]'
    file.write_text(file.read_text().replace('/key"]', f"/key{more}"))
    return made


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-C", str(folder), *GIT, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def committed(sick: Patient) -> None:
    git(sick.lab, "init", "-q")
    git(sick.lab, "add", ".")
    git(sick.lab, "commit", "-qm", "a lab")


def another_recipient(home: Path) -> str:
    return ensure_identity({"HOME": str(home / "other"), "XDG_CONFIG_HOME": ""})[0]


def test_a_sound_store_is_fine(sick: Patient, sops: SopsLab) -> None:
    assert sick.findings("KT4").keys() == {"KT404"}


@pytest.mark.parametrize("on_path", [True, False])
def test_a_recipient_that_was_added_to_the_rules_gets_the_store(
    sick: Patient, sops: SopsLab, on_path: bool
) -> None:
    if on_path:
        program = sick.home / "bin" / "sops"
        program.parent.mkdir()
        program.symlink_to(REAL_SOPS)
        sick.environment["PATH"] += f":{program.parent}"
    other = another_recipient(sick.home)
    (sick.lab / ".sops.yaml").write_text(RULES.format(f"{sops.identity.recipient},{other}"))
    (row,) = sick.findings("KT415")["KT415"]
    assert f"lacks {other}" in row["seen"]
    assert ("&& sops updatekeys" in row["command"]) == on_path
    assert sick.leads_back("KT415")
    assert sops.values()[NAME] == KEY
    assert "KT404" not in sick.findings("KT404")


def test_a_recipient_that_was_taken_out_of_the_rules_is_named(sick: Patient, sops: SopsLab) -> None:
    other = another_recipient(sick.home)
    sops.sops("rotate", "-i", "--add-age", other, "--input-type", "dotenv", "--output-type",
              "dotenv", str(sops.store))  # fmt: skip
    (row,) = sick.findings("KT415")["KT415"]
    assert f"is also open to {other}" in row["seen"]
    assert sick.leads_back("KT415")


def test_a_rule_without_ones_own_identity_is_never_followed_by_updatekeys(
    sick: Patient, sops: SopsLab
) -> None:
    (sick.lab / ".sops.yaml").write_text(RULES.format(another_recipient(sick.home)))
    (row,) = sick.findings("KT415")["KT415"]
    assert (row["severity"], row["command"]) == ("error", None)
    assert sops.identity.recipient in row["mend"]


def test_a_store_that_only_somebody_else_can_open_is_said(sick: Patient, sops: SopsLab) -> None:
    rules = sick.lab / ".sops.yaml"
    rules.write_text(RULES.format(another_recipient(sick.home)))
    sops.sops("updatekeys", "-y", str(sops.store))
    file = sick.lab / "lab.toml"
    file.write_text(file.read_text().replace(f'"file:{sick.lab}/key", ', ""))
    (row,) = sick.findings("KT002")["KT002"]
    assert "none of the age identities here is a recipient" in row["seen"]
    rules.write_text(RULES.format(sops.identity.recipient))
    (row,) = sick.findings("KT415")["KT415"]
    assert row["command"] is None
    assert "somebody who can open it" in row["mend"]


def truncated(sops: SopsLab) -> None:
    sops.store.write_bytes(sops.store.read_bytes()[:200])


def in_plain(sops: SopsLab) -> None:
    sops.store.write_text(f"{NAME}={KEY}\n")


def checked_out_elsewhere(sops: SopsLab) -> None:
    sops.store.write_bytes(sops.store.read_bytes().replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("spoil", [truncated, in_plain, checked_out_elsewhere])
def test_a_spoiled_store_comes_back_from_git(
    sick: Patient, sops: SopsLab, spoil: Callable[[SopsLab], None]
) -> None:
    committed(sick)
    spoil(sops)
    assert sick.severity("KT403") == "error"
    assert sick.leads_back("KT403")
    assert sops.values()[NAME] == KEY
    assert KEY not in "".join(sick.said)


def test_plaintext_in_a_stash_or_a_merged_branch_is_found(sick: Patient, sops: SopsLab) -> None:
    committed(sick)
    in_plain(sops)
    git(sick.lab, "stash")
    assert sick.severity("KT403") == "ok"
    assert sick.severity("KT411") == "error"


def test_decrypted_texts_that_git_keeps_are_thrown_away(sick: Patient, sops: SopsLab) -> None:
    (sick.lab / ".gitattributes").write_text("*.enc.env diff=sops\n")
    shutil.copy(sops.store, sick.lab / "mine.enc.env")
    committed(sick)
    (sick.lab / "mine.enc.env").write_text(f"{NAME}={OLD_KEY}\n")
    git(sick.lab, "commit", "-qam", "more")
    for name, value in (("textconv", "cat"), ("cachetextconv", "true")):
        git(sick.lab, "config", f"diff.sops.{name}", value)
    git(sick.lab, "log", "-p")
    assert "refs/notes/textconv/sops" in git(sick.lab, "for-each-ref")
    assert sick.leads_back("KT412")
    assert "textconv" not in git(sick.lab, "for-each-ref")


def in_keyring(sick: Patient) -> None:
    """Have the lab ask the keyring first."""
    file = sick.lab / "lab.toml"
    text = file.read_text()
    file.write_text(text.replace('sources = ["', f'sources = ["keyring:keyturn#{NAME}", "', 1))


@pytest.mark.parametrize(
    ("state", "words"),
    [("locked", "is locked"), ("none", "no Secret Service"), ("no-bus", "no D-Bus")],
)
def test_a_keyring_that_does_not_open_is_said(
    sick: Patient, secret_service: Start, state: str, words: str
) -> None:
    in_keyring(sick)
    secret_service(state=state, items={("keyturn", NAME): KEY} if state == "locked" else {})
    (row,) = sick.findings("KT413")["KT413"]
    assert (row["severity"], words in row["seen"], row["command"]) == ("warning", True, None), row
    assert row["mend"]


def test_a_keyring_that_never_answers_hides_nothing_else(
    sick: Patient, secret_service: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_secrets, "_SOURCES_S", 0.3)
    monkeypatch.setattr(doctor_keyring, "ANSWER_S", 0.5)
    in_keyring(sick)
    secret_service(state="stalled", items={("keyturn", NAME): KEY})
    sick.write(".config/sops/age/keys.txt", "# none\n", 0o644)
    found = sick.findings("KT0", "KT4")
    assert "did not answer" in found["KT413"][0]["seen"]
    assert "KT401" in found


def with_plaintext(code: str) -> str:
    """Have the package keyring do something with keyrings.alt: `n` is the name, `v` a value."""
    script = f"import sys; from {PLAINTEXT} import PlaintextKeyring; k = PlaintextKeyring(); "
    argv = [sys.executable, "-c", f"{script}n, v = sys.argv[1], sys.stdin.read(); {code}", NAME]
    done = subprocess.run(argv, input=OLD_KEY, text=True, check=True, capture_output=True)
    return done.stdout.strip()


def test_a_keyring_that_is_open_is_fine_and_one_that_keeps_plaintext_is_not(
    sick: Patient, secret_service: Start
) -> None:
    in_keyring(sick)
    secret_service(items={("keyturn", NAME): KEY})
    assert sick.severity("KT413") == "ok"
    # What keyring takes by itself where it finds no bus.
    with_plaintext("k.set_password('keyturn', n, v); k.set_password('elsewhere', n, 'theirs')")
    assert sick.severity("KT414") == "warning"
    assert sick.leads_back("KT414")
    held = with_plaintext("print(k.get_password('keyturn', n), k.get_password('elsewhere', n))")
    assert held == "None theirs"
    sick.environment["PYTHON_KEYRING_BACKEND"] = f"{PLAINTEXT}.PlaintextKeyring"
    (row,) = sick.findings("KT413")["KT413"]
    assert "keyturn does not trust" in row["seen"]
    assert not [key for key in (KEY, OLD_KEY) if key in "".join(sick.said)]
