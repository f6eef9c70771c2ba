"""Reading encrypted files, with the real sops."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import sops_commands
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.errors import (
    LabError,
    ProviderUnavailableError,
    SecretError,
    SecretNotFoundError,
    StoreDamagedError,
)
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support import homes
from support.sops_lab import PLACE, REAL_SOPS, RULES, SopsLab, fake_sops, make_lab

pytestmark = pytest.mark.integration

KEY = "sk-test-sops-0123456789"
OTHER = "sk-test-other-9876543210"
REF = SecretRef("sops", PLACE, "KEY")


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> SopsLab:
    """A lab whose store holds KEY, OTHER and EMPTY."""
    made = make_lab(tmp_path / "lab", home)
    made.put({"KEY": KEY, "OTHER": OTHER, "EMPTY": ""})
    return made


def read(lab: SopsLab, ref: SecretRef = REF, environ: dict[str, str] | None = None) -> Secret:
    return SopsProvider(lab.root, environ).read(ref)


def refusal(lab: SopsLab, ref: SecretRef = REF, environ: dict[str, str] | None = None) -> LabError:
    """Return the error of reading, after checking that it quotes nothing and helps."""
    with pytest.raises(LabError) as caught:
        read(lab, ref, environ)
    error = caught.value
    said = f"{error.what} {error.why} {error.fix}"
    assert error.why
    assert error.fix
    assert KEY not in said
    assert OTHER not in said
    return error


def edit(lab: SopsLab, old: str, new: str, count: int = -1) -> None:
    text = lab.store.read_text()
    assert old in text
    lab.store.write_text(text.replace(old, new, count))


def counting_sops(folder: Path) -> dict[str, str]:
    """Return variables under which each run of sops leaves its arguments in `runs`."""
    body = f'echo "$@" >> {folder}/runs\nexec {REAL_SOPS} "$@"'
    return {**os.environ, "KEYTURN_SOPS": fake_sops(folder / "counting", body)}


def test_a_file_is_decrypted_once_for_all_its_names(lab: SopsLab, tmp_path: Path) -> None:
    provider = SopsProvider(lab.root, counting_sops(tmp_path))
    assert provider.read(REF) == Secret(KEY)
    assert provider.read(SecretRef("sops", PLACE, "OTHER")) == Secret(OTHER)
    assert provider.document(PLACE) == {"KEY": Secret(KEY), "OTHER": Secret(OTHER)}
    assert (tmp_path / "runs").read_text().splitlines() == [
        "decrypt --input-type dotenv --output-type json"
    ]


def test_a_file_that_changed_is_decrypted_again(lab: SopsLab) -> None:
    provider = SopsProvider(lab.root)
    assert provider.read(REF) == Secret(KEY)
    lab.put({"KEY": OTHER})
    assert provider.read(REF) == Secret(OTHER)


def test_names_are_listed_without_sops_or_a_key(lab: SopsLab) -> None:
    environ = {"KEYTURN_SOPS": "/none"}
    assert SopsProvider(lab.root, environ).names(PLACE) == ("KEY", "OTHER", "EMPTY")


def test_a_file_that_is_not_there_has_no_names_and_no_secrets(lab: SopsLab) -> None:
    provider = SopsProvider(lab.root)
    assert provider.names("secrets/none.enc.env") == ()
    assert provider.document("secrets/none.enc.env") == {}
    error = refusal(lab, SecretRef("sops", "secrets/none.enc.env", "KEY"))
    assert isinstance(error, SecretNotFoundError)
    assert error.why == f"there is no file {lab.root}/secrets/none.enc.env"


def test_a_file_outside_the_lab_is_named_by_its_path_or_from_home(
    lab: SopsLab, home: Path, tmp_path: Path
) -> None:
    shutil.copy(lab.store, home / "mine.env")
    shutil.copy(lab.store, tmp_path / "mine.env")
    assert read(lab, SecretRef("sops", "~/mine.env", "KEY")) == Secret(KEY)
    assert read(lab, SecretRef("sops", str(tmp_path / "mine.env"), "KEY")) == Secret(KEY)


def test_a_lab_folder_that_is_not_there_is_no_obstacle_to_other_files(
    lab: SopsLab, home: Path
) -> None:
    shutil.copy(lab.store, home / "mine.env")
    provider = SopsProvider(PurePath("/no/such/lab"))
    assert provider.read(SecretRef("sops", "~/mine.env", "KEY")) == Secret(KEY)


@pytest.mark.parametrize("name", ["EMPTY", "NONE"])
def test_an_empty_value_counts_as_missing(lab: SopsLab, name: str) -> None:
    error = refusal(lab, SecretRef("sops", PLACE, name))
    assert isinstance(error, SecretNotFoundError)
    assert name in error.why


def test_json_and_yaml_stores_are_read_too(lab: SopsLab) -> None:
    values = {"KEY": KEY, "N": 1.50, "B": True, "Z": None, "T": {"in": OTHER}, "F": False}
    for end in ("json", "yaml", "yml"):
        place = f"secrets/more.enc.{end}"
        lab.put(values, place)
        found = {n: SecretRef("sops", place, n) for n in values}
        assert read(lab, found["KEY"]) == Secret(KEY)
        assert read(lab, found["N"]) == Secret("1.5")
        assert read(lab, found["B"]) == Secret("true")
        assert read(lab, found["F"]) == Secret("false")
        assert isinstance(refusal(lab, found["T"]), SecretNotFoundError)
        error = refusal(lab, found["Z"])
        assert isinstance(error, StoreDamagedError)
        assert "is null" in error.what
        assert SopsProvider(lab.root).names(place) == tuple(values)


def test_a_number_is_read_as_its_digits(lab: SopsLab) -> None:
    index = '["KEY"]'
    types = ("--input-type", "dotenv", "--output-type", "dotenv")
    lab.sops("set", *types, "--value-stdin", str(lab.store), index, stdin="12")
    assert read(lab) == Secret("12")


def test_a_name_without_a_type_is_refused_before_anything_is_read(lab: SopsLab) -> None:
    ref = SecretRef("sops", "secrets/global.enc.env.tmp", "KEY")
    assert "must end in .env" in str(SopsProvider(lab.root).unavailable(ref))
    assert isinstance(refusal(lab, ref), ProviderUnavailableError)


def test_a_store_can_be_tried_even_before_it_exists(lab: SopsLab) -> None:
    provider = SopsProvider(lab.root)
    assert provider.unavailable(REF) is None
    assert provider.unavailable(SecretRef("sops", "secrets/new.enc.env", "KEY")) is None


def test_without_sops_a_store_is_unavailable(lab: SopsLab) -> None:
    environ = {"KEYTURN_SOPS": "/none"}
    assert "KEYTURN_SOPS" in str(SopsProvider(lab.root, environ).unavailable(REF))
    assert isinstance(refusal(lab, REF, environ), ProviderUnavailableError)


def test_a_provider_does_not_print_what_it_decrypted(lab: SopsLab) -> None:
    provider = SopsProvider(lab.root)
    provider.read(REF)
    assert repr(provider) == f"SopsProvider('{lab.root}')"


# Stores that are not sound.


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("KEY=ENC", "KEY=EXC", "was changed"),
        ("KEY=ENC", "RENAMED=ENC", "was changed"),
        ("sops_mac=ENC", "sops_mac=EXC", "checksum"),
        ("KEY=", "KEY=plain\nNOTHING=", "was changed"),
        ("sops_lastmodified=2", "sops_lastmodified=x2", "damaged"),
    ],
)
def test_a_store_changed_without_sops_is_damaged(
    lab: SopsLab, old: str, new: str, why: str
) -> None:
    edit(lab, old, new, 1)
    error = refusal(lab)
    assert isinstance(error, StoreDamagedError)
    assert why in error.why
    assert "git checkout" in error.fix


def test_a_line_deleted_by_hand_is_noticed(lab: SopsLab) -> None:
    lines = lab.store.read_text().splitlines(keepends=True)
    lab.store.write_text("".join(line for line in lines if not line.startswith("OTHER=")))
    assert "checksum" in refusal(lab).why


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.7])
def test_a_truncated_store_is_told_from_a_plain_one(lab: SopsLab, part: float) -> None:
    data = lab.store.read_bytes()
    lab.store.write_bytes(data[: int(len(data) * part)])
    error = refusal(lab)
    assert isinstance(error, StoreDamagedError)
    assert "cut off" in error.why


def test_a_plain_file_is_not_read_as_a_store(lab: SopsLab) -> None:
    lab.store.write_text(f"KEY={KEY}\n")
    error = refusal(lab)
    assert isinstance(error, StoreDamagedError)
    assert "not encrypted" in error.why


def test_json_under_a_yaml_name_and_the_like_is_explained(lab: SopsLab) -> None:
    target = lab.root / "secrets/wrong.enc.json"
    shutil.copy(lab.store, target)
    error = refusal(lab, SecretRef("sops", "secrets/wrong.enc.json", "KEY"))
    assert isinstance(error, StoreDamagedError)
    assert error.why == "it is not JSON"


def test_a_folder_in_its_place_is_not_a_store(lab: SopsLab) -> None:
    lab.store.unlink()
    lab.store.mkdir()
    assert "not a regular file" in refusal(lab).why


def test_a_store_that_may_not_be_read_says_why(lab: SopsLab) -> None:
    lab.store.unlink()
    lab.store.symlink_to(lab.store.name)
    error = refusal(lab)
    assert isinstance(error, ProviderUnavailableError)
    assert error.why == "too many levels of symbolic links"


def test_a_plaintext_line_that_sops_would_quote_is_not_quoted(lab: SopsLab) -> None:
    edit(lab, "sops_mac=", f"{KEY}\nsops_mac=")
    types = ("--input-type", "dotenv", "--output-type", "json")
    command = (str(REAL_SOPS), "decrypt", *types, str(lab.store))
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert KEY in ended.stderr  # sops does: rule 5
    assert refusal(lab).why == "line 7 is not NAME=VALUE"


def test_a_name_twice_in_what_sops_prints_is_refused(lab: SopsLab, tmp_path: Path) -> None:
    for text in (f'{{"KEY": "{KEY}", "KEY": "{OTHER}"}}', f"[{KEY}", '["x"]'):
        fake = fake_sops(tmp_path / "sops", f"cat >/dev/null; printf '%s' '{text}'")
        assert isinstance(refusal(lab, REF, {**os.environ, "KEYTURN_SOPS": fake}), SecretError)


# Identities.


def without_identity(lab: SopsLab, **more: str) -> dict[str, str]:
    lab.identity.path.unlink(missing_ok=True)
    return {**os.environ, **more}


def test_without_an_identity_the_store_is_unavailable(lab: SopsLab) -> None:
    error = refusal(lab, REF, without_identity(lab))
    assert isinstance(error, ProviderUnavailableError)
    assert error.why == "there is no identity here that opens it"
    assert "keys.txt" in error.fix


def test_another_identity_does_not_open_it(lab: SopsLab, home: Path) -> None:
    homes.write_age_identity(home)
    assert "none of the age identities here" in refusal(lab).why


def test_an_identity_file_that_is_not_there_or_is_garbage_is_named(
    lab: SopsLab, tmp_path: Path
) -> None:
    environ = without_identity(lab, SOPS_AGE_KEY_FILE=str(tmp_path / "none"))
    assert "SOPS_AGE_KEY_FILE" in refusal(lab, REF, environ).fix
    (tmp_path / "none").write_text("garbage\n")
    assert "not in age's format" in refusal(lab, REF, environ).why


def test_identities_reach_sops_by_every_variable(lab: SopsLab, tmp_path: Path) -> None:
    text = lab.identity.path.read_text()
    moved = tmp_path / "moved.txt"
    moved.write_text(text)
    for name, value in (("SOPS_AGE_KEY", text), ("SOPS_AGE_KEY_FILE", str(moved))):
        assert read(lab, REF, without_identity(lab, **{name: value})) == Secret(KEY)


def test_a_relative_identity_file_means_our_folder_not_the_labs(
    lab: SopsLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moved.txt").write_text(lab.identity.path.read_text())
    monkeypatch.chdir(tmp_path)
    environ = without_identity(lab, SOPS_AGE_KEY_FILE="moved.txt")
    assert read(lab, REF, environ) == Secret(KEY)


def ssh_lab(lab: SopsLab, tmp_path: Path) -> dict[str, str]:
    """Encrypt the store for an SSH key with a passphrase; return variables that name it."""
    key = tmp_path / "id"
    make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "a passphrase", "-f", str(key))
    subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
    public = key.with_suffix(".pub").read_text().strip()
    (lab.root / ".sops.yaml").write_text(RULES.format(f'"{public}"'))
    lab.put({"KEY": KEY})
    return without_identity(lab, SOPS_AGE_SSH_PRIVATE_KEY_FILE=str(key))


def test_a_passphrase_is_explained_instead_of_waited_for(lab: SopsLab, tmp_path: Path) -> None:
    error = refusal(lab, REF, ssh_lab(lab, tmp_path))
    assert isinstance(error, ProviderUnavailableError)
    assert "passphrase" in error.why


def test_a_passphrase_is_not_waited_for_even_with_a_terminal(lab: SopsLab, tmp_path: Path) -> None:
    environ = ssh_lab(lab, tmp_path)
    program = (
        "import sys; from bootstrap.adapters.sops import SopsProvider;"
        "from bootstrap.domain.ref import SecretRef;"
        f"p = SopsProvider({str(lab.root)!r}); open('/dev/tty').close()\n"
        f"try: p.read(SecretRef('sops', {PLACE!r}, 'KEY'))\n"
        "except Exception as e: sys.exit(17 if 'passphrase' in e.why else 18)"
    )
    pid, terminal = pty.fork()
    if pid == 0:  # the child, with a terminal of its own
        os.execve(sys.executable, [sys.executable, "-c", program], environ)  # noqa: S606
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 17


# What sops gets.


def test_sops_gets_its_identities_and_no_key_of_ours(lab: SopsLab, tmp_path: Path) -> None:
    fake = fake_sops(tmp_path / "sops", f"env > {tmp_path}/env; exit 1")
    environ = {
        **os.environ,
        "KEYTURN_SOPS": fake,
        "SOPS_AGE_KEY": "AGE-TEST",
        "LITELLM_MASTER_KEY": KEY,
        "OPENAI_API_KEY": KEY,
        "DIRENV_DIFF": KEY,
        "AWS_PROFILE": "kms",
    }
    assert isinstance(refusal(lab, REF, environ), SecretError)
    got = (tmp_path / "env").read_text()
    assert KEY not in got
    assert "SOPS_AGE_KEY=AGE-TEST\n" in got
    assert "AWS_PROFILE=kms\n" in got
    assert "SOPS_DISABLE_VERSION_CHECK=1\n" in got
    assert f"SOPS_CONFIG={lab.root}/.sops.yaml\n" in got


def test_a_sops_that_hangs_is_ended(
    lab: SopsLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sops_commands, "TIMEOUT_S", 0.2)
    fake = fake_sops(tmp_path / "sops", "exec sleep 300")
    error = refusal(lab, REF, {**os.environ, "KEYTURN_SOPS": fake})
    assert error.why == "sops did not end within 0.2 s"


def test_a_sops_for_another_machine_is_explained(lab: SopsLab, tmp_path: Path) -> None:
    (tmp_path / "sops").write_bytes(b"\x7fELF nothing that runs here")
    (tmp_path / "sops").chmod(0o755)
    error = refusal(lab, REF, {**os.environ, "KEYTURN_SOPS": str(tmp_path / "sops")})
    assert isinstance(error, ProviderUnavailableError)
    assert "does not start: exec format error" in error.why


def test_a_broken_rule_file_above_is_named(lab: SopsLab) -> None:
    (lab.root / ".sops.yaml").write_text("creation_rules: [")
    error = refusal(lab)
    assert isinstance(error, ProviderUnavailableError)
    assert ".sops.yaml" in error.fix


def test_importing_the_provider_is_cheap() -> None:
    heavy = ("subprocess", "json", "pathlib", "typing", "dataclasses", "contextlib", "re")
    program = (
        "import sys; before = set(sys.modules); import bootstrap.adapters.sops;"
        f"print(*sorted((set(sys.modules) - before) & set({heavy!r})))"
    )
    command = (sys.executable, "-S", "-c", program)
    environ = {"PYTHONPATH": str(homes.REPOSITORY)}
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""
