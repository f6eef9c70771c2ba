"""Each fault of the stores and of where keys lie, planted: found, said, mended where safe."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import doctor_secrets
from bootstrap.domain.doctor.check import diagnose
from bootstrap.domain.doctor.checks_secrets import SECRETS
from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.facts_secrets import SecretsFacts, StoreFacts
from bootstrap.domain.doctor.finding import CommandFix, Severity
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.secret import Secret
from support.doctor import KEY, LAB, OLD_KEY, PORT, Patient, patient
from support.fakes import make_places
from support.homes import AgeIdentity

pytestmark = pytest.mark.integration

STORE = "lab/secrets/global.enc.env"
SOUND = """\
LITELLM_MASTER_KEY=ENC[AES256_GCM,data:aaaa,iv:bbbb,tag:cccc,type:str]
sops_age__list_0__map_recipient=age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq
sops_mac=ENC[AES256_GCM,data:dddd,type:str]
sops_version=3.11.0
"""
ENV = ".config/lab-secrets/litellm.env"
Plant = Callable[[Patient], object]


def put(path: str, content: object, mode: int = 0o600) -> Plant:
    return lambda sick: sick.write(path, content, mode)


def in_git(sick: Patient) -> None:
    git(sick, "init", "-q")
    git(sick, "config", "user.email", "me@lab.invalid")
    git(sick, "config", "user.name", "me")


def git(sick: Patient, *words: str) -> None:
    subprocess.run(["git", "-C", str(sick.lab), *words], check=True, capture_output=True)


def both(*plants: Plant) -> Plant:
    def plant(sick: Patient) -> None:
        for one in plants:
            one(sick)

    return plant


def committed(sick: Patient) -> None:
    in_git(sick)
    sick.write(STORE, f"LITELLM_MASTER_KEY={OLD_KEY}\n")
    git(sick, "add", ".")
    git(sick, "commit", "-qm", "oops")
    sick.write(STORE, SOUND)
    git(sick, "commit", "-qam", "encrypted")


def committed_elsewhere(sick: Patient) -> None:
    in_git(sick)
    sick.write(STORE, SOUND)
    git(sick, "add", "secrets")
    git(sick, "commit", "-qm", "encrypted")
    git(sick, "checkout", "-qb", "try")
    sick.write(STORE, f"LITELLM_MASTER_KEY={OLD_KEY}\n")
    git(sick, "commit", "-qam", "oops")
    git(sick, "rm", "-qr", "secrets")
    git(sick, "commit", "-qm", "gone")
    git(sick, "checkout", "-q", "-")


def in_keyring(sick: Patient) -> None:
    file = sick.lab / "lab.toml"
    more = '[secrets.A_KEY]\nsources = ["keyring:keyturn#LITELLM_MASTER_KEY"]\n[backends'
    file.write_text(file.read_text().replace("[backends", more, 1))


def caching(sick: Patient) -> None:
    in_git(sick)
    git(sick, "config", "diff.sops.cachetextconv", "true")
    git(sick, "config", "diff.other.cachetextconv", "false")


RULES = "creation_rules:\n  - path_regex: secrets/.*\n    age: {}\n"
OTHER = "age1" + "p" * 40
LOGIN = ".config/environment.d/lab.conf"
PLAIN = ".local/share/python_keyring/keyring_pass.cfg"
ENTRY = "litellm_5fmaster_5fkey = \n\tc2st\n\tdGVz\n"
LEFT = f"[other]\n{ENTRY}\n[keyturn]\n{ENTRY}mine = \n\tYQ==\n"
IDENTITY = ".config/sops/age/keys.txt"
FAULTS: dict[str, tuple[str, Plant, str, str]] = {
    "an identity for everybody": ("KT401", put(IDENTITY, "# none\n", 0o644), "error", "mode 0644"),
    "an identity that is none": ("KT402", put(IDENTITY, "hello\n"), "warning", "something else"),
    "a variable that names no file": (
        "KT402",
        lambda s: s.environment.update(SOPS_AGE_KEY_FILE=f"{s.home}/gone"),
        "warning",
        "/home/gone, which is not there",
    ),
    "plaintext": ("KT403", put(STORE, f"A={OLD_KEY}\n"), "error", "it is not encrypted"),
    "an empty store": ("KT403", put(STORE, ""), "error", "it is empty"),
    "a store cut off": ("KT403", put(STORE, SOUND.partition("\n")[0] + "\n"), "error", "its end"),
    "CR LF": ("KT403", put(STORE, SOUND.replace("\n", "\r\n").encode()), "error", "CR LF"),
    "a name twice": (
        "KT403",
        put(STORE, SOUND.partition("\n")[0] + "\n" + SOUND),
        "error",
        "LITELLM_MASTER_KEY stands in it twice",
    ),
    "a name in the clear": (
        "KT403",
        put(STORE, f"A_unencrypted={OLD_KEY}\n{SOUND}"),
        "error",
        "A_unencrypted is in the clear",
    ),
    "a folder": (
        "KT403",
        lambda s: (s.home / STORE).mkdir(parents=True),
        "error",
        "global.enc.env",
    ),
    "one recipient": ("KT404", put(STORE, SOUND), "note", "one age recipient"),
    "an env file for everybody": ("KT405", put(ENV, "A='b'\n", 0o640), "error", "mode 0640"),
    "an env file with export": ("KT406", put(ENV, f"export A={OLD_KEY}\n"), "warning", "line 1"),
    "a stale key in the shell": (
        "KT408",
        lambda s: s.environment.update(LITELLM_MASTER_KEY=OLD_KEY),
        "warning",
        Secret(OLD_KEY).fingerprint(),
    ),
    "sources that disagree": (
        "KT407",
        lambda s: s.environment.update(LITELLM_MASTER_KEY=OLD_KEY),
        "warning",
        "env:LITELLM_MASTER_KEY disagrees with file:",
    ),
    "no .gitattributes": ("KT410", in_git, "warning", "lacks *.enc.env -text"),
    "half a .gitattributes": (
        "KT410",
        both(in_git, put("lab/.gitattributes", "*.enc.env -text\n*.png binary")),
        "warning",
        "lacks *.enc.json -text",
    ),
    "plaintext in the history": ("KT411", committed, "error", "in commit "),
    "plaintext in another branch": ("KT411", committed_elsewhere, "error", "in commit "),
    "a keyring without a desktop": ("KT413", in_keyring, "warning", "no D-Bus"),
    "a key in a plaintext keyring": (
        "KT414",
        both(in_keyring, put(PLAIN, LEFT)),
        "warning",
        "keyring_pass.cfg holds litellm_master_key of keyturn",
    ),
    "a rule that names another recipient": (
        "KT415",
        both(put(STORE, SOUND), put("lab/.sops.yaml", RULES.format(OTHER))),
        "warning",
        f"lacks {OTHER}, is also open to age1qqq",
    ),
    "an old key for every login": (
        "KT416",
        put(LOGIN, f"# mine\nA=b\nLITELLM_MASTER_KEY='{OLD_KEY}'\nEDITOR=vi"),
        "warning",
        "which is not in force",
    ),
    "a cache of plaintext": ("KT412", caching, "error", "diff.sops.cachetextconv is on"),
}
MENDED = {
    "an identity for everybody": (IDENTITY, None),
    "an env file for everybody": (ENV, None),
    "a key in a plaintext keyring": (
        PLAIN,
        f"[other]\n{ENTRY}\n[keyturn]\nmine = \n\tYQ==\n",
    ),
    "an old key for every login": (LOGIN, "# mine\nA=b\nEDITOR=vi"),
    "half a .gitattributes": (
        "lab/.gitattributes",
        "*.enc.env -text\n*.png binary\n*.enc.json -text\n*.enc.yaml -text\n",
    ),
}


@pytest.fixture
def sick(home: Path) -> Patient:
    """A home whose lab asks a file, then an encrypted store, then the environment."""
    made = patient(home)
    file = made.lab / "lab.toml"
    more = '", "sops:secrets/global.enc.env#LITELLM_MASTER_KEY", "env:LITELLM_MASTER_KEY"]'
    file.write_text(file.read_text().replace('/key"]', f"/key{more}"))
    assert more in file.read_text()
    return made


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_said(sick: Patient, fault: str) -> None:
    code, plant, severity, words = FAULTS[fault]
    plant(sick)
    found = sick.findings("KT4")[code]
    assert {row["severity"] for row in found} == {severity}
    assert any(words in row["seen"] for row in found), found
    assert all(row["why"] and row["mend"] for row in found)
    said = "".join(sick.said)
    assert (KEY in said, OLD_KEY in said) == (False, False)


BY_COMMAND = {
    "CR LF",
    "an identity for everybody",
    "an env file for everybody",
    "sources that disagree",
    "a stale key in the shell",
    "no .gitattributes",
    "half a .gitattributes",
    "a key in a plaintext keyring",
    "an old key for every login",
    "a cache of plaintext",
}
# Only sops itself can make and mend that, see tests/scenarios/test_doctor_real_secrets.py.
BY_SOPS = {"a rule that names another recipient", "plaintext"}


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - BY_SOPS))
def test_who_does_what_doctor_says_gets_back_to_green(sick: Patient, fault: str) -> None:
    code, plant, *_ = FAULTS[fault]
    plant(sick)
    assert sick.leads_back(code) or fault not in BY_COMMAND


@pytest.mark.parametrize("fault", MENDED)
def test_what_is_safe_to_mend_is_mended_and_can_be_taken_back(sick: Patient, fault: str) -> None:
    code, plant, *_ = FAULTS[fault]
    plant(sick)
    sick.write(STORE, SOUND)
    path, wanted = MENDED[fault]
    assert sick.mends(code) == [sick.home / path]
    sick.fix(code)
    file = sick.home / path
    assert file.read_text() == wanted if wanted else file.stat().st_mode & 0o777 == 0o600


def test_a_well_home_has_nothing(sick: Patient) -> None:
    sick.write(IDENTITY, "# none\n")
    sick.write(ENV, "A='b'\n")
    assert sick.findings("KT4").keys() <= {"KT403"}
    sick.write(
        STORE, SOUND.replace("qqq\n", "qqq\nsops_age__list_1__map_recipient=age1" + "p" * 40 + "\n")
    )
    assert sick.findings("KT4") == {}


def test_without_a_lab_the_identities_are_looked_at_nevertheless(sick: Patient) -> None:
    (sick.lab / "lab.toml").unlink()
    sick.write(IDENTITY, "# none\n", 0o644)
    assert set(sick.findings("KT4")) == {"KT401"}


def test_a_key_that_systemd_hands_out_is_taken_from_it(
    sick: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"LITELLM_MASTER_KEY": Secret(OLD_KEY), "PATH": Secret("/bin")}
    monkeypatch.setattr(doctor_secrets, "session_environment", lambda: held)
    (finding,) = sick.findings("KT409")["KT409"]
    assert "not in force" in finding["seen"]
    assert finding["mend"] == "systemctl --user unset-environment LITELLM_MASTER_KEY"
    assert OLD_KEY not in "".join(sick.said)


def test_the_command_that_systemd_forgets_a_key_with_is_a_fix() -> None:
    facts = SecretsFacts(session={"A_KEY": Secret(KEY)})
    (found,) = diagnose(scene(facts), [SECRETS], ["KT409"])
    assert isinstance(found.fixes[0], CommandFix)
    assert found.fixes[0].argv[-1] == "A_KEY"


def scene(facts: SecretsFacts) -> Observations:
    text = LAB.format(port=PORT, key="/key", more="")
    lab, places = parse_lab(text, PurePath("/lab"), None), make_places(Path("/home/me"))
    return Observations(places, PurePath("/"), "keyturn", {}, lab, Secret(KEY), secrets=facts)


def test_what_cannot_be_read_is_said_not_judged() -> None:
    broken = FoundFile(PurePath("/x"), problem="permission denied")
    facts = SecretsFacts(stores=(StoreFacts(broken),), env_files=(broken,), attributes=broken)
    fine = (Severity.OK, Severity.NOT_APPLICABLE)
    found = [f for f in diagnose(scene(facts), [SECRETS]) if f.severity not in fine]
    assert {f.code for f in found} == {"KT403", "KT406"}
    assert all("permission denied" in f.seen for f in found)
    assert json.dumps([f.seen for f in found])
    none = replace(facts, stores=(), env_files=())
    assert {f.severity for f in diagnose(scene(none), [SECRETS])} == set(fine)


def test_a_rule_that_would_lock_its_reader_out_is_an_error_without_that_command(
    sick: Patient, age_identity: AgeIdentity
) -> None:
    sick.write(STORE, SOUND.replace("age1" + "q" * 39, age_identity.recipient))
    sick.write("lab/.sops.yaml", RULES.format(OTHER))
    (finding,) = sick.findings("KT415")["KT415"]
    assert (finding["severity"], "lock you out" in finding["seen"]) == ("error", True)
    assert finding["mend"] == f"add {age_identity.recipient} to ~/lab/.sops.yaml first"


def test_a_store_that_is_encrypted_as_its_rule_says_is_fine(sick: Patient) -> None:
    sick.write(STORE, SOUND)
    held = "age1" + "q" * 39
    for rules in (
        RULES.format(held),
        f"creation_rules:\n  - path_regex: nothing\n  - key_groups:\n      - age: [{held}]\n",
        RULES.replace("secrets/.*", "[").format(OTHER),
        "creation_rules: {}\n",
        "[",
        "creation_rules: [x]\n",
    ):
        sick.write("lab/.sops.yaml", rules)
        assert "KT415" not in sick.findings("KT415"), rules


def test_a_plaintext_keyring_that_does_not_parse_is_not_judged(sick: Patient) -> None:
    in_keyring(sick)
    sick.write(PLAIN, "c2st\n")
    assert sick.severity("KT414") == "ok"


def test_every_code_of_the_group_has_a_fault() -> None:
    planted = {row[0] for row in FAULTS.values()} | {"KT409"}
    assert planted == {code.id for code in SECRETS.codes}
    fixable = {FAULTS[fault][0] for fault in MENDED} | {"KT409"}
    assert fixable == {code.id for code in SECRETS.codes if code.fixable}
