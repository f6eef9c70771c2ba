"""What keyturn says when it is asked for help, or called with words that do not fit."""

import subprocess
import sys
from pathlib import Path

import pytest

import bootstrap
from bootstrap.cli.app import COMMANDS as BY_MODULE
from bootstrap.cli.app import make
from support.homes import environment
from support.labs import MODULE, Ran, call

COMMANDS = ("bootstrap", "init", "plan", "apply", "check", "get", "list", "exec", "scan")


def run(tmp_path: Path, *words: str) -> Ran:
    return call(*words, cwd=tmp_path)


def test_the_help_names_every_command_and_the_exit_codes(tmp_path: Path) -> None:
    ran = run(tmp_path, "--help")
    assert ran.code == 0
    assert "3 drift" in ran.out
    for name in COMMANDS:
        assert f"\n  {name}" in ran.out
    assert "..." not in ran.out.partition("Commands:")[2]


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_the_help_of_every_command_shows_examples(tmp_path: Path, name: str, flag: str) -> None:
    ran = run(tmp_path, name, flag)
    assert (ran.code, ran.err) == (0, "")
    assert "examples:" in ran.out.lower()
    assert f"    keyturn {name}" in ran.out or f"  keyturn {name}" in ran.out


def test_without_a_command_it_shows_the_help(tmp_path: Path) -> None:
    ran = run(tmp_path)
    assert ran.code == 2
    assert "Commands:" in ran.out + ran.err


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").out == f"keyturn {bootstrap.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nosuch",), "No such command 'nosuch'"),
        (("plan", "--nosuch"), "No such option"),
        (("bootstrap", "--port", "0"), "Invalid value for '--port'"),
        (("bootstrap", "--port", "seventy"), "Invalid value for '--port'"),
        (("get",), "Missing argument"),
        (("plan", "surplus"), "unexpected extra argument"),
    ],
)
def test_words_that_do_not_fit_are_exit_code_2(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    is_refused(run(tmp_path, *words), 2, said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("exec",), "no program is named"),
        (("exec", "--nosuch", "--", "true"), "there is no option --nosuch"),
        (("exec", "--lab"), "--lab needs a value"),
        (("-q", "exec", "--secret", "1X=env:Y", "--", "true"), "it is not NAME or NAME=REF"),
    ],
)
def test_words_of_exec_that_do_not_fit_are_exit_code_125_as_with_env(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    is_refused(run(tmp_path, *words), 125, said)


def is_refused(ran: Ran, code: int, said: str) -> None:
    """Insist on an exit code and a word on standard error only."""
    assert ran.code == code
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("words", [("plan",), ("apply",), ("check",), ("list",), ("get", "X")])
def test_where_there_is_no_lab_it_says_how_to_make_one(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    ran = run(tmp_path, *words)
    assert ran.code == 1
    assert ran.error["error"] == "there is no lab here"
    assert "keyturn bootstrap" in ran.error["fix"]


def test_a_lab_that_is_named_and_is_none_is_an_error(tmp_path: Path) -> None:
    ran = run(tmp_path, "plan", "--lab", str(tmp_path / "nowhere"))
    assert ran.error["error"] == "--lab names no lab"
    named = call("plan", cwd=tmp_path, env={"KEYTURN_LAB": str(tmp_path)})
    assert named.error["error"] == "KEYTURN_LAB names no lab"


def test_without_a_home_it_says_so(tmp_path: Path) -> None:
    ran = call("init", cwd=tmp_path, env={"HOME": "relative"})
    assert ran.code == 1
    assert ran.error["fix"] == "export HOME"
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_a_json_document_where_one_was_asked_for(tmp_path: Path) -> None:
    ran = run(tmp_path, "plan", "--json")
    assert ran.err == ""
    assert set(ran.json["error"]) == {"what", "why", "fix", "exit_code"}
    assert ran.json["error"]["exit_code"] == ran.code == 1


def test_no_lab_is_made_in_the_home_folder_by_accident(home: Path) -> None:
    ran = call("bootstrap", cwd=home)
    assert ran.code == 2
    assert "~/lab" in ran.error["fix"]
    assert list(home.iterdir()) == []


def test_the_home_folder_is_known_behind_a_symlink(home: Path, tmp_path: Path) -> None:
    link = tmp_path / "me"
    link.symlink_to(home)
    assert call("bootstrap", cwd=home, env={"HOME": str(link)}).code == 2
    assert list(home.iterdir()) == []


def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path: Path, home: Path) -> None:
    odd = Path(str(tmp_path) + "/\udcff")
    odd.mkdir()
    for words in (("init", str(odd)), ("bootstrap", str(odd))):
        ran = call(*words, cwd=tmp_path)
        assert ran.code == 1
        assert "UTF-8" in ran.error["cause"]
    assert call("init", cwd=odd).code == 1
    assert list(odd.iterdir()) == []


@pytest.mark.integration
def test_a_working_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'rmdir "$PWD" && exec "$@"'
    for words in (["bootstrap"], ["init"]):
        gone.mkdir(exist_ok=True)
        ran = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *MODULE[:1], "-P", *MODULE[1:], *words],
            cwd=gone,
            env=environment(tmp_path),
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 1, ran.stderr
        assert ran.stderr.startswith("error: "), ran.stderr
        assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("module", "names"), BY_MODULE.items())
def test_each_module_brings_the_commands_for_which_it_is_loaded(
    module: str, names: tuple[str, ...]
) -> None:
    made = make(["--lab", "rotate", "-q", names[0]])
    groups = [group.name for group in made.registered_groups]
    assert [command.name for command in made.registered_commands] + groups == list(names), module


@pytest.mark.parametrize(
    "words", [[], ["nosuch"], ["--help", "plan"], ["--version", "plan"], ["--lab", "plan"]]
)
def test_where_no_command_is_named_all_are_known(words: list[str]) -> None:
    made = make(words)
    found = len(made.registered_commands) + len(made.registered_groups)
    assert found == sum(map(len, BY_MODULE.values()))


def test_a_lab_may_be_named_before_the_command_in_two_ways() -> None:
    for words in (["--lab=x", "recover"], ["--lab", "x", "recover"]):
        assert [command.name for command in make(words).registered_commands] == list(
            BY_MODULE["rotation_commands"]
        )


@pytest.mark.integration
def test_a_rotation_waits_for_nothing_that_it_does_not_need() -> None:
    """Each of these takes as long to load as a run of sops."""
    code = "import sys; from bootstrap.cli.app import make; make(['rotate']); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "bootstrap.workflows.rotate" in loaded
    heavy = {"rich", "keyring", "pyrage", "yaml", "pydantic", "bootstrap.workflows.doctor"}
    assert loaded & heavy == set()


@pytest.mark.integration
def test_to_show_a_secret_nothing_of_the_gateway_is_loaded() -> None:
    """Shells ask for one at their start, and completion for the names at each press of a key."""
    code = "import sys; from bootstrap.cli.app import make; make(['get']); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "bootstrap.workflows.resolve" in loaded
    heavy = {"rich", "http.client", "jinja2", "bootstrap.wiring.labs", "bootstrap.workflows.apply"}
    assert loaded & heavy == set()
