"""`keyturn scan` on a whole lab: real sops, git and sqlite, rotations, and keys planted around."""

import base64
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootstrap.domain.secret import Secret
from support import crash, labs, leaks
from support.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[labs.CliLab, str]]:
    """A lab whose key was rotated once, with a gateway that runs, and its old key."""
    folder = tmp_path_factory.mktemp("scan")
    home = folder / "home"
    home.mkdir(mode=0o700)
    with labs.stopped_after(crash.make(folder, home)) as made:
        old = made.key
        made.ok("rotate")
        yield made, old


def git(lab: labs.CliLab, *words: str) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=lab.root, check=True, capture_output=True)


@contextmanager
def running(variable: str, value: str) -> Iterator[int]:
    """A program that holds a value in its environment."""
    environment = {"PATH": os.environ["PATH"], variable: value}
    child = subprocess.Popen(["sleep", "300"], env=environment)
    try:
        until(lambda: b"sleep" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
        yield child.pid
    finally:
        child.kill()
        child.wait()


def plant(lab: labs.CliLab, old: str) -> dict[str, Path]:
    """Put the old key, and the one in force, where people forget them."""
    home = lab.home
    database, session = home / ".config/tool/state.db", home / ".factory/sessions/-x/1.jsonl"
    files = {
        "history": home / ".bash_history",
        "session": session,
        "backup": home / ".factory/settings.json.keyturn-backup",
        "yaml": lab.root / "deploy.yaml",
        "odd": home / ".config" / os.fsdecode(b"a\nb\xff.txt"),
        "named": home / ".config" / f"{old}.txt",
        "current": home / "notes.env",
    }
    for path in (*files.values(), database):
        path.parent.mkdir(parents=True, exist_ok=True)
    files["history"].write_text(f"ls\nexport LITELLM_MASTER_KEY={old}\n")
    session.write_text('{"a":1}\n' + json.dumps({"text": f"it says\n{old}\nthere"}) + "\n")
    files["backup"].write_text(json.dumps({"apiKey": old}))
    coded = base64.b64encode(f"KEY={old}\nX=1\n".encode()).decode()
    files["yaml"].write_text(f"kind: Secret\ndata:\n  env: {coded}\n")
    files["odd"].write_text(old)
    files["named"].write_text("nothing")
    files["current"].write_text(f"\n\nKEY={lab.key}\n")
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE t (name TEXT, value TEXT, at TEXT)")
        connection.execute("INSERT INTO t VALUES ('key', ?, '2026-01-01')", (old,))
    connection.close()
    git(lab, "init", "-q")
    (lab.root / "old.txt").write_text(f"key: {old}\n")
    git(lab, "add", "old.txt")
    git(lab, "commit", "-qm", "first")
    git(lab, "rm", "-q", "old.txt")
    git(lab, "commit", "-qm", "second")
    return {**files, "database": database}


def test_what_was_planted_is_found_and_nothing_else(rotated: tuple[labs.CliLab, str]) -> None:
    lab, old = rotated
    clean = lab.call("scan")
    assert clean.code == 0, clean.out + clean.err
    assert "No key lies where it should not" in clean.out

    new, mark, files = lab.key, Secret(old).fingerprint(), plant(lab, old)
    with running("LITELLM_MASTER_KEY", old) as pid, running("LITELLM_MASTER_KEY", new):
        shown = lab.call("scan", "-v")
        traced = leaks.watch_argv(
            [*labs.MODULE, "scan", "--json"], cwd=lab.root, env=lab.environment()
        )
    assert (shown.code, traced.status) == (1, 1)
    keys = {key["fingerprint"]: key for key in json.loads(traced.stdout)["keys"]}
    stale = {row["place"]: row for row in keys[mark]["found"]}
    assert keys[mark]["state"] == "gone"
    assert stale.pop(f"process {pid} (sleep)")["part"] == "LITELLM_MASTER_KEY"
    commit = stale.pop("git: old.txt")
    assert (commit["lines"], commit["part"][:7]) == ([1], "commit ")
    expected = {
        str(files["history"]): [2],
        str(files["session"]): [2],
        str(files["backup"]): [1],
        str(files["yaml"]): [3],
        str(files["database"]): [],
        str(lab.home / ".config" / "a\\x0ab\\xff.txt"): [1],
        str(lab.home / ".config" / f"<{mark}>.txt"): [],
    }
    assert {place: row["lines"] for place, row in stale.items()} == expected
    assert stale[str(files["yaml"])]["encoded"]
    assert {row["level"] for row in stale.values()} == {"warning"}

    unwanted = [r for r in keys[Secret(new).fingerprint()]["found"] if r["level"] != "expected"]
    assert [(r["place"], r["lines"], r["level"]) for r in unwanted] == [
        (str(files["current"]), [3], "error")
    ]
    assert f"shred -u -- {files['backup']}" in shown.out
    assert "~/.factory/settings.json" in shown.out
    for key in (old, new):
        said = {"shown": shown.out + shown.err, "out": traced.stdout, "err": traced.stderr}
        assert leaks.find(key, texts=said) == []
        assert traced.find(key) == []

    for path in files.values():
        path.unlink()
    assert lab.call("scan").code == 3  # the history of git still has it
    subprocess.run(["rm", "-rf", ".git"], cwd=lab.root, check=True)
    assert lab.ok("scan").out.startswith("No key lies")


def test_only_what_is_named_is_searched_and_what_is_spared_is_not(
    rotated: tuple[labs.CliLab, str], tmp_path: Path
) -> None:
    lab, old = rotated
    (tmp_path / "a.txt").write_text(lab.key * 2)
    many = "".join(f"{old}\n" for _ in range(20))
    (tmp_path / "b.txt").write_text(many)
    ran = lab.call("scan", "--only", str(tmp_path))
    assert ran.code == 1
    assert "b.txt:1,2,3,4,5,6,7,8 and 12 more lines" in ran.out
    assert "searched 2 files and 0 other things" in ran.out
    spared = lab.call("scan", "--only", str(tmp_path), "--except", str(tmp_path / "a.txt"), "-q")
    assert (spared.code, spared.out) == (3, "")
    assert lab.key not in ran.out


def test_a_key_can_be_named_by_its_fingerprint(
    rotated: tuple[labs.CliLab, str], tmp_path: Path
) -> None:
    lab, _ = rotated
    forgotten = "an-old-Password.7Hk2"
    (tmp_path / "note").write_text(f"it was {forgotten}.")
    mark = Secret(forgotten).fingerprint()
    words = ("scan", "--only", str(tmp_path), "--fingerprint", mark.upper())
    ran = lab.call(*words)
    assert (ran.code, forgotten in ran.out) == (3, False)
    assert f"a key that you named {mark}  rotated out\n" in ran.out


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--only",), "--only is about the paths"),
        (("--fingerprint", "xyz"), "that is no fingerprint"),
        (("/no/such/path",), "'/no/such/path'"),
        (("--except", "no-such"), "no-such'"),
        (("~nobody-has-this-name/x",), "~nobody-has-this-name/x'"),
    ],
)
def test_words_that_do_not_fit_are_explained(
    rotated: tuple[labs.CliLab, str], words: tuple[str, ...], what: str
) -> None:
    ran = rotated[0].call("scan", *words)
    assert ran.code == 2
    assert what in ran.error["error"]


def test_an_interrupted_search_says_so(
    rotated: tuple[labs.CliLab, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bootstrap.cli.scan_run.scan", interrupted)
    ran = rotated[0].call("scan")
    assert ran.code == 130
    assert "not complete: searched 0 files" in ran.out
    assert "interrupted; the search is not complete; nothing was changed" in ran.err
    assert rotated[0].call("scan", "--json").json["complete"] is False
