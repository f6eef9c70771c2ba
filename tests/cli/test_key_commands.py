"""`keyturn key …`: a key is shown once, its digest kept, its scope checked by the catalogue."""

import errno
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootstrap.cli.app import run
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret
from bootstrap.domain.uses import USES_FILE
from bootstrap.wiring import keys
from support.homes import environment
from support.labs import MODULE


@pytest.fixture(autouse=True)
def keyset(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab.toml").write_text("version = 1\n")
    path = home / ".config" / "litellm" / "keyturn-keyset.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(Keyset().with_current(Secret("sk-test-master")).to_bytes())
    path.chmod(0o600)
    return path


def test_a_key_goes_to_the_pipe_and_its_digest_to_the_keyset(
    keyset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["key", "issue", "reviewer", "--models", "lab-echo", "--ttl", "8h"]) == 0
    out, err = capfd.readouterr()
    key = Secret(out.rstrip("\n"))
    assert key.reveal().startswith("sk-")
    assert key.digest() in keyset.read_text()
    assert key.reveal() not in keyset.read_text() + err
    assert run(["key", "list", "--json"]) == 0
    (row,) = json.loads(capfd.readouterr().out)["keys"]
    assert row["name"] == "reviewer"
    assert row["models"] == ["lab-echo"]
    assert row["fingerprint"] == key.fingerprint()
    assert not row["expired"]


def test_the_list_says_what_each_key_may_and_until_when(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["key", "list"]) == 0
    assert capfd.readouterr().out == "no client keys\n"
    run(["key", "issue", "laptop"])
    run(["key", "issue", "job", "--models", "lab-echo", "--ttl", "90m"])
    capfd.readouterr()
    run(["key", "list"])
    job, laptop = capfd.readouterr().out.splitlines()
    assert job.startswith("job ")
    assert "lab-echo" in job
    assert laptop.endswith("all models  no end")


def test_rotating_and_revoking(capfd: pytest.CaptureFixture[str], keyset: Path) -> None:
    run(["key", "issue", "laptop"])
    old = capfd.readouterr().out.strip()
    assert run(["key", "rotate", "laptop", "--grace", "soon"]) == 2
    assert run(["key", "rotate", "laptop", "--ttl", "8h", "--grace", "10m"]) == 0
    capfd.readouterr()
    run(["key", "list", "--json"])
    rows = json.loads(capfd.readouterr().out)["keys"]
    assert [row["replaced"] for row in rows] == [False, True]
    assert run(["key", "rotate", "laptop", "--ttl", "8h"]) == 0
    new = capfd.readouterr().out.strip()
    assert new != old
    assert Secret(old).digest() not in keyset.read_text()
    assert Secret(new).digest() in keyset.read_text()
    assert run(["key", "revoke", "laptop"]) == 0
    assert run(["key", "revoke", "laptop"]) == 2
    assert Secret(new).digest() not in keyset.read_text()


def test_a_key_that_cannot_be_written_out_is_not_issued(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], keyset: Path
) -> None:
    def full(secret: Secret) -> None:
        raise OSError(errno.ENOSPC, secret.reveal())

    before = keyset.read_bytes()
    monkeypatch.setattr(keys, "write_secret", full)
    assert run(["key", "issue", "laptop"]) == 1
    assert keyset.read_bytes() == before
    assert capfd.readouterr().err.splitlines()[:2] == [
        "error: nobody got the key, so it was taken back",
        "cause: standard output: no space left on device",
    ]


@pytest.mark.parametrize("words", [["issue", "phone"], ["rotate", "laptop"]])
def test_no_key_is_made_for_a_caller_that_has_closed_its_standard_output(
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    keyset: Path,
) -> None:
    run(["key", "issue", "laptop"])
    capfd.readouterr()
    before = keyset.read_bytes()
    monkeypatch.setattr(sys, "__stdout__", None)  # as Python leaves it where it found none
    assert run(["key", *words]) == 1
    assert keyset.read_bytes() == before
    assert capfd.readouterr() == (
        "",
        "error: standard output is closed\n"
        "cause: what this command writes would go nowhere\n"
        "fix:   run it without >&-, and lead it to a pipe or a file\n",
    )


@pytest.mark.integration
@pytest.mark.parametrize("output", [">&-", ">/dev/full"])
def test_a_key_that_a_real_caller_cannot_get_is_not_in_force(
    output: str, home: Path, keyset: Path
) -> None:
    before = keyset.read_bytes()
    issued = [*MODULE, "key", "issue", "phone"]
    ran = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {output}', "sh", *issued],
        env=environment(home),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 1
    assert "standard output" in ran.stderr
    assert keyset.read_bytes() == before


def test_an_expired_key_is_said_to_be(capfd: pytest.CaptureFixture[str], keyset: Path) -> None:
    keys = Keyset.parse(keyset.read_bytes()).with_client("old", Secret("sk-test-old"), None, 1.0)
    keyset.write_bytes(keys.to_bytes())
    run(["key", "list"])
    assert "expired" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a b"], "letters"),
        (["x" * 65], "letters"),
        (["a", "--models", "lab-ecko"], "did you mean lab-echo?"),
        (["a", "--models", ","], "names no model"),
        (["a", "--ttl", "soon"], "duration"),
        (["a", "--ttl", "0"], "duration"),
    ],
)
def test_a_word_that_does_not_fit_is_refused_and_nothing_is_issued(
    words: list[str], text: str, capfd: pytest.CaptureFixture[str], keyset: Path
) -> None:
    before = keyset.read_bytes()
    assert run(["key", "issue", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert text in err
    assert keyset.read_bytes() == before


def test_a_lab_without_the_guard_has_no_client_keys(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lab.toml").write_text('version = 1\n[gateway]\nauth = "master-key"\n')
    assert run(["key", "issue", "a"]) == 2
    assert 'auth = "guard"' in capfd.readouterr().err


@pytest.mark.integration
@pytest.mark.parametrize(("words", "code", "shown"), [([], 2, False), (["--reveal"], 0, True)])
def test_a_terminal_gets_a_key_only_where_that_is_asked_for(
    words: list[str], code: int, shown: bool, keyset: Path
) -> None:
    before = keyset.read_bytes()
    pid, master = pty.fork()
    if pid == 0:
        os._exit(run(["key", "issue", "a", *words]))
    text = b""
    try:
        while chunk := os.read(master, 4096):
            text += chunk
    except OSError:  # how a terminal says that the other side is closed
        pass
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    assert (b"sk-" in text) is shown
    assert (keyset.read_bytes() != before) is shown


def test_the_list_says_when_each_key_was_used_last_and_by_which_program(
    capfd: pytest.CaptureFixture[str], keyset: Path
) -> None:
    run(["key", "issue", "laptop"])
    mark = Secret(capfd.readouterr().out.strip()).fingerprint()
    at = int(time.time()) - 200
    programs = {"curl": [2, at], "keyturn": [5, at + 100]}
    use = {"count": 7, "last_seen": at + 100, "refused": 0, "last_refused": 0}
    uses = keyset.with_name(USES_FILE)
    uses.write_text(json.dumps({"version": 1, "keys": {mark: {**use, "programs": programs}}}))
    uses.chmod(0o600)
    run(["key", "list"])
    assert "used 3 min ago by curl  all models" in capfd.readouterr().out
    run(["key", "list", "--json"])
    (row,) = json.loads(capfd.readouterr().out)["keys"]
    assert (row["of"], row["replaced"], row["used"]["count"]) == ("issued", False, 7)
    uses.write_text("{")
    assert run(["key", "list"]) == 0
    out = capfd.readouterr().out
    assert "use unknown" in out
    assert "it is damaged" in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["rotate"], "NAME or --all"),
        (["rotate", "a", "--all"], "NAME or --all"),
        (["rotate", "a", "--now", "--grace", "5m"], "--grace or --now"),
        (["rotate", "--all"], "client_keys = true"),
    ],
)
def test_words_of_rotate_that_do_not_go_together(
    words: list[str], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["key", *words]) == 2
    assert text in capfd.readouterr().err
