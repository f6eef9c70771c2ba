"""`keyturn shell-init`: functions and completions that real shells take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap.cli.app import run
from bootstrap.domain.shell_init import SHELLS, function_names, functions
from support.homes import REPOSITORY, environment

pytestmark = pytest.mark.integration

LAB = """
version = 1
[backends.local]
kind = "ollama"
"""
ALIASES = ("qwen2.5-coder:7b", "team/qwen", "team:qwen", "@+", "a-b_c.D")
NAMES = ("claude-qwen2.5-coder-7b", "claude-team-qwen", "claude-team-qwen-2", "claude-model")
START = {
    "bash": ["bash", "--norc", "--noprofile", "-euc"],
    "zsh": ["zsh", "-fec"],
    "fish": ["fish", "--no-config", "-c"],
}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "my lab's $HOME"
    folder.mkdir()
    models = [f'[[models]]\nalias = "{alias}"\nbackend = "local"\n' for alias in ALIASES]
    models.append('[[models]]\nalias = "hidden"\nbackend = "local"\nclients = ["droid"]\n')
    (folder / "lab.toml").write_text(LAB + "".join(models))
    monkeypatch.chdir(folder)
    return folder


def printed(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["shell-init", shell]) == 0
    return capsys.readouterr().out


def in_shell(shell: str, text: str, command: str, home: Path) -> str:
    file = home / "init"
    file.write_text(text)
    done = subprocess.run(
        [*START[shell], f"source {file}\n{command}"],
        env=environment(home),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", SHELLS)
def test_a_function_calls_keyturn_with_its_model_and_its_arguments(
    shell: str, lab: Path, home: Path
) -> None:
    spy = home / "spy dir" / "keyturn"
    spy.parent.mkdir()
    spy.write_text('#!/bin/sh\nfor word; do printf "[%s]" "$word"; done\n')
    spy.chmod(0o755)
    text = functions(shell, ALIASES, client="claude", keyturn=str(spy), lab=str(lab))
    out = in_shell(shell, text, "claude-team-qwen-2 -p 'two words' '$x'", home)
    assert out == (
        f"[exec][--client][claude][--model][team:qwen][--lab][{lab}][--][claude][-p][two words][$x]"
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_every_model_for_claude_has_a_function_of_its_own(
    shell: str, lab: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask = {"bash": "declare -F {}", "zsh": "whence {}", "fish": "functions -q {}; and echo yes"}
    text = printed(shell, capsys)
    names = (*NAMES, "claude-a-b_c.D", "claude-lab-echo")
    for name in names:
        assert in_shell(shell, text, ask[shell].format(name), home).strip()
    assert "hidden" not in text
    assert text.count("exec --client claude --model") == len(names)


@pytest.mark.parametrize("shell", SHELLS)
def test_no_key_is_in_it_and_none_is_asked_for(
    shell: str, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-test-not-in-here-0123456789")
    assert "sk-test" not in printed(shell, capsys)


def test_bash_completes_the_commands(
    lab: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = home / "bin"
    program.mkdir()
    (program / "keyturn").write_text(f'#!/bin/sh\nexec {sys.executable} -m bootstrap "$@"\n')
    (program / "keyturn").chmod(0o755)
    script = (
        f'export PATH="{program}:$PATH" PYTHONPATH={REPOSITORY}; COMP_WORDS=(keyturn shell-in); '
        'COMP_CWORD=1; _keyturn_completion keyturn; echo "${COMPREPLY[@]}"'
    )
    assert in_shell("bash", printed("bash", capsys), script, home) == "shell-init\n"


def test_zsh_takes_the_completions_with_and_without_compinit(
    lab: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = printed("zsh", capsys)
    assert in_shell("zsh", text, "echo fine", home) == "fine\n"
    started = "autoload -Uz compinit; compinit -u -d $HOME/.zcompdump\n"
    out = in_shell("zsh", started + text, "print $_comps[keyturn]", home)
    assert out == "_keyturn_completion\n"


def test_fish_takes_the_completions(
    lab: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "keyturn" in in_shell("fish", printed("fish", capsys), "complete -c keyturn", home)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_new_shell_starts_without_a_lab(
    shell: str,
    tmp_path: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    text = printed(shell, capsys)
    assert "--client" not in text
    in_shell(shell, text, "true", home)


def test_a_shell_that_we_do_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["shell-init", "fisch"]) == 2
    assert "did you mean fish?" in capsys.readouterr().err


def test_names_are_different_whatever_the_aliases() -> None:
    names = function_names(["a:b", "a/b", "a-b", "a-b-2"], "claude")
    assert len(set(names.values())) == 4
    assert os.sep not in "".join(names.values())
