"""`keyturn ci mask`: what each CI system is told, and that nobody else is told anything."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap.adapters import ci_masks
from bootstrap.cli.app import run
from bootstrap.domain.ci import parts
from bootstrap.domain.ref import SecretRef
from bootstrap.domain.secret import Secret
from bootstrap.workflows.resolve import Resolved
from support.homes import environment

KEY = "sk-test-ci-0123456789abcdef0123456789"
NAME = "LITELLM_MASTER_KEY"
SYSTEMS = ("GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TF_BUILD", "JENKINS_URL", "CI")


@pytest.fixture(autouse=True)
def _no_lab_and_no_ci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in SYSTEMS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(NAME, KEY)


def mask(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], system: str, *words: str
) -> tuple[int, str, str]:
    if system:
        monkeypatch.setenv(system, "true")
    code = run(["ci", "mask", *words])
    out, err = capfd.readouterr()
    return code, out, err


def test_outside_of_ci_nothing_is_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = mask(monkeypatch, capfd, "", NAME)
    assert (code, out) == (2, "")
    assert "no CI job" in err
    assert KEY not in err
    monkeypatch.setenv("CI", "false")
    assert run(["ci", "mask", NAME]) == 2


def test_github_is_given_one_command_for_the_value(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert mask(monkeypatch, capfd, "GITHUB_ACTIONS", NAME) == (0, f"::add-mask::{KEY}\n", "")


def test_a_keyring_that_hangs_is_said_since_its_value_may_be_another(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    used, late = SecretRef("env", NAME), SecretRef("keyring", "keyturn", NAME)
    found = {NAME: Resolved(NAME, Secret(KEY), used, [], [late])}
    monkeypatch.setattr("bootstrap.wiring.ci.resolve", lambda lab, names: found)
    code, out, err = mask(monkeypatch, capfd, "GITHUB_ACTIONS", NAME)
    assert (code, out) == (0, f"::add-mask::{KEY}\n")
    assert err == f"warning: {late} did not answer in time, so {used} is used\n"


def test_a_mask_that_nobody_would_get_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(text: str) -> None:
        raise OSError(errno.ENOSPC, text)

    with monkeypatch.context() as patched:
        patched.setattr(ci_masks, "write_text", full)
        code, out, err = mask(patched, capfd, "GITHUB_ACTIONS", NAME)
    assert (code, out) == (1, "")
    assert err.startswith("error: standard output cannot be written\ncause: no space left")
    monkeypatch.setattr(sys, "__stdout__", None)
    code, out, err = mask(monkeypatch, capfd, "GITHUB_ACTIONS", NAME)
    assert (code, out, err[:32]) == (1, "", "error: standard output is closed")


def test_github_is_given_each_line_and_what_it_would_misread_is_escaped(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(NAME, "first 100%25\r\nsecond::line\n}\n")
    code, out, _ = mask(monkeypatch, capfd, "GITHUB_ACTIONS", NAME)
    assert code == 0
    assert out.splitlines() == [
        "::add-mask::first 100%2525%0D%0Asecond::line%0A}%0A",
        "::add-mask::first 100%2525",
        "::add-mask::second::line",
    ]


def test_a_value_too_short_to_hide_is_named_and_not_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIN", "123")
    code, out, err = mask(monkeypatch, capfd, "GITHUB_ACTIONS", "PIN", NAME)
    assert (code, out) == (0, f"::add-mask::{KEY}\n")
    assert "PIN is too short" in err


def test_azure_is_given_its_own_command(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MANY", "line one 5%\nline two")
    code, out, _ = mask(monkeypatch, capfd, "TF_BUILD", NAME, "MANY")
    assert code == 0
    assert out.splitlines() == [
        f"##vso[task.setsecret]{KEY}",
        "##vso[task.setsecret]line one 5%AZP25",
        "##vso[task.setsecret]line two",
    ]


@pytest.mark.integration
def test_buildkite_is_given_shell_lines_that_hand_each_value_to_its_redactor(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    home: Path,
) -> None:
    monkeypatch.setenv(NAME, f"{KEY}\nsecond line\n}}\nlast")
    code, out, _ = mask(monkeypatch, capfd, "BUILDKITE", NAME)
    assert code == 0
    assert "sk-test" not in out
    agent = tmp_path / "buildkite-agent"
    agent.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/argv\n{{ cat; echo "|"; }} >>{tmp_path}/in\n'
    )
    agent.chmod(0o755)
    given = {NAME: f"{KEY}\nsecond line\n}}\nlast", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    subprocess.run(["sh", "-euc", out], env=environment(home) | given, check=True)
    assert set((tmp_path / "argv").read_text().splitlines()) == {"redactor add"}
    whole = f"{KEY}\nsecond line\n}}\nlast|\n"
    assert (tmp_path / "in").read_text() == f"{whole}{KEY}|\nsecond line|\nlast|\n"


def test_buildkite_gets_what_no_variable_holds_from_keyturn(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    credential = tmp_path / "key"
    credential.write_text(KEY)
    credential.chmod(0o600)
    code, out, _ = mask(monkeypatch, capfd, "BUILDKITE", f"K=file:{credential}")
    assert code == 0
    assert "get K | buildkite-agent" in out


def test_gitlab_is_explained_and_its_rules_are_applied(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = mask(monkeypatch, capfd, "GITLAB_CI", NAME)
    assert code == 0
    assert "Masked" in out
    assert f"{NAME}: can be masked" in out
    for value, why in (
        ("a\nb", "several lines"),
        ("short", "fewer"),
        ("with blank 12", "characters"),
    ):
        monkeypatch.setenv("BAD", value)
        code, out, _ = mask(monkeypatch, capfd, "GITLAB_CI", NAME, "BAD")
        assert code == 1
        assert why in out
        assert value not in out
    assert KEY not in out


@pytest.mark.parametrize("system", ["CI", "JENKINS_URL"])
def test_a_system_without_such_a_command_gets_no_value(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], system: str
) -> None:
    code, out, err = mask(monkeypatch, capfd, system, NAME)
    assert (code, out) == (0, "")
    assert "--mask" in err


def test_a_lab_says_which_secrets_its_jobs_use(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "lab.toml").write_text(f'version = 1\n[secrets.{NAME}]\nsources = ["env:{NAME}"]\n')
    assert mask(monkeypatch, capfd, "GITHUB_ACTIONS")[1] == f"::add-mask::{KEY}\n"
    monkeypatch.setenv("OTHER", "other-value")
    words = ("mask-is-not-needed=env:OTHER", "OTHER=env:OTHER")
    assert mask(monkeypatch, capfd, "GITHUB_ACTIONS", words[0])[0] == 2
    assert mask(monkeypatch, capfd, "GITHUB_ACTIONS", words[1])[1] == "::add-mask::other-value\n"


def test_without_a_lab_a_name_is_needed_and_its_variable_must_be_there(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert mask(monkeypatch, capfd, "GITHUB_ACTIONS")[0] == 2
    code, out, err = mask(monkeypatch, capfd, "GITHUB_ACTIONS", "ABSENT")
    assert (code, out) == (1, "")
    assert "ABSENT" in err


def test_a_value_of_one_line_is_one_part() -> None:
    assert parts("one-line") == ["one-line"]
    assert parts("abc") == []
