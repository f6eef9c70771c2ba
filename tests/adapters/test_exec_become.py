"""Becoming a program: its environment, where it is looked for, and why it cannot be run."""

import posix
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from bootstrap.adapters import become as module
from bootstrap.adapters.become import become, child_environment, is_stale
from bootstrap.adapters.cannot_exec import CannotExecError
from bootstrap.domain.secret import Secret

KEY = Secret("sk-test-become")


class Became(Exception):
    """Instead of the process, this is replaced."""

    def __init__(self, place: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.place, self.argv, self.environment = place, list(argv), dict(environment)


@pytest.fixture(autouse=True)
def _keep_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "restore_signals", lambda: None)


@pytest.fixture
def _caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def execve(place: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        raise Became(place, argv, environment)

    monkeypatch.setattr(posix, "execve", execve)


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return program


def refusal(*argv: str, environment: Mapping[str, str] | None = None) -> CannotExecError:
    with pytest.raises(CannotExecError) as caught:
        become(argv, environment or {})
    assert caught.value.__cause__ is None
    return caught.value


def test_secrets_are_added_and_what_could_decrypt_more_is_left_out() -> None:
    parent = {"A": "1", "SOPS_AGE_KEY": "x", "DIRENV_DIFF": "x", "CREDENTIALS_DIRECTORY": "x"}
    assert child_environment(parent, {"KEY": KEY}) == {"A": "1", "KEY": "sk-test-become"}


def test_a_name_that_is_kept_passes_and_one_that_is_withheld_does_not() -> None:
    parent = {"A": "1", "B": "2", "DIRENV_DIFF": "x"}
    kept = child_environment(parent, {}, withheld=["A", "B"], keep=["B", "DIRENV_DIFF"])
    assert kept == {"B": "2", "DIRENV_DIFF": "x"}


def test_clean_passes_only_what_is_kept() -> None:
    assert child_environment({"A": "1", "B": "2"}, {"K": KEY}, keep=["B"], clean=True) == {
        "B": "2",
        "K": "sk-test-become",
    }


def test_a_variable_is_stale_when_it_holds_another_value() -> None:
    assert is_stale({"K": "sk-test-old"}, "K", KEY)
    assert not is_stale({"K": "sk-test-become"}, "K", KEY)
    assert not is_stale({"K": ""}, "K", KEY)
    assert not is_stale({}, "K", KEY)


@pytest.mark.usefixtures("_caught")
def test_a_program_is_looked_for_on_its_own_path(tool: Path) -> None:
    with pytest.raises(Became) as caught:
        become(["tool", "a"], {"PATH": f"/none:{tool.parent}", "A": "1"})
    assert caught.value.place == str(tool)
    assert caught.value.argv == ["tool", "a"]
    assert caught.value.environment["A"] == "1"


@pytest.mark.usefixtures("_caught")
def test_without_a_path_of_its_own_ours_is_searched_then_the_usual_one(tool: Path) -> None:
    with pytest.raises(Became) as caught:
        become(["tool"], {}, str(tool.parent))
    assert caught.value.place == str(tool)
    with pytest.raises(Became) as caught:
        become(["sh"], {})
    assert caught.value.place in ("/usr/bin/sh", "/bin/sh")


@pytest.mark.usefixtures("_caught")
def test_an_empty_part_of_path_is_the_working_folder(
    tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tool.parent)
    with pytest.raises(Became) as caught:
        become(["tool"], {"PATH": ":/none"})
    assert caught.value.place == "./tool"


def test_a_missing_program_is_127(tmp_path: Path) -> None:
    for program in ("no-such-program", f"{tmp_path}/none", f"{tmp_path}/none/deeper"):
        error = refusal(program)
        assert error.exit_code == 127
        assert error.what == f"{program} cannot be run"


def test_a_program_that_is_not_executable_is_126_and_one_further_on_is_preferred(
    tool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "tool").write_text("")
    path = f"{second}:{tool.parent}"
    ran = []
    real = posix.execve

    def execve(place: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        if place == str(tool):
            ran.append(place)
            raise Became(place, argv, environment)
        real(place, list(argv), dict(environment))

    monkeypatch.setattr(posix, "execve", execve)
    with pytest.raises(Became):
        become(["tool"], {"PATH": path})
    assert ran == [str(tool)]
    error = refusal("tool", environment={"PATH": str(second)})
    assert (error.exit_code, error.fix) == (126, "chmod +x tool")


def test_too_many_words_are_126_and_a_value_with_a_nul_is_125(tool: Path) -> None:
    error = refusal(str(tool), "x" * 3_000_000)
    assert (error.exit_code, error.why) == (
        126,
        "its arguments and variables are longer than the system passes to a program",
    )
    error = refusal(str(tool), environment={"K": "sk-test\0-secret"})
    assert error.exit_code == 125
    assert "sk-test" not in f"{error.what} {error.why} {error.fix}"


def test_a_text_without_an_interpreter_is_run_by_the_shell(
    tool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = posix.execve

    def execve(place: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        if place == "/bin/sh":
            raise Became(place, argv, environment)
        real(place, list(argv), dict(environment))

    tool.write_text("echo hello\n")
    monkeypatch.setattr(posix, "execve", execve)
    with pytest.raises(Became) as caught:
        become([str(tool), "a"], {})
    assert caught.value.argv == ["/bin/sh", str(tool), "a"]
    tool.write_bytes(b"\0\1\2")
    assert refusal(str(tool)).why == "exec format error"
