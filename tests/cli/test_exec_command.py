"""The words of `keyturn exec`, and what becomes of errors; no program is run."""

import posix
import site
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.adapters import become
from bootstrap.cli.exec_command import run_exec
from bootstrap.domain.errors import Interrupted, LockedError, SecretError, UsageError
from bootstrap.domain.secret import Secret
from bootstrap.wiring import clients, execution, masked
from bootstrap.wiring.execution import ExecOptions
from bootstrap.wiring.providers import complete_import_path

Asked = list[tuple[list[str], ExecOptions]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the command line asks for, instead of doing it."""
    calls: Asked = []

    def run_program(argv: list[str], options: ExecOptions) -> int:
        calls.append((argv, options))
        return 0

    monkeypatch.setattr(execution, "run_program", run_program)
    return calls


class Became(Exception):
    """Instead of the process, this is replaced."""


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The program's argument list and environment, once it would have been started."""
    seen: dict[str, Any] = {}

    def execve(place: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        seen.update(argv=list(argv), environment=dict(environment))
        raise Became

    monkeypatch.setattr(posix, "execve", execve)
    monkeypatch.setattr(become, "restore_signals", lambda: None)
    monkeypatch.setattr(execution, "end_on_signals", lambda: None)
    return seen


def test_options_come_before_the_program(asked: Asked) -> None:
    words = ["--secret", "A", "--secret=B=env:C", "--lab", "/l", "--source=env", "--keep", "X"]
    words += ["--clean", "--mask", "-q", "-v", "--no-color", "--", "prog", "--secret", "--"]
    assert run_exec(words) == 0
    argv, options = asked[0]
    assert argv == ["prog", "--secret", "--"]
    assert (options.pairs, options.lab, options.source) == (["A", "B=env:C"], "/l", "env")
    assert (options.keep, options.clean, options.mask, options.quiet) == (["X"], True, True, True)
    assert options.client is None


def test_a_client_takes_options_of_its_own(asked: Asked) -> None:
    words = ["--client", "droid", "--model=m", "--gateway", "http://127.0.0.1:1", "--ephemeral"]
    assert run_exec([*words, "--master", "--trust-project", "droid", "exec"]) == 0
    options = asked[0][1]
    assert (options.client, options.model) == ("droid", "m")
    assert options.gateway == "http://127.0.0.1:1"
    assert options.ephemeral
    assert options.master
    assert options.trust_project


@pytest.mark.parametrize("words", [["prog"], ["--", "prog"], ["-", "prog"]])
def test_two_dashes_are_not_needed(asked: Asked, words: list[str]) -> None:
    assert run_exec(words) == 0
    assert asked[0][0] == [word for word in words if word != "--"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--secret"], "--secret needs a value"),
        (["--lab=", "true"], "--lab needs a value"),
        (["--nonsense", "true"], "there is no option --nonsense"),
        (["--mask=yes", "true"], "there is no option --mask"),
        (["--"], "no program is named"),
        ([], "no program is named"),
        (["--model", "m", "true"], "--model is for --client NAME"),
        (["--ephemeral", "true"], "--ephemeral is for --client NAME"),
    ],
)
def test_words_that_do_not_fit_are_explained(
    asked: Asked, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    assert run_exec(words) == 125
    assert why in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_is_for_us_only_before_the_program(
    asked: Asked, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    assert run_exec([word]) == 0
    shown = capsys.readouterr().out
    for option in ("--secret", "--keep", "--clean", "--mask", "--client", "125", "126", "127"):
        assert option in shown
    assert run_exec(["prog", word]) == 0
    assert asked[0][0] == ["prog", word]


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (SecretError("what", why="why", fix="fix"), 125),
        (LockedError("what", why="why", fix="fix"), 125),
        (UsageError("what", why="why", fix="fix"), 125),
        (Interrupted(15), 143),
        (KeyboardInterrupt(), 130),
        (RuntimeError("sk-test-secret"), 125),
    ],
)
def test_every_failure_has_its_status_and_no_secret_in_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: BaseException,
    status: int,
) -> None:
    def fail(argv: list[str], options: ExecOptions) -> int:
        raise failure

    monkeypatch.setattr(execution, "run_program", fail)
    assert run_exec(["true"]) == status
    said = capsys.readouterr().err
    assert "sk-test" not in said
    assert said.count("\n") == (0 if status in (143, 130) else 3)


def lab_with(folder: Path, text: str) -> None:
    (folder / "lab.toml").write_text(text)


def attempt(*words: str) -> None:
    """Run it in this process up to the point where the program takes over."""
    assert run_exec(list(words)) == 125  # "a bug": our stand-in for execve


def test_the_labs_names_are_what_the_program_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, became: dict[str, Any]
) -> None:
    lab_with(
        tmp_path,
        '[exec]\nsecrets = ["A", "B"]\n[secrets.A]\nsources = ["env:CI_A"]\n'
        '[secrets.B]\noptional = true\nsources = ["env:CI_B"]\n',
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI_A", "sk-test-a")
    attempt("sh")
    environment = became["environment"]
    assert environment["A"] == "sk-test-a"
    assert {"B", "CI_A"} & set(environment) == set()


@pytest.mark.parametrize(
    ("text", "words", "why"),
    [
        ("not toml [", ("true",), "it does not parse"),
        ("[exec]\nsecrets = 1\n", ("true",), "it is not a list of secret names"),
        ("", ("--secret", "bad-name", "true"), "it is not NAME or NAME=REF"),
        ("", ("--secret", "A=nonsense", "true"), "it has no scheme"),
        ("", ("--secret", "A", "true"), "it is not under [secrets]"),
        ("", ("--source", "file", "true"), "its sources are"),
    ],
)
def test_what_the_lab_file_or_the_words_lack_is_explained(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    words: tuple[str, ...],
    why: str,
) -> None:
    monkeypatch.setattr(execution, "end_on_signals", lambda: None)
    lab_with(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    assert run_exec(list(words)) == 125
    assert why in capsys.readouterr().err


Prepare = Callable[[str, str | None, clients.ClientOptions], clients.Prepared]


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What --client prepares, and what it was asked."""
    state = SimpleNamespace(supervise=None, asked=None)

    def prepare(client: str, root: str | None, options: clients.ClientOptions) -> clients.Prepared:
        state.asked = client, root, options
        return clients.Prepared(
            {"BASE_URL": "http://127.0.0.1:4000"},
            ("OLD_KEY",),
            {"TOOL_KEY": "MASTER"},
            state.supervise,
            ("note: all well",),
        )

    monkeypatch.setattr(clients, "prepare", prepare)
    return state


@pytest.fixture
def client_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    lab_with(tmp_path, '[secrets.MASTER]\nsources = ["env:CI_KEY"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CI_KEY", "sk-test-master")
    monkeypatch.setenv("OLD_KEY", "sk-test-old")
    return tmp_path


def test_a_client_gets_its_variables_and_not_those_it_must_not_see(
    client_lab: Path,
    became: dict[str, Any],
    prepared: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    attempt("--client=tool", "--model", "m", "--master", "--trust-project", "sh")
    environment = became["environment"]
    assert environment["TOOL_KEY"] == "sk-test-master"
    assert environment["BASE_URL"] == "http://127.0.0.1:4000"
    assert {"OLD_KEY", "LITELLM_MASTER_KEY", "MASTER"} & set(environment) == set()
    assert "note: all well\n" in capsys.readouterr().err
    client, root, options = prepared.asked
    assert (client, root, options.model, options.key) == ("tool", str(client_lab), "m", "master")
    assert options.trust_project
    attempt("--client=tool", "--keep", "OLD_KEY", "sh")
    assert became["environment"]["OLD_KEY"] == "sk-test-old"
    assert prepared.asked[2].key == "auto"


def test_with_a_gateway_elsewhere_the_lab_that_lies_here_is_not_looked_at(
    client_lab: Path,
    became: dict[str, Any],
    prepared: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab_with(client_lab, "not toml [")
    monkeypatch.setenv("MASTER", "sk-test-from-ci")
    attempt("--client=tool", "--gateway=https://llm.test", "--secret=BASE_URL=env:CI_KEY", "sh")
    assert prepared.asked[1] is None
    assert became["environment"]["TOOL_KEY"] == "sk-test-from-ci"
    assert became["environment"]["BASE_URL"] == "sk-test-master"


@pytest.mark.usefixtures("client_lab")
def test_a_client_that_is_supervised_gets_a_way_to_mask(
    became: dict[str, Any], prepared: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []

    def supervise(*given: object) -> int:
        calls.append(given)
        return 6

    prepared.supervise = supervise
    assert run_exec(["--client", "tool", "--ephemeral", "sh"]) == 6
    assert prepared.asked[2].key == "ephemeral"
    assert run_exec(["--client", "tool", "--mask", "sh"]) == 6
    assert [len(given) for given in calls] == [2, 3]
    run: Any = calls[1][2]
    seen: dict[bytes, bytes] = {}

    def run_masked(streams: object, forms: dict[bytes, bytes], run: Callable[[], int]) -> int:
        seen.update(forms)
        return run()

    monkeypatch.setattr(masked, "run_masked", run_masked)
    monkeypatch.setattr(masked, "supervise", lambda argv, environment, issued: len(issued))
    assert run(["sh"], {}, (Secret("sk-test-issued"),)) == 1
    assert {b"sk-test-issued", b"sk-test-master"} <= set(seen)


@pytest.mark.usefixtures("client_lab", "prepared", "became")
def test_a_key_of_its_own_and_the_master_key_exclude_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_exec(["--client", "tool", "--ephemeral", "--master", "sh"]) == 125
    assert "exclude each other" in capsys.readouterr().err


def test_everything_installed_is_found_where_python_started_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    monkeypatch.setattr(site, "main", lambda: calls.append("main"))
    complete_import_path()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "flags", SimpleNamespace(no_site=1))
        complete_import_path()
    assert calls == ["main"]
