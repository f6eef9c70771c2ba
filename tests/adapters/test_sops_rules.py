"""The rules of dealing with sops that running it taught, one test each, named by its number.

Rule 10 is about the keyring and rule 11 about `keyturn exec`; of these only what sops and child
processes have to do with them is here.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap.adapters.process import run, scrubbed
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.errors import LabError, SecretError, StoreDamagedError
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from support.sops_lab import PLACE, REAL_SOPS, SopsLab, fake_sops, make_lab

pytestmark = pytest.mark.integration

KEY = "sk-test-sops-0123456789"
NEXT = "sk-test-next-1111111111"
REF = SecretRef("sops", PLACE, "KEY")
TYPES = ("--input-type", "dotenv", "--output-type", "dotenv")


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> SopsLab:
    """A lab whose store holds KEY."""
    made = make_lab(tmp_path / "lab", home)
    made.put({"KEY": KEY})
    return made


@pytest.fixture
def noted(tmp_path: Path) -> dict[str, str]:
    """Variables for a sops that notes its arguments and folder in `runs`, its input in `input`."""
    body = (
        f'printf "%s|" "$PWD" "$@" >> {tmp_path}/runs; echo >> {tmp_path}/runs\n'
        f'cat > {tmp_path}/input\n[ "$1" = set ] && cp {tmp_path}/input {tmp_path}/value\n'
        f'exec {REAL_SOPS} "$@" < {tmp_path}/input'
    )
    return {**os.environ, "KEYTURN_SOPS": fake_sops(tmp_path / "noted", body)}


def runs(tmp_path: Path) -> list[list[str]]:
    """Return the folder and the arguments of each run."""
    return [line.split("|")[:-1] for line in (tmp_path / "runs").read_text().splitlines()]


def test_rule_1_sops_never_writes_the_real_file(
    lab: SopsLab, tmp_path: Path, noted: dict[str, str]
) -> None:
    SopsProvider(lab.root, noted).write(REF, Secret(NEXT))
    assert all(str(lab.store) not in words for words in runs(tmp_path))
    (scratch,) = [words[-2] for words in runs(tmp_path) if words[1] == "set"]
    assert re.fullmatch(rf"{lab.store.parent}/\.global\.enc\.env\.[0-9a-f]{{12}}\.tmp", scratch)
    assert lab.values() == {"KEY": NEXT}


def test_rule_2_values_go_in_as_json_strings_through_stdin(
    lab: SopsLab, tmp_path: Path, noted: dict[str, str]
) -> None:
    for text in ("null", "12", 'a "quoted" \\n value'):
        SopsProvider(lab.root, noted).write(REF, Secret(text))
        assert (tmp_path / "value").read_text() == json.dumps(text)
        assert SopsProvider(lab.root).read(REF) == Secret(text)


def test_rule_2_a_store_that_was_set_to_null_is_recognised_and_the_advice_repairs_it(
    lab: SopsLab,
) -> None:
    lab.sops("set", *TYPES, "--value-stdin", str(lab.store), '["NUL"]', stdin="null")
    with pytest.raises(StoreDamagedError) as caught:
        SopsProvider(lab.root).read(REF)
    assert "line 2 was set to null" in caught.value.why
    command = caught.value.fix.removeprefix("delete that line: ").split(",")[0]
    subprocess.run(command, shell=True, check=True)  # noqa: S602 - as a person would
    assert SopsProvider(lab.root).read(REF) == Secret(KEY)


@pytest.mark.parametrize("name", ["A=B", "A\nB", "#A", "sops_mac", "A_unencrypted", "A B"])
def test_rule_3_names_that_brick_or_expose_are_refused(lab: SopsLab, name: str) -> None:
    before = lab.store.read_bytes()
    with pytest.raises(SecretError, match="its name does not fit"):
        SopsProvider(lab.root).write(SecretRef("sops", PLACE, name), Secret(NEXT))
    assert lab.store.read_bytes() == before


def test_rule_3_a_value_in_the_clear_is_noticed(lab: SopsLab) -> None:
    lab.sops("set", *TYPES, str(lab.store), '["A_unencrypted"]', f'"{NEXT}"')
    assert NEXT in lab.store.read_text()
    with pytest.raises(StoreDamagedError, match="A_unencrypted is in the clear"):
        SopsProvider(lab.root).read(REF)


def test_rule_4_values_are_read_as_json_and_duplicates_are_refused(lab: SopsLab) -> None:
    lines = lab.store.read_text().splitlines(keepends=True)
    lab.store.write_text(lines[0] + "".join(lines))
    with pytest.raises(StoreDamagedError, match="KEY stands in it twice"):
        SopsProvider(lab.root).read(REF)


def test_rule_4_a_line_with_export_is_not_taken_for_the_name(lab: SopsLab) -> None:
    types = ("--input-type", "dotenv", "--output-type", "dotenv")
    text = lab.sops("encrypt", *types, "--filename-override", PLACE, stdin=f"export KEY={KEY}\n")
    lab.store.write_text(text)
    with pytest.raises(StoreDamagedError, match="line 1 has 'export'"):
        SopsProvider(lab.root).read(REF)


def test_rule_5_what_sops_complains_is_never_repeated(lab: SopsLab, tmp_path: Path) -> None:
    for code in (1, 25, 51, 128, 200):
        fake = fake_sops(tmp_path / "sops", f"echo '{KEY}'; echo 'line: {KEY}' >&2; exit {code}")
        provider = SopsProvider(lab.root, {**os.environ, "KEYTURN_SOPS": fake})
        with pytest.raises(LabError) as caught:
            provider.read(REF)
        error = caught.value
        assert KEY not in f"{error.what} {error.why} {error.fix} {error!r} {error.args}"
        assert error.__cause__ is None


def test_rule_6_the_type_is_always_given(
    lab: SopsLab, tmp_path: Path, noted: dict[str, str]
) -> None:
    provider = SopsProvider(lab.root, noted)
    provider.write(REF, Secret(NEXT))
    provider.create("secrets/new.enc.env", {"KEY": Secret(NEXT)})
    assert len(runs(tmp_path)) == 5
    for words in runs(tmp_path):
        assert {"--input-type", "--output-type"} <= set(words)


def encrypting_folders(folder: Path) -> set[str]:
    """Return where sops ran when it needed a rule; for decrypting SOPS_CONFIG names the file."""
    return {words[0] for words in runs(folder) if words[1] != "decrypt"}


def test_rule_7_sops_runs_where_its_rules_are(
    lab: SopsLab, tmp_path: Path, noted: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    inner = lab.root / "secrets" / "team"
    inner.mkdir()
    provider = SopsProvider(lab.root, noted)
    provider.create("secrets/team/a.enc.env", {"KEY": Secret(KEY)})
    assert encrypting_folders(tmp_path) == {str(lab.root)}
    (tmp_path / "runs").unlink()
    (inner / ".sops.yaml").write_text((lab.root / ".sops.yaml").read_text().replace("secrets/", ""))
    provider.create("secrets/team/b.enc.env", {"KEY": Secret(KEY)})
    assert encrypting_folders(tmp_path) == {str(inner)}


def test_rule_8_sops_has_no_input_to_wait_for_no_terminal_and_a_limit(
    lab: SopsLab, tmp_path: Path
) -> None:
    body = f"cut -d' ' -f6,7 /proc/self/stat > {tmp_path}/session; cat >/dev/null; exit 1"
    fake = fake_sops(tmp_path / "sops", body)
    with pytest.raises(SecretError):
        SopsProvider(lab.root, {**os.environ, "KEYTURN_SOPS": fake}).read(REF)
    session, terminal = (tmp_path / "session").read_text().split()
    assert int(session) != os.getsid(0)
    assert terminal == "0"


def test_rule_9_tests_do_not_see_the_identities_of_the_person_who_runs_them(
    lab: SopsLab, home: Path
) -> None:
    lab.identity.path.unlink()
    assert not [name for name in os.environ if name.startswith("SOPS_")]
    assert Path.home() == home
    with pytest.raises(SecretError, match="no identity here"):
        SopsProvider(lab.root).read(REF)


def test_rule_10_reading_a_store_never_falls_back_to_a_keyring(lab: SopsLab) -> None:
    program = (
        "import sys; from bootstrap.adapters.sops import SopsProvider;"
        "from bootstrap.domain.ref import SecretRef;"
        f"SopsProvider({str(lab.root)!r}).read(SecretRef('sops', {PLACE!r}, 'KEY'));"
        "print('keyring' in sys.modules)"
    )
    assert run((sys.executable, "-c", program), timeout_s=60).stdout == b"False\n"


def test_rule_11_what_a_program_inherits_opens_no_store(
    lab: SopsLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOPS_AGE_KEY", lab.identity.path.read_text())
    lab.identity.path.unlink()
    assert SopsProvider(lab.root).read(REF) == Secret(KEY)
    with pytest.raises(SecretError, match="no identity here"):
        SopsProvider(lab.root, scrubbed(os.environ)).read(REF)


def test_rule_12_generated_keys_are_the_same_bytes_everywhere(lab: SopsLab) -> None:
    key = "sk-" + secrets.token_urlsafe(32)
    SopsProvider(lab.root).write(REF, Secret(key))
    text = lab.sops("decrypt", *TYPES, str(lab.store))
    assert text == f"KEY={key}\n"
    shell = subprocess.run(
        ("sh", "-c", f'{text}printf %s "$KEY"'), capture_output=True, text=True, check=True
    )
    assert shell.stdout == key
