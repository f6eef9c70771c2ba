"""Each command's output, JSON and exit codes, on a lab with real sops, age and supervisor."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.adapters.lock import lab_lock
from support import forked
from support.homes import snapshot
from support.labs import COPIES, MASTER, MODULE, CliLab, bootstrapped, on_terminal, stopped_after

pytestmark = pytest.mark.integration

ESCAPE = "\x1b"
COMMANDS = (
    ("bootstrap",),
    ("init", "--no-start"),
    ("plan",),
    ("apply",),
    ("apply", "--dry-run"),
    ("check",),
    ("check", "--deep"),
    ("list",),
)
ids = " ".join


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliLab]:
    """One running lab for all tests that leave it as it is."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    with stopped_after(bootstrapped(tmp_path_factory.mktemp("labs"), home)) as made:
        yield made


@pytest.mark.parametrize("words", COMMANDS, ids=ids)
def test_a_lab_that_is_well_is_exit_code_0_and_stays_as_it_is(
    lab: CliLab, words: tuple[str, ...]
) -> None:
    before, pid = lab.snapshot(), lab.pid
    ran = lab.call(*words)
    assert ran.code == 0, ran.out + ran.err
    assert lab.key not in ran.out + ran.err
    assert lab.snapshot() == before
    assert lab.pid == pid


@pytest.mark.parametrize("words", COMMANDS, ids=ids)
def test_quiet_prints_nothing(lab: CliLab, words: tuple[str, ...]) -> None:
    for argv in ((*words, "-q"), ("--quiet", *words)):
        ran = lab.call(*argv)
        assert (ran.code, ran.out, ran.err) == (0, "", "")


@pytest.mark.parametrize("words", COMMANDS, ids=ids)
def test_json_is_one_document_and_nothing_else(lab: CliLab, words: tuple[str, ...]) -> None:
    ran = lab.call(*words, "--json")
    assert ran.code == 0
    assert ran.err == ""
    assert isinstance(ran.json, dict)
    assert lab.key not in ran.out


def test_the_json_of_a_plan(lab: CliLab) -> None:
    document = lab.ok("plan", "--json").json
    assert set(document) == {
        "lab",
        "changed",
        "decrypted",
        "changes",
        "new_keys",
        "service",
        "clients",
    }
    assert [row["way"] for row in document["clients"]] == ["literal", "variable"]
    assert document["lab"] == str(lab.root)
    assert (document["changed"], document["changes"]) == (False, [])
    assert document["service"] == {
        "name": "litellm",
        "kind": "supervisor",
        "action": None,
        "why": None,
    }


def test_the_json_of_an_apply_and_a_bootstrap(lab: CliLab) -> None:
    applied = lab.ok("apply", "--json").json
    assert applied["proven"] is True
    assert applied["models"] == ["lab-echo"]
    assert applied["url"] == f"http://127.0.0.1:{lab.port}"
    made = lab.ok("bootstrap", "--json").json
    assert set(made) == set(applied) | {"init", "program", "next"}
    assert made["init"]["created"] == []
    assert made["program"] == str(lab.wrapper)
    assert {row["client"] for row in made["next"]} >= {"droid", "Claude Code", "Open WebUI"}


def test_the_json_of_a_check_and_a_list(lab: CliLab) -> None:
    document = lab.ok("check", "--json").json
    assert document["exit_code"] == 0
    assert all(set(r) == {"topic", "health", "detail", "fix"} for r in document["readings"])
    assert {r["health"] for r in document["readings"]} == {"ok"}
    rows = {row["name"]: row for row in lab.ok("list", "--json").json["secrets"]}
    assert set(rows) == {MASTER, "LITELLM_SALT_KEY", "KEYTURN_INTERNAL_KEY"}
    assert rows[MASTER]["source"] == f"sops:secrets/global.enc.env#{MASTER}"
    first, *others = rows[MASTER]["sources"]
    assert re.fullmatch("[0-9a-f]{8}", first["fingerprint"])
    assert all(other["fingerprint"] is None and other["why_not"] for other in others)


def test_a_list_names_sources_and_fingerprints(lab: CliLab) -> None:
    out = lab.ok("list").out
    assert re.search(rf"^  \* sops:\S+#{MASTER}  [0-9a-f]{{8}}$", out, re.MULTILINE)
    assert f"    env:{MASTER}  the variable" in out
    assert lab.ok("list", "--source", "env").out.count("sops:") == 0


def test_verbose_says_what_is_there_and_what_to_do_next(lab: CliLab) -> None:
    assert "there    " in lab.ok("init", "-v").out
    assert "Next" in lab.ok("-v", "bootstrap").out
    assert "Next" not in lab.ok("bootstrap").out
    assert "compare" in lab.call("apply", "--json", "-v").err


@pytest.mark.parametrize(
    ("before", "after"), [((), ("--lab",)), (("--lab",), ()), ((), ("--lab=",)), (("--lab=",), ())]
)
@pytest.mark.parametrize("words", [("plan",), ("list",), ("get", MASTER)], ids=ids)
def test_options_stand_before_or_after_the_commands_name(
    lab: CliLab, home: Path, words: tuple[str, ...], before: tuple[str], after: tuple[str]
) -> None:
    def spelled(options: tuple[str, ...]) -> list[str]:
        return [
            word
            for option in options
            for word in ([f"--lab={lab.root}"] if "=" in option else [option, str(lab.root)])
        ]

    assert lab.call(*spelled(before), *words, *spelled(after), cwd=home).code == 0


def test_a_lab_is_found_upwards_by_variable_and_as_the_registered_one(lab: CliLab) -> None:
    deep = lab.root / "a" / "b"
    deep.mkdir(parents=True, exist_ok=True)
    assert lab.call("plan", cwd=deep).code == 0
    shutil.rmtree(lab.root / "a")
    elsewhere = lab.home
    assert lab.call("plan", "--json", cwd=elsewhere).json["lab"] == str(lab.root)
    named = lab.call("plan", "--json", cwd=Path("/"), env={"KEYTURN_LAB": str(lab.file)})
    assert named.json["lab"] == str(lab.root)


def test_a_symlink_to_the_lab_is_no_second_lab(lab: CliLab, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(lab.root)
    for words in (("--lab", str(link), "plan"), ("bootstrap", str(link)), ("init", str(link))):
        document = lab.call(*words, "--json").json
        assert document["lab"] == str(lab.root)
    assert lab.call("check", env={"KEYTURN_LAB": str(link)}).code == 0


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (("--no-color", "check"), {}),
        (("bootstrap", "--no-color"), {}),
        (("--no-color", "plan"), {}),
        (("--no-color", "get", "NOPE"), {}),
        (("--no-color", "nosuch"), {}),
        (("check",), {"NO_COLOR": "1"}),
        (("get", "NOPE"), {"NO_COLOR": "1"}),
        (("apply",), {"TERM": "dumb"}),
    ],
)
def test_without_colours_not_one_escape_code_reaches_a_terminal(
    lab: CliLab, words: tuple[str, ...], env: dict[str, str]
) -> None:
    code, shown = on_terminal(*words, cwd=lab.root, env=lab.environment(**env))
    assert code in (0, 2)
    assert shown
    assert ESCAPE not in shown


def test_on_a_terminal_only_the_words_that_matter_are_coloured(lab: CliLab) -> None:
    code, shown = on_terminal("check", cwd=lab.root, env=lab.environment())
    assert code == 0
    assert f"{ESCAPE}[32mok    {ESCAPE}[0m files" in shown
    assert lab.key not in shown


def test_no_colour_goes_into_a_pipe(lab: CliLab) -> None:
    ran = lab.run("check")
    assert ESCAPE not in ran.out + ran.err


def test_get_writes_the_value_and_a_newline(lab: CliLab) -> None:
    assert lab.call("get", MASTER).out == f"{lab.key}\n"
    both = lab.call("get", "--shell", MASTER, "LITELLM_SALT_KEY").out.splitlines()
    assert [line.partition("=")[0] for line in both] == [
        f"export {MASTER}",
        "export LITELLM_SALT_KEY",
    ]


def test_get_refuses_a_terminal_before_anything_is_decrypted(lab: CliLab) -> None:
    nothing = lab.environment(KEYTURN_SOPS="/nonexistent")
    code, shown = on_terminal("get", MASTER, cwd=lab.root, env=nothing)
    assert code == 2
    assert "--reveal" in shown
    code, shown = on_terminal("get", MASTER, "--reveal", cwd=lab.root, env=lab.environment())
    assert (code, shown) == (0, f"{lab.key}\r\n")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("get", "NOPE"), 2, "no secret called NOPE"),
        (("get", MASTER, "LITELLM_SALT_KEY"), 2, "one name at a time"),
        (("get", MASTER, "--source", "vault"), 2, "no source of scheme vault"),
        (("get", MASTER, "--source", "env"), 1, f"no source holds {MASTER}"),
        (("list", "--source", "vault"), 2, "no source of scheme vault"),
        (("plan", "--profile", "nosuch"), 1, "there is no profile nosuch"),
        (("exec", "--source", "env", "--", "true"), 125, f"no source holds {MASTER}"),
        (("exec", "--", "no-such-program"), 127, "no-such-program cannot be run"),
        (("exec", "--", "/etc/passwd"), 126, "it is not executable"),
    ],
)
def test_a_secret_that_cannot_be_had_is_an_error(
    lab: CliLab, words: tuple[str, ...], code: int, said: str
) -> None:
    ran = lab.call(*words)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.error["all"]


@pytest.mark.parametrize("shell", ["bash", "dash", "zsh"])
def test_get_shell_can_be_evaluated(lab: CliLab, shell: str) -> None:
    said = lab.ok("get", "--shell", MASTER).out
    script = f'eval "$(cat)"; printf %s "${MASTER}"'
    ran = subprocess.run([shell, "-c", script], input=said, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == (lab.key, "")


@pytest.mark.parametrize(
    ("line", "with_errors"),
    [
        (f"get {MASTER}", False),
        ("list", False),
        ("list --json", False),
        ("plan --json", False),
        ("--help", False),
        ("exec --help", False),
        ("check", True),
        ("apply", True),
    ],
)
def test_a_reader_that_is_gone_sees_no_traceback(lab: CliLab, line: str, with_errors: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with tempfile.TemporaryFile() as errors:
        files = (0, writer, writer if with_errors else errors.fileno())
        env = lab.environment()
        ran = COPIES.start(line.split(), cwd=lab.root, env=env, descriptors=files)
        os.close(writer)
        forked.status(ran)
        errors.seek(0)
        said = errors.read().decode()
    assert all(row.endswith("…") for row in said.splitlines()), said


def test_a_reader_that_stops_early_sees_no_traceback(lab: CliLab) -> None:
    ran = subprocess.run(
        ["bash", "-c", f"{' '.join(MODULE)} apply 2>&1 | head -1"],
        cwd=lab.root,
        env=lab.environment(),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr, "Traceback" in ran.stdout) == (0, "", False)


def test_exec_gives_the_program_the_secret_and_becomes_it(lab: CliLab, tmp_path: Path) -> None:
    script = f'test "${{{MASTER}}}" && printf %s "${MASTER}"; exit 42'
    for words in (
        ["exec", "--"],
        ["--lab", str(lab.root), "exec"],
        ["-q", "exec", f"--lab={lab.root}", "--"],
        ["exec", "--secret", f"{MASTER}=env:CI_KEY"],
    ):
        ran = lab.run(
            *words,
            "sh",
            "-c",
            script,
            cwd=tmp_path,
            env=lab.environment(CI_KEY=lab.key, LITELLM_X="x"),
        )
        assert (ran.code, ran.out, ran.err) == (42, lab.key, "")


def test_exec_works_without_a_lab_where_the_secret_is_named(tmp_path: Path, lab: CliLab) -> None:
    empty = lab.environment(HOME=str(tmp_path), OPENAI_API_KEY="sk-test-0123456789", K="sk-test-1")
    asked = ("exec", "--secret", "OPENAI_API_KEY", "--", "printenv", "OPENAI_API_KEY")
    assert lab.run(*asked, cwd=tmp_path, env=empty).out == "sk-test-0123456789\n"
    renamed = ("exec", "--secret", "NAME=env:K", "--", "sh", "-c", "echo $NAME$K")
    assert lab.run(*renamed, cwd=tmp_path, env=empty).out == "sk-test-1\n"


def test_exec_says_where_a_broken_lab_file_is_looked_at(lab: CliLab, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text("[gateway\n")
    ran = lab.run("exec", "--", "true", cwd=tmp_path)
    assert ran.code == 125
    assert "keyturn plan says where" in ran.error["fix"]


@pytest.mark.parametrize("words", [("apply",), ("init",), ("bootstrap",)], ids=ids)
def test_one_keyturn_at_a_time(lab: CliLab, words: tuple[str, ...]) -> None:
    with lab_lock(lab.state):
        ran = lab.run(*words)
    assert ran.code == 7
    assert f"process {os.getpid()}" in ran.error["cause"]
    assert lab.run("plan").code == 0


def test_drift_is_exit_code_3_for_plan_when_asked_and_for_check(lab: CliLab) -> None:
    lab.settings.rename(aside := lab.settings.with_name("aside"))
    try:
        assert lab.call("plan").code == 0
        ran = lab.call("plan", "--exit-code")
        assert ran.code == 3
        assert re.search(r"^create +~/.factory/settings.json", ran.out, re.MULTILINE)
        assert lab.call("plan", "--exit-code", "--json").json["changed"] is True
        assert lab.call("apply", "--dry-run").code == 0
        checked = lab.call("check", "--json")
        assert checked.code == checked.json["exit_code"] == 3
        assert not lab.settings.exists()
    finally:
        aside.rename(lab.settings)


def test_a_service_that_does_not_run_is_exit_code_1(
    lab: CliLab, tmp_path: Path, home: Path
) -> None:
    other = bootstrapped(tmp_path, home, "--no-start")
    ran = other.call("check")
    assert ran.code == 1
    assert "it was never started" in ran.out
    document = other.call("plan", "--json").json
    assert document["service"]["action"] == "start"
    assert document["decrypted"] is False


def test_apply_twice_touches_no_file_and_no_process(lab: CliLab) -> None:
    def times() -> dict[str, int]:
        entries = [p for top in (lab.root, lab.home) for p in top.rglob("*") if p.is_file()]
        return {str(p): p.stat().st_mtime_ns for p in entries if p.name not in ("lock",)}

    before, pid = times(), lab.pid
    log = str(lab.state / "gateway.log")
    lab.ok("apply")
    after = times()
    assert {k: v for k, v in after.items() if k != log} == {
        k: v for k, v in before.items() if k != log
    }
    assert lab.pid == pid


@pytest.fixture
def own(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    """A running lab that a test may break."""
    with stopped_after(bootstrapped(tmp_path, home)) as made:
        yield made


def test_apply_mends_what_is_gone_or_too_open_and_refuses_what_was_edited(own: CliLab) -> None:
    config = Path(own.places.litellm / "config.yaml")
    good, pid = snapshot(own.home / ".config" / "litellm"), own.pid
    own.env_file.chmod(0o644)
    assert own.call("check").code == 3
    assert "chmod" in own.ok("apply").out
    assert own.env_file.stat().st_mode & 0o777 == 0o600
    assert own.pid == pid  # a mode is no reason to restart

    config.unlink()
    assert own.call("check").code == 3
    own.ok("apply")
    assert snapshot(own.home / ".config" / "litellm") == good
    assert own.pid != pid

    config.write_text(config.read_text() + "# mine\n")
    before = own.snapshot()
    ran = own.call("apply")
    assert ran.code == 1
    assert "config.yaml: edited by hand" in ran.error["cause"]
    assert own.snapshot() == before
    ran = own.ok("apply", "--force")
    (backup,) = config.parent.glob("config.yaml.keyturn-backup*")
    assert str(backup) in ran.out
    assert backup.read_text().endswith("# mine\n")
    assert backup.stat().st_mode & 0o777 == 0o600
    assert snapshot(own.home / ".config" / "litellm").items() >= good.items()


def test_a_new_model_reaches_the_gateway_and_the_clients(own: CliLab) -> None:
    own.write(
        more='[backends.near]\nkind = "vllm"\n[[models]]\nalias = "qwen"\nbackend = "near"\n'
        '[profiles]\nsmall = ["lab-echo"]'
    )
    plan = own.ok("plan").out
    assert "restart" in plan
    assert "+" in plan
    document = own.ok("apply", "--json").json
    assert sorted(document["models"]) == ["lab-echo", "qwen"]
    settings = json.loads(own.settings.read_text())
    assert [m["model"] for m in settings["customModels"]] == ["lab-echo", "qwen"]
    assert own.ok("apply", "--profile", "small", "--json").json["models"] == ["lab-echo"]


def test_no_start_writes_and_leaves_the_gateway_alone(own: CliLab) -> None:
    pid = own.pid
    own.write(gateway="literal_keys = true")
    ran = own.ok("apply", "--no-start")
    assert "proven" not in ran.out
    assert own.pid == pid
    internal = own.ok("get", "KEYTURN_INTERNAL_KEY").out.strip()
    config = Path(own.places.litellm / "config.yaml").read_text()
    assert internal in config
    assert own.key not in config
    assert own.key not in own.ok("plan").out
    assert own.ok("apply", "--json").json["service"]["why"] == "it runs with older files"
