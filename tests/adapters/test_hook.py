"""The program that a lab runs after a rotation is told fingerprints, and nothing secret."""

from pathlib import Path

import pytest

from bootstrap.adapters import hook
from bootstrap.adapters.hook import run_hook
from bootstrap.domain.errors import ConfigError

pytestmark = pytest.mark.integration

TOLD = {"KEYTURN_NEW": "22222222"}


def script(folder: Path, text: str) -> str:
    path = folder / "hook.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_it_is_told_what_happened_and_nothing_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "sk-test-under-another-name")
    monkeypatch.setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-TEST")
    run_hook([script(tmp_path, "env >seen; pwd >>seen; echo $1 >>seen; env"), "a b"], TOLD,
             str(tmp_path))  # fmt: skip
    seen = (tmp_path / "seen").read_text()
    assert "KEYTURN_NEW=22222222\n" in seen
    assert "PATH=" in seen
    assert f"\n{tmp_path}\na b\n" in seen
    assert "sk-test" not in seen
    assert "AGE-SECRET" not in seen
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo sk-test-loud >&2; exit 3", "its exit status is 3"),
        ("kill -9 $$", "signal 9 ended it"),
        ("exec sleep 60", "did not end"),
    ],
)
def test_a_failure_is_told_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, why: str
) -> None:
    monkeypatch.setattr(hook, "TIMEOUT_S", 1.0)
    with pytest.raises(ConfigError) as caught:
        run_hook([script(tmp_path, text)], TOLD, str(tmp_path))
    assert why in caught.value.why
    assert "sk-test" not in f"{caught.value}{caught.value.fix}"


@pytest.mark.parametrize("program", ["no-such-program-anywhere", "a\0b"])
def test_a_program_that_cannot_be_started(tmp_path: Path, program: str) -> None:
    with pytest.raises(ConfigError, match="cannot be started"):
        run_hook([program], TOLD, str(tmp_path))
