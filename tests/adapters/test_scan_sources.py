"""What `keyturn scan` looks at besides files: programs that run, systemd, the crontab, git."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters import scan_git, scan_processes, scan_programs
from bootstrap.adapters.doctor_git import in_work_tree, plain_commits
from bootstrap.adapters.process import Finished
from bootstrap.adapters.scan_forms import hunter_for
from bootstrap.adapters.scan_git import GitHaystack
from bootstrap.adapters.scan_processes import ProcessHaystack
from bootstrap.adapters.scan_programs import ProgramHaystack
from bootstrap.domain.scan_keys import SoughtKey, State
from bootstrap.domain.scan_places import Item, Kind
from bootstrap.domain.secret import Secret

Answers = dict[str, bytes | OSError]


def texts(items: list[Item]) -> dict[tuple[Kind, bytes, bytes], bytes]:
    return {(i.place.kind, i.place.name, i.place.part): b"".join(i.chunks) for i in items}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[str]]:
    """Have programs answer, by their name; what was asked is noted."""
    asked: list[str] = []

    def set_up(answers: Answers) -> list[str]:
        def run(argv: list[str], **_: object) -> Finished:
            asked.append(" ".join(argv))
            answer = answers.get(argv[0], FileNotFoundError())
            if isinstance(answer, OSError):
                raise answer
            return Finished(0, answer, b"")

        monkeypatch.setattr(scan_programs, "run", run)
        return asked

    return set_up


def test_variables_and_arguments_of_processes_are_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pid, files in {
        "1000000": {
            "cmdline": b"a\0b\0",
            "comm": b"ac\xffme\n",
            "environ": b"A=1\0EMPTY=\0B=2=3\0",
        },
        "1000001": {},
        str(os.getpid()): {"cmdline": b"me", "comm": b"me", "environ": b"A=1"},
        "self": {},
    }.items():
        (tmp_path / pid).mkdir()
        for file, data in files.items():
            (tmp_path / pid / file).write_bytes(data)
    monkeypatch.setattr(scan_processes, "_PROC", tmp_path)
    name = b"process 1000000 (ac\xffme)"
    assert texts(list(ProcessHaystack().items())) == {
        (Kind.ARGUMENTS, name, b""): b"a\0b\0",
        (Kind.ENVIRONMENT, name, b"A"): b"1",
        (Kind.ENVIRONMENT, name, b"B"): b"2=3",
    }
    monkeypatch.setattr(scan_processes, "_PROC", tmp_path / "none")
    assert list(ProcessHaystack().items()) == []


def test_systemd_the_journal_and_the_crontab_are_asked(
    answering: Callable[[Answers], list[str]],
) -> None:
    said = {"systemctl": b"A=1\nnone\n", "journalctl": b"log", "crontab": b"* * * * * x"}
    asked = answering({**said})
    found = texts(list(ProgramHaystack("litellm.service", as_root=False).items()))
    assert found == {
        (Kind.MANAGER, b"systemd --user", b"A"): b"1",
        (Kind.LOG, b"journal of litellm.service", b""): b"log",
        (Kind.TIMETABLE, b"crontab", b""): b"* * * * * x",
    }
    assert "--user -u litellm.service" in asked[1]
    list(ProgramHaystack("litellm.service", as_root=True).items())
    assert "--user-unit litellm.service" in asked[4]


def test_a_program_that_is_missing_or_silent_has_nothing(
    answering: Callable[[Answers], list[str]],
) -> None:
    asked = answering({"crontab": TimeoutError()})
    haystack = ProgramHaystack(None, as_root=False)
    assert texts(list(haystack.items())) == {(Kind.TIMETABLE, b"crontab", b""): b""}
    assert haystack.left_out == [(b"crontab", "it does not answer within 5 s")]
    assert len(asked) == 2


def git(folder: Path, *words: str) -> None:
    who = ("-c", "user.name=n", "-c", "user.email=n@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


@pytest.mark.integration
def test_the_history_of_git_is_read_with_what_was_amended(tmp_path: Path) -> None:
    assert list(GitHaystack(tmp_path).items()) == []
    git(tmp_path, "init", "-q")
    empty = GitHaystack(tmp_path)
    assert (list(empty.items()), empty.left_out) == ([], [])
    (tmp_path / "a b").write_text("first\n")
    (tmp_path / "big").write_text("x" * (scan_git.MOST_BYTES + 1))
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "says")
    (tmp_path / "a b").write_text("second\n")
    git(tmp_path, "commit", "-qa", "--amend", "-m", "amended")
    git(tmp_path, "tag", "-a", "v1", "-m", "the tag")
    haystack = GitHaystack(tmp_path)
    items = list(haystack.items())
    contents = [b"".join(item.chunks) for item in items]
    assert {b"first\n", b"second\n"} <= set(contents)
    assert any(b"says" in text for text in contents)
    assert any(b"the tag" in text for text in contents)
    assert [name for name, _ in haystack.left_out] == [b"git: big"]
    places = [item.settled() for item in items if item.settled]
    files = [place for place in places if place.name == b"git: a b"]
    assert len(files) == 2
    assert all(place.part.startswith(b"commit ") for place in files)
    assert b"git: the message of a tag" in {place.name for place in places}


@pytest.mark.integration
def test_a_repository_makes_git_run_nothing_and_what_it_lacks_is_said(tmp_path: Path) -> None:
    lab, trap, mark = tmp_path / "lab", tmp_path / "trap", tmp_path / "mark"
    lab.mkdir()
    trap.write_text(f"#!/bin/sh\ntouch {mark}\n")
    trap.chmod(0o700)
    git(lab, "init", "-q")
    for name in ("gone", "damaged", "whole"):
        (lab / name).write_text(name)
    git(lab, "add", ".")
    git(lab, "commit", "-qm", "says")
    for name, value in {
        "remote.origin.url": f"ext::{trap} x",
        "remote.origin.promisor": "true",
        "extensions.partialClone": "origin",
        "protocol.ext.allow": "always",
        "log.showSignature": "true",
        "gpg.program": str(trap),
    }.items():
        git(lab, "config", name, value)
    for name in ("gone", "damaged"):
        found = subprocess.run(
            ["git", "-C", lab, "rev-parse", f"HEAD:{name}"], check=True, capture_output=True
        )
        path = lab / ".git/objects" / found.stdout[:2].decode() / found.stdout[2:].decode().strip()
        data = path.read_bytes()
        path.unlink()
        if name == "damaged":
            path.write_bytes(data[:-6] + b"xxxxxx")
    haystack = GitHaystack(lab)
    assert b"whole" in {b"".join(item.chunks) for item in haystack.items()}
    assert haystack.left_out == [(os.fsencode(lab), scan_git._DAMAGED)]
    plain_commits(lab / "gone")
    assert not mark.exists()
    (lab / ".git/HEAD").write_text("nothing")
    unreadable = GitHaystack(lab)
    assert list(unreadable.items()) == []
    assert unreadable.left_out == [(os.fsencode(lab), scan_git._DAMAGED)]


@pytest.mark.integration
def test_what_a_hook_of_git_gets_leads_to_no_other_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    (tmp_path / "lab").mkdir()
    assert not in_work_tree(tmp_path / "lab")
    monkeypatch.delenv("GIT_DIR")
    assert in_work_tree(tmp_path / "other")


def test_git_that_is_missing_or_slow_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = GitHaystack(tmp_path, limit_s=0.0)
    assert list(slow.items()) == []
    assert slow.left_out[0][1].startswith("not all of its history was read")

    def missing(*_: object, **__: object) -> Finished:
        raise FileNotFoundError

    monkeypatch.setattr(scan_git, "ask_git", missing)
    assert list(GitHaystack(tmp_path).items()) == []


def test_a_secret_in_force_is_found_in_every_spelling() -> None:
    text = "pass word/7+Hk2&é"
    secret = Secret(text)
    keys = [SoughtKey("REDIS", secret.fingerprint(), State.IN_FORCE, digest=secret.digest())]
    hunter = hunter_for(keys, [secret, Secret("short")])
    for spelling in (text, "pass%20word%2F7%2BHk2%26%C3%A9", "cGFzcyB3b3JkLzcrSGsyJsOp"):
        assert [hit.key for hit in hunter.search([spelling.encode()])] == [secret.fingerprint()]
    assert list(hunter.search([b"short"])) == []
    key = Secret("sk-test-Zk3Qw8Lr5Ty2Vb7Nm4Xc9Hj6Gf1Dp0Sa2Re5U")
    keys = [SoughtKey("K", key.fingerprint(), State.IN_FORCE, digest=key.digest())]
    hits = list(hunter_for(keys, [key]).search([key.reveal().encode() + b"more"]))
    assert [hit.key for hit in hits] == [key.fingerprint()]
