"""From an empty home to a proven gateway, as a user would see it, with every real part."""

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support import forked
from support.forked import CopiesInSession
from support.homes import AgeIdentity, environment, readable_by_others, snapshot
from support.labs import (
    MASTER,
    MODULE,
    CliLab,
    Ran,
    bootstrapped,
    call,
    make,
    stopped_after,
    write_wrapper,
)
from support.sessions import UserSystemd
from support.sops_lab import REAL_SOPS
from support.waiting import until

pytestmark = pytest.mark.integration

SALT = "LITELLM_SALT_KEY"
# Different in URL form, in JSON and for a shell.
KNOWN = "sk-test-known-0123456789+/=%&?abcdef"
OTHER = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
ODD_NAMES = ("it's a lab", 'say "hi" 100%h %', "ünï ☃", "$HOME `id` \\", "new\nline", "-q")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    """A running lab."""
    with stopped_after(bootstrapped(tmp_path, home)) as made:
        yield made


# init


def test_init_writes_a_lab_that_sops_alone_can_open(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "lab"
    ran = call("init", str(root), "--port", "4711", cwd=tmp_path)
    assert ran.code == 0
    identity = home / ".config/sops/age/keys.txt"
    assert (mode(identity), mode(identity.parent)) == (0o600, 0o700)
    assert "BACK UP ~/.config/sops/age/keys.txt" in ran.out
    assert "port = 4711" in (root / "lab.toml").read_text()
    assert "AGE-SECRET-KEY" not in ran.out + "".join(
        path.read_text() for path in root.rglob("*") if path.is_file()
    )
    plain = subprocess.run(
        [REAL_SOPS, "decrypt", root / "secrets/global.enc.env"],
        cwd=root,
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    values = dict(line.split("=", 1) for line in plain.splitlines())
    assert set(values) == {MASTER, SALT, "KEYTURN_INTERNAL_KEY"}
    assert all(value.startswith("sk-") and len(value) >= 40 for value in values.values())
    assert values[MASTER] not in ran.out
    assert mode(root / "secrets/global.enc.env") == 0o600
    assert "*.dec.env" in (root / ".gitignore").read_text()
    assert "*.enc.env -text" in (root / ".gitattributes").read_text()
    assert not (home / ".config/keyturn").exists()  # only `bootstrap` registers


def test_a_second_init_changes_nothing_and_says_what_is_there(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "lab"
    call("init", str(root), cwd=tmp_path)
    before = snapshot(root), snapshot(home / ".config")
    document = call("init", str(root), "--json", cwd=tmp_path).json
    assert document["created"] == []
    assert document["new_identity"] is None
    assert {Path(path).name for path in document["kept"]} >= {"lab.toml", "global.enc.env"}
    assert "there    " in call("init", cwd=root).out
    ran = call("init", str(root), "--port", "4712", cwd=tmp_path)
    assert ran.code == 2
    assert "port 4000" in ran.error["error"]
    assert (snapshot(root), snapshot(home / ".config")) == before


def test_init_adds_a_name_that_the_store_lacks_and_keeps_the_others(
    tmp_path: Path, home: Path
) -> None:
    lab = make(tmp_path, home)
    lab.ok("init")
    master = lab.key
    lab.store.unlink()
    document = json.dumps({MASTER: master, "OPENAI_API_KEY": "sk-test-0123456789"})
    types = ["--input-type", "json", "--output-type", "dotenv", "--filename-override"]
    made = subprocess.run(
        [REAL_SOPS, "encrypt", *types, "secrets/global.enc.env"],
        input=document,
        cwd=lab.root,
        env=lab.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lab.store.write_text(made.stdout)
    assert f"added a fresh {SALT}" in lab.ok("init").out
    assert lab.key == master
    assert lab.value(SALT).startswith("sk-")
    assert lab.value("OPENAI_API_KEY") == "sk-test-0123456789"


def test_init_uses_an_identity_that_is_there(
    tmp_path: Path, home: Path, age_identity: AgeIdentity
) -> None:
    before = snapshot(home)
    ran = call("init", str(tmp_path / "lab"), cwd=tmp_path)
    assert ran.code == 0
    assert "BACK UP" not in ran.out
    assert age_identity.recipient in (tmp_path / "lab" / ".sops.yaml").read_text()
    after = snapshot(home)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (f"creation_rules:\n  - age: {OTHER}\n", "recipient"),
        ("creation_rules:\n  - path_regex: other/.*\n    age: {mine}\n", "no rule"),
        ("creation_rules: [\n", ".sops.yaml"),
    ],
)
def test_rules_of_somebody_else_are_kept_and_the_problem_is_named(
    tmp_path: Path, age_identity: AgeIdentity, rules: str, words: str
) -> None:
    text = rules.replace("{mine}", age_identity.recipient)
    (tmp_path / ".sops.yaml").write_text(text)
    ran = call("init", cwd=tmp_path)
    assert ran.code == 1
    assert words in ran.error["all"]
    assert (tmp_path / ".sops.yaml").read_text() == text
    assert not (tmp_path / "secrets/global.enc.env").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    script = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, folder, *MODULE, "init", folder],
        env=environment(home),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "read-only file system" in ran.stderr
    assert ran.stderr.count("\n") == 3, ran.stderr
    assert not (home / ".config").exists()


def test_two_inits_at_once_make_one_lab(tmp_path: Path, home: Path) -> None:
    lab = make(tmp_path, home, write=False)
    lab.twice_at_once("init")
    assert lab.key != lab.value(SALT)
    assert lab.ok("init", "--json").json["created"] == []


# bootstrap


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_lab_lives_in_a_folder_of_any_name(tmp_path: Path, home: Path, name: str) -> None:
    lab = make(tmp_path, home, name=name)
    with stopped_after(lab):
        assert lab.call("bootstrap", "--", str(lab.root)).code == 0
        assert lab.ok("check", "--json").json["exit_code"] == 0
        assert lab.call("plan", "--json", cwd=home).json["lab"] == str(lab.root)
        assert not lab.ok("apply", "--json").json["changed"]
        script = f'cd / && source "$1/.envrc" && printf %s "${MASTER}"'
        ran = subprocess.run(
            ["bash", "-c", script, "bash", lab.root],
            env=lab.environment(),
            capture_output=True,
            text=True,
        )
        assert (ran.stdout, ran.stderr) == (lab.key, "")


def test_bootstrap_leaves_nothing_with_a_key_in_it_open_to_others(lab: CliLab) -> None:
    assert mode(lab.env_file) == 0o600
    assert mode(lab.env_file.parent) == 0o700
    assert mode(lab.settings) == 0o600
    # The lab file and the envrc hold no secret, and git wants the rest as everybody has it.
    assert readable_by_others(lab.home) == []


def test_bootstrap_registers_the_first_lab_and_not_the_second(lab: CliLab, tmp_path: Path) -> None:
    ran = lab.ok("bootstrap", "--json")
    assert ran.json["changed"] is False
    registered = Path(lab.places.default_lab)
    assert registered.read_text() == f"{lab.root}\n"
    other = make(tmp_path / "second", lab.home)
    refused = other.call("bootstrap", str(other.root))  # its files are the first one's
    assert refused.code == 1
    assert registered.read_text() == f"{lab.root}\n"
    lab.file.rename(tmp_path / "gone.toml")
    assert other.call("list", cwd=lab.home).error["error"] == "there is no lab here"


def test_without_a_gateway_command_the_name_of_a_missing_one_is_told(
    tmp_path: Path, home: Path
) -> None:
    lab = make(tmp_path, home)
    lab.wrapper.unlink()
    before = lab.snapshot()
    for words in (("bootstrap",), ("bootstrap", "--no-start"), ("apply",)):
        ran = lab.call(*words)
        assert ran.code == 1
        assert str(lab.wrapper) in ran.error["all"] or words == ("apply",)
    after = lab.snapshot()
    assert {path: after[path] for path in before if "lab/" in path} == {
        path: what for path, what in before.items() if "lab/" in path
    }
    assert not lab.env_file.exists()


def test_another_program_of_the_gateway_is_put_in_force(lab: CliLab, tmp_path: Path) -> None:
    lab.wrapper = write_wrapper(tmp_path / "bin" / "litellm-2")
    lab.write()
    before = lab.pid
    assert lab.ok("apply", "--json").json["service"]["action"] == "restart"
    assert lab.pid != before


def test_the_gateway_that_died_is_brought_back_by_its_supervisor(lab: CliLab) -> None:
    pid = lab.pid
    assert pid is not None
    os.kill(pid, 9)
    until(lambda: lab.pid not in (pid, None), "a new process")
    until(lambda: lab.call("check").code == 0, "a gateway that answers")


# leaks


def test_no_key_is_left_anywhere_in_a_whole_life(
    tmp_path: Path, home: Path, leaks: ModuleType
) -> None:
    lab = make(tmp_path, home)
    lab.ok("init")
    types = ["--input-type", "dotenv", "--output-type", "dotenv", "--value-stdin"]
    subprocess.run(
        [REAL_SOPS, "set", *types, lab.store, f'["{MASTER}"]'],
        input=json.dumps(KNOWN).encode(),
        env=lab.environment(),
        cwd=lab.root,
        check=True,
        capture_output=True,
    )
    assert lab.key == KNOWN
    outputs: dict[str, str] = {}
    programs: list[Any] = []

    def life(*words: str, code: int = 0) -> Any:
        ran = leaks.watch_argv([*MODULE, *words], cwd=lab.root, env=lab.environment())
        assert ran.status == code, ran.stderr
        programs.append(ran)
        if words[0] != "get":
            outputs[f"{len(outputs)} {words[0]}"] = ran.stdout + ran.stderr
        return ran

    def talk(*words: str, code: int = 0) -> None:
        ran = lab.call(*words)
        assert ran.code == code, ran.err
        outputs[f"{len(outputs)} {words[0]}"] = ran.out + ran.err

    with stopped_after(lab):
        life("bootstrap")
        for words in (("plan",), ("check", "--deep"), ("list",), ("apply", "-v")):
            talk(*words)
            talk(*words, "--json")
        lab.write(gateway='host = "127.0.0.1"\nliteral_keys = false', more="[targets]\n")
        lab.env_file.write_text(lab.env_file.read_text() + f"OTHER='{KNOWN}'\n")
        talk("plan", "-v")
        talk("check", code=3)
        talk("apply", code=1)
        life("apply", "--force", "-v")
        for backup in home.rglob("*.keyturn-backup*"):
            backup.unlink()
        assert life("get", MASTER).stdout == f"{KNOWN}\n"
        talk("get", MASTER, "--source", "env", code=1)
        life("exec", "--", "true")
        declared = [lab.env_file, lab.settings]
        assert leaks.find(KNOWN, [lab.env_file])
        assert leaks.find(KNOWN, [lab.settings])
        assert leaks.find(KNOWN, [lab.root, home, tmp_path], texts=outputs, allowed=declared) == []
        assert [ran.find(KNOWN) for ran in programs] == [[] for _ in programs]
        assert any("sops" in line for line in programs[0].programs)


# systemd


class UnitLab:
    """A lab whose gateway is a unit of a real `systemd --user`."""

    def __init__(self, lab: CliLab, session: UserSystemd) -> None:
        self.lab = lab
        self.session = session
        self._copies = CopiesInSession(session)

    def run(self, *words: str) -> Ran:
        """Run keyturn in the session."""
        return Ran(*forked.run(self._copies, words, cwd=self.lab.root, env={}))

    @property
    def pid(self) -> str:
        """The gateway's process."""
        return self.session.show("litellm.service", "MainPID")


@pytest.fixture
def unit(tmp_path: Path, user_systemd: Callable[..., UserSystemd]) -> UnitLab:
    lab = make(tmp_path, tmp_path / "home0")
    lab.write()
    lab.file.write_text(lab.file.read_text().replace('"supervisor"', '"auto"'))
    return UnitLab(lab, user_systemd(lab.home))


def test_bootstrap_makes_a_unit_of_systemd_that_stays_well(unit: UnitLab) -> None:
    ran = unit.run("bootstrap")
    assert ran.code == 0, ran.err
    assert "start    litellm.service (systemd)" in ran.out
    assert unit.session.show("litellm.service", "UnitFileState") == "enabled"
    pid, before = unit.pid, unit.lab.snapshot()
    again = unit.run("bootstrap", "--json")
    assert json.loads(again.out)["changed"] is False
    assert (unit.pid, unit.lab.snapshot()) == (pid, before)

    # Six times in a row is more than systemd allows by default.
    for _ in range(6):
        unit.session.systemctl("restart", "litellm.service", check=True)
    assert unit.pid != pid
    assert until(lambda: unit.run("check").code == 0, "a gateway that answers")

    unit.lab.write(gateway="literal_keys = true")
    unit.lab.file.write_text(unit.lab.file.read_text().replace('"supervisor"', '"systemd"'))
    pid = unit.pid
    assert "restart  litellm.service" in unit.run("apply").out
    assert unit.pid != pid
    assert unit.lab.key not in unit.session.journal("litellm.service")


def test_a_masked_unit_is_an_error_whose_fix_can_be_pasted(unit: UnitLab) -> None:
    unit.run("bootstrap", "--no-start")
    path = unit.lab.home / ".config/systemd/user/litellm.service"
    path.unlink()
    path.symlink_to("/dev/null")
    unit.session.systemctl("daemon-reload", check=True)
    before = unit.lab.snapshot()
    ran = unit.run("bootstrap", "-q")
    assert ran.code == 1
    said = dict(line.split(":", 1) for line in ran.err.splitlines())
    assert str(path) in said["error"]
    assert "masked" in said["cause"]
    assert said["fix"].endswith(": systemctl --user unmask litellm.service")
    assert unit.lab.snapshot() == before
    unit.session.check("sh", "-c", said["fix"].partition(":")[2])  # what it says helps
    assert unit.run("bootstrap").code == 0


def test_a_lab_that_insists_on_systemd_says_why_it_cannot_be_had(
    tmp_path: Path, home: Path
) -> None:
    lab = make(tmp_path, home)
    lab.file.write_text(lab.file.read_text().replace('"supervisor"', '"systemd"'))
    lab.ok("init")
    ran = lab.call("apply")
    assert ran.code == 1
    assert ran.error["error"] == "systemd --user cannot be used"
