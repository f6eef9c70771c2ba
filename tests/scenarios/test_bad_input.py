"""Whatever is wrong: three lines that say what, why and how to mend it, and nothing is changed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrap.adapters.listeners import LocalPorts
from bootstrap.workflows import gateway_up
from support.homes import write_age_identity
from support.labs import (
    MASTER,
    MODULE,
    CliLab,
    Ran,
    bootstrapped,
    make,
    stopped_after,
    write_wrapper,
)
from support.waiting import until

pytestmark = pytest.mark.faults

PLAIN = f"{MASTER}=sk-test-plain-0123456789\nLITELLM_SALT_KEY=sk-test-salt-0123456789\n"

INTERNAL = "KEYTURN_INTERNAL_KEY"


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    """A lab whose files are in place and whose gateway was never started."""
    with stopped_after(bootstrapped(tmp_path, home, "--no-start")) as made:
        yield made


def refused(lab: CliLab, *words: str, code: int = 1, env: dict[str, str] | None = None) -> Ran:
    """Run a command that must fail, with a clear error, and change nothing; return what it said."""
    before = lab.snapshot()
    ran = lab.call(*words, env=env)
    assert ran.code == code, ran.out + ran.err
    assert ran.out == ""
    assert set(ran.error) == {"error", "cause", "fix", "all"}
    assert all(ran.error.values())
    assert lab.snapshot() == before
    return ran


def unwell(lab: CliLab) -> str:
    """Check a lab that is not well, and return what `check` said; nothing may change."""
    before = lab.snapshot()
    ran = lab.call("check")
    assert ran.code == 1
    assert "Traceback" not in ran.err
    assert lab.snapshot() == before
    return ran.out


# lab.toml


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[gateway\n", "not valid TOML"),
        (b"\xff\xfe[gateway]\n", "not UTF-8"),
        (b"\xef\xbb\xbfversion = 1\n", "not valid TOML"),
        (b"version = 99\n", "version 1 only"),
        (b"surprise = 1\n", "surprise"),
        (b"[gateway]\nport = 'http'\n", "gateway.port"),
        (b"[gateway]\nport = 70000\n", "gateway.port"),
        (b"[gateway]\nservice = 'launchd'\n", "gateway.service"),
        (b"[secrets.LITELLM_MASTER_KEY]\nsources = ['sk-test-pasted-key-0123']\n", "no scheme"),
        (b"[[models]]\nalias = 'x'\nbackend = 'nosuch'\n", "models[0].backend"),
        (b"", ""),
    ],
)
def test_a_lab_file_that_cannot_be(lab: CliLab, text: bytes, said: str) -> None:
    if text:
        lab.file.write_bytes(text)
    else:
        lab.file.unlink()
        lab.file.mkdir()
    for words in (("plan",), ("apply",), ("bootstrap", str(lab.root)), ("check",), ("list",)):
        ran = refused(lab, *words)
        assert "sk-test-pasted" not in ran.err
        assert said in ran.error["all"]


# the store and the identity


def test_without_the_identity_nothing_is_made_in_its_place(lab: CliLab) -> None:
    identity = lab.home / ".config/sops/age/keys.txt"
    identity.unlink()
    for words in (("init",), ("bootstrap",), ("get", MASTER)):
        ran = refused(lab, *words)
        assert "identity" in ran.error["all"]
    lab.write(gateway="literal_keys = true")
    for words in (("plan",), ("apply",)):
        assert "identity" in refused(lab, *words).error["all"]
    assert "identity" in unwell(lab)
    assert not identity.exists()


def test_an_identity_that_is_no_recipient(lab: CliLab) -> None:
    write_age_identity(lab.home)
    for words in (("init",), ("bootstrap",), ("get", MASTER)):
        assert "none of the age identities here is a recipient" in refused(lab, *words).err
    unwell(lab)


def test_an_identity_that_is_garbage(lab: CliLab) -> None:
    (lab.home / ".config/sops/age/keys.txt").write_text("AGE-SECRET-KEY-1NOTREALLY\n")
    ran = refused(lab, "bootstrap")
    assert "NOTREALLY" not in ran.err


def tampered(text: str) -> str:
    at = text.index("data:") + 7
    return text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]


def in_conflict(text: str) -> str:
    first, rest = text.split("\n", 1)
    return f"<<<<<<< HEAD\n{first}\n=======\n{first}x\n>>>>>>> theirs\n{rest}"


DAMAGE: dict[str, Callable[[str], str]] = {
    "tampered": tampered,
    "cut off": lambda text: text[: len(text) // 2],
    "without its last line": lambda text: text.rstrip("\n").rpartition("\n")[0] + "\n",
    "empty": lambda text: "",
    "plain text": lambda text: PLAIN,
    "in conflict": in_conflict,
    "with one name twice": lambda text: text.split("\n", 1)[0] + "\n" + text,
    "with line ends of Windows": lambda text: text.replace("\n", "\r\n"),
    "binary": lambda text: "\0\1\2" * 100,
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_store_that_is_not_sound(lab: CliLab, kind: str) -> None:
    lab.store.write_bytes(DAMAGE[kind](lab.store.read_text()).encode())
    for words in (("plan",), ("apply",), ("init",), ("bootstrap",), ("get", MASTER)):
        # A copy further down the list of sources must not win silently.
        ran = refused(lab, *words, env={MASTER: "sk-test-stale-0123456789"})
        assert "global.enc.env" in ran.error["error"]
        assert "sk-test" not in ran.err
    assert "sk-test" not in unwell(lab)


def test_a_store_that_may_not_be_read_as_a_file(lab: CliLab) -> None:
    lab.store.unlink()
    lab.store.mkdir()
    for words in (("plan",), ("bootstrap",)):
        assert "global.enc.env" in refused(lab, *words).error["error"]


def test_sops_is_missing(lab: CliLab) -> None:
    ran = refused(lab, "get", MASTER, env={"KEYTURN_SOPS": "/nonexistent/sops"})
    assert "KEYTURN_SOPS does not name a program" in ran.error["cause"]


def test_a_stale_variable_beside_the_store_does_not_win(lab: CliLab) -> None:
    key, stale = lab.key, {MASTER: "sk-test-stale-0123456789"}
    assert lab.call("get", MASTER, env=stale).out == f"{key}\n"
    lab.ok("apply")
    ran = lab.call("check", env=stale)
    assert ran.code == 0
    assert f"env:{MASTER} disagrees with sops:" in ran.out
    assert f"unset or update it: env:{MASTER}" in ran.out
    assert not lab.call("plan", "--json", env=stale).json["changed"]


def test_a_key_from_a_file(lab: CliLab, tmp_path: Path) -> None:
    file = tmp_path / "master"
    file.write_text("sk-test-from-a-file-0123456789\n")
    file.chmod(0o600)
    lab.write(more=f'[secrets.{MASTER}]\nsources = ["file:{file}"]')
    assert lab.ok("get", MASTER).out == "sk-test-from-a-file-0123456789\n"
    lab.ok("apply")
    assert "sk-test-from-a-file-0123456789" in lab.env_file.read_text()
    file.unlink()
    assert str(file) in refused(lab, "apply").error["cause"]


# droid's settings


COMMENTED = """{
  // mine
  "theme": "dark", /* also mine */
  "customModels": [
    {"model": "own", "displayName": "own", "baseUrl": "http://127.0.0.1:1/v1", "apiKey": "x",
     "provider": "generic-chat-completion-api"}, // trailing
  ],
}
"""


@pytest.fixture
def fresh(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    """A lab with its store, before its files are put in place."""
    lab = make(tmp_path, home)
    lab.ok("init")
    lab.settings.parent.mkdir(mode=0o700)
    with stopped_after(lab):
        yield lab


def aliases(lab: CliLab) -> str:
    return lab.settings.read_text()


def test_settings_with_comments_keep_every_byte_that_is_not_ours(fresh: CliLab) -> None:
    text = COMMENTED.replace(", // trailing\n  ],\n}", " // trailing\n  ]\n}")
    fresh.settings.write_text(text)
    fresh.ok("apply", "--no-start")
    merged = fresh.settings.read_text()
    assert "lab-echo" in merged
    assert merged.startswith(text.partition('"customModels"')[0])
    for piece in ("// mine", "/* also mine */", "// trailing", '"displayName": "own"'):
        assert piece in merged
    assert not fresh.ok("plan", "--json").json["changes"]


@pytest.mark.parametrize(
    "text",
    [
        '{"theme": ',
        '\ufeff{"theme": "dark"}',
        "[]",
        '{"customModels": {}}',
        '{"a": 1} {"b": 2}',
        "\0\0\0",
        '{"key": "sk-test-inside-0123456789", oops}',
    ],
)
def test_settings_that_cannot_be_merged(fresh: CliLab, text: str) -> None:
    fresh.settings.write_text(text)
    for words in (("plan",), ("apply",), ("bootstrap",)):
        ran = refused(fresh, *words)
        assert "settings.json" in ran.error["all"]
        assert "sk-test" not in ran.err
    assert "settings.json" in unwell(fresh)


def test_settings_that_are_huge(fresh: CliLab) -> None:
    with fresh.settings.open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    assert "too big" in refused(fresh, "apply").error["error"]


def test_settings_behind_a_symlink_are_changed_where_they_are(
    fresh: CliLab, tmp_path: Path
) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}\n")
    fresh.settings.symlink_to(real)
    fresh.ok("apply", "--no-start")
    assert fresh.settings.is_symlink()
    assert "lab-echo" in real.read_text()
    assert "lab-echo" in aliases(fresh)


def test_settings_that_are_read_only_keep_the_other_files_from_being_changed(lab: CliLab) -> None:
    lab.settings.write_text("{}")
    lab.settings.chmod(0o400)
    lab.write(gateway="literal_keys = true")
    ran = refused(lab, "apply")
    assert ran.error["fix"] == f"chmod u+w {lab.settings}"


def test_settings_of_another_user(fresh: CliLab, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.settings.write_text("{}")
    if os.getuid() == 0:
        os.chown(fresh.settings, 4711, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert "belongs to another user" in refused(fresh, "apply").error["cause"]


def test_a_folder_that_everybody_may_write_in(fresh: CliLab) -> None:
    fresh.settings.parent.chmod(0o777)
    assert "anybody may write" in refused(fresh, "apply").error["cause"]


# the gateway


def test_a_port_that_another_program_holds(lab: CliLab) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(lab.port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: LocalPorts().listener(lab.port), "the server")
        lab.write(gateway="literal_keys = true")  # there are files to write, too
        for words in (("apply",), ("bootstrap",)):
            ran = refused(lab, *words)
            assert f"port {lab.port} is taken" in ran.error["error"]
            assert f"(pid {server.pid})" in ran.error["cause"]
            assert str(lab.file) in ran.error["fix"]
        assert "not running" in (said := unwell(lab)) or "never started" in said
    finally:
        server.terminate()
        server.wait(10)


def test_a_gateway_that_dies_at_once_shows_its_log_without_the_key(
    lab: CliLab, tmp_path: Path
) -> None:
    internal = lab.ok("get", INTERNAL).out.strip()
    body = f'sleep 0.2; echo "no good: ${INTERNAL}"; exit 3'
    write_wrapper(lab.wrapper, body)
    ran = refused(lab, "apply")
    assert "exit status 3" in ran.error["cause"]
    assert internal not in ran.err
    assert internal in (lab.state / "gateway.log").read_text()
    assert f"| no good: <{INTERNAL} " in ran.error["all"]


def test_a_gateway_that_never_answers(lab: CliLab, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wrapper(lab.wrapper, "echo waiting; exec sleep 600")
    monkeypatch.setattr(gateway_up, "READY_BUDGET_S", 1.0)
    ran = refused(lab, "apply")
    assert "does not answer" in ran.error["error"]
    assert "connection refused" in ran.error["cause"]
    assert "| waiting" in ran.error["all"]
    write_wrapper(lab.wrapper)
    assert lab.ok("apply", "--json").json["proven"]  # the next run goes on


def test_a_gateway_that_is_open(lab: CliLab) -> None:
    lab.write(gateway='auth = "master-key"')
    lab.ok("apply", "--no-start")
    write_wrapper(lab.wrapper, f"unset {MASTER}; $MINI")
    ran = refused(lab, "apply")
    assert ran.error["error"].startswith("THE GATEWAY IS OPEN")
    assert "keyturn service stop" in ran.error["fix"]
    said = unwell(lab)
    assert "THE GATEWAY IS OPEN" in said
    write_wrapper(lab.wrapper)
    assert lab.ok("apply", "--json").json["proven"]


def test_a_gateway_with_another_key_is_not_taken_for_well(lab: CliLab) -> None:
    lab.write(gateway='auth = "master-key"')
    lab.ok("apply", "--no-start")
    write_wrapper(lab.wrapper, f"export {MASTER}=sk-test-other-0123456789; $MINI")
    assert "does not accept the lab's key" in refused(lab, "apply").error["error"]


# two at once, full disks


def test_two_applies_at_once(lab: CliLab) -> None:
    lab.write(gateway="literal_keys = true")
    lab.twice_at_once("apply")
    assert not lab.ok("apply", "--json").json["changed"]


def test_a_full_disk_leaves_every_file_as_it_was(lab: CliLab) -> None:
    lab.write(gateway="literal_keys = true")
    folder = lab.env_file.parent
    before = lab.snapshot()
    # The env file's own file system is full; everything else has room.
    script = (
        'cp -a "$0" "$0.copy"; mount -t tmpfs -o size=16k,mode=700 none "$0"; rm -r "$0.copy"; '
        'cat /dev/zero >"$0/filler"; "$@"'
    )
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, folder, *MODULE, "apply", "-q", "--no-start"],
        cwd=lab.root,
        env=lab.environment(),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    said = [line for line in ran.stderr.splitlines() if not line.startswith("cat: ")]
    assert said[0].startswith(f"error: {folder}/gateway.env cannot be written"), said
    assert said[1] == "cause: no space left on device"
    assert len(said) == 3
    assert lab.snapshot() == before
    lab.ok("apply", "--no-start")


# what a program of the user's own gets


def test_exec_does_not_start_a_program_without_its_secret(lab: CliLab, tmp_path: Path) -> None:
    lab.store.write_text(PLAIN)
    ran = lab.run("exec", "--", "touch", str(tmp_path / "started"))
    assert ran.code == 125
    assert "global.enc.env" in ran.error["error"]
    assert not (tmp_path / "started").exists()


def test_exec_passes_a_signal_to_the_program_it_has_become(lab: CliLab) -> None:
    script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    child = subprocess.Popen(
        [*MODULE, "exec", "--", sys.executable, "-c", script],
        cwd=lab.root,
        env=lab.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert int(child.stdout.readline()) == child.pid
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM
    child.stdout.close()


def test_a_state_that_was_lost_costs_nothing_where_the_files_are_right(lab: CliLab) -> None:
    state = lab.state / "state.json"
    for damage in ("", "{", json.dumps({"version": 99})):
        state.write_text(damage)
        assert not lab.ok("plan", "--json").json["changes"]
        lab.ok("apply", "--no-start")
        assert lab.ok("plan", "--json").json["decrypted"] is False
