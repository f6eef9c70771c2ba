"""A new user on a bare machine: one command, real packages, the real LiteLLM, the real clients."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from support import leaks
from support.acceptance import (
    ECHO_SAYS,
    WRONG_KEY,
    NewUser,
    all_arguments,
    ask_messages,
    changes_in_clone,
    claude,
    grep,
    inserted,
    next_step,
    refuses,
    without_entry,
)
from support.droid import binary, run_droid
from support.droid_talk import Answer, Conversation
from support.hand_made import KEY, SETTINGS, HandMade
from support.homes import pick_free_port, readable_by_others
from support.litellm import Upstream
from support.live_clients import InteractiveDroid, Looping

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# New each time: this file is in the clone, where the key is searched for.
UPSTREAM_KEY = f"sk-test-upstream-{token_hex(16)}"
MOCK_MODEL = """
[secrets.UPSTREAM_API_KEY]
sources = ["file:{key_file}"]

[backends.mock]
kind = "openai-compatible"
url = "http://127.0.0.1:{port}/v1"
key = "UPSTREAM_API_KEY"

[[models]]
alias = "{alias}"
backend = "mock"
upstream = "up-{alias}"
"""
OFFLINE = {
    "FACTORY_AIRGAP_ENABLED": "true",
    "FACTORY_DROID_AUTO_UPDATE_ENABLED": "false",
    "FACTORY_DISABLE_KEYRING": "1",
}
OUR_ID = "custom:keyturn-lab-echo"


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewUser]:
    """Somebody who has just run bootstrap.sh; LiteLLM came from the registry."""
    user = NewUser(tmp_path_factory.mktemp("newcomer"), pick_free_port())
    try:
        user.first_bootstrap()
        yield user
    finally:
        user.stop()


@pytest.fixture
def another(
    newcomer: NewUser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], NewUser]]:
    """Make users with homes and labs of their own, who share the newcomer's packages."""
    made: list[NewUser] = []

    def make() -> NewUser:
        made.append(NewUser(tmp_path_factory.mktemp("another"), pick_free_port(), newcomer))
        return made[-1]

    yield make
    for user in made:
        user.stop()


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    started = Upstream(tmp_path_factory.mktemp("upstream"))
    yield started
    started.stop()


def add_mock_model(user: NewUser, upstream: Upstream, alias: str) -> None:
    key_file = user.home / "upstream.key"
    key_file.touch(mode=0o600)
    key_file.write_text(UPSTREAM_KEY)
    with (user.lab / "lab.toml").open("a") as file:
        file.write(MOCK_MODEL.format(key_file=key_file, port=upstream.port, alias=alias))


@pytest.fixture(scope="module")
def with_mock_model(newcomer: NewUser, upstream: Upstream) -> NewUser:
    """The newcomer after a change of the catalogue, applied."""
    add_mock_model(newcomer, upstream, "mock-model")
    newcomer.run(newcomer.program, "apply")
    return newcomer


def pasted(step: str, more: str = "") -> list[str]:
    return ["sh", "-c", f"{step} {more}"]


def path_with(user: NewUser, *programs: Path) -> dict[str, str]:
    folders = [str(program.parent) for program in programs]
    return {"PATH": ":".join([*folders, user.environment()["PATH"]])}


def test_the_gateway_answers_to_its_key_and_to_no_other(newcomer: NewUser) -> None:
    assert refuses(newcomer.gateway, None)
    assert refuses(newcomer.gateway, WRONG_KEY)
    answer = newcomer.gateway.models(newcomer.key())
    assert verdict(answer, with_key=True) is Verdict.ACCEPTED
    assert set(answer.model_ids) == newcomer.catalogue()


def test_a_deep_check_gets_a_completion(newcomer: NewUser) -> None:
    script = newcomer.clone / "scripts" / "healthcheck.sh"
    said = json.loads(newcomer.run(script, "--deep", "--json").stdout)
    assert said["exit_code"] == 0
    completions = [r for r in said["readings"] if r["topic"].startswith("completion")]
    assert [r["health"] for r in completions] == ["ok"]
    assert {r["health"] for r in said["readings"]} == {"ok"}


def test_the_summary_names_what_was_made_and_holds_no_value(newcomer: NewUser) -> None:
    summary = newcomer.said[0]
    for made in (
        "lab.toml",
        "~/.config/sops/age/keys.txt",
        "secrets/global.enc.env",
        "~/.config/litellm/venv",
        "~/.config/litellm/config.yaml",
        "~/.config/lab-secrets/litellm.env",
        "~/.factory/settings.json",
        "~/.factory/config.d/lab-litellm.json",
        f"http://127.0.0.1:{newcomer.port}",
        "BACK UP",
    ):
        assert made in summary
    assert not leaks.find(newcomer.key().reveal(), texts={"summary": summary})


def test_the_clone_gains_a_lab_and_loses_nothing(newcomer: NewUser) -> None:
    made = [".envrc", ".sops.yaml", "lab.toml", "secrets/global.enc.env"]
    assert changes_in_clone(newcomer.clone) == [f"?? {name}" for name in made]


def test_nobody_else_may_read_what_holds_a_key(newcomer: NewUser) -> None:
    for folder in (newcomer.home / ".config" / "lab-secrets", newcomer.home / ".factory"):
        assert [name for name in readable_by_others(folder) if "/logs/" not in f"/{name}"] == []
    assert newcomer.settings.stat().st_mode & 0o777 == 0o600


def test_a_second_run_changes_nothing(newcomer: NewUser) -> None:
    marks, pid = newcomer.marks(), newcomer.gateway_pid()
    said = newcomer.bootstrap().stdout
    assert newcomer.marks() == marks
    assert newcomer.gateway_pid() == pid
    assert "Nothing to change" in said
    assert "proven" in said


@pytest.mark.parametrize("words", [("check",), ("plan", "--exit-code"), ("list",), ("apply",)])
def test_commands_work_from_any_folder(
    newcomer: NewUser, tmp_path: Path, words: tuple[str, ...]
) -> None:
    pid = newcomer.gateway_pid()
    newcomer.run(newcomer.program, *words, cwd=tmp_path)
    assert newcomer.gateway_pid() == pid


def test_bootstrap_from_another_folder_finds_the_same_lab(
    newcomer: NewUser, tmp_path: Path
) -> None:
    pid = newcomer.gateway_pid()
    newcomer.bootstrap(cwd=tmp_path)
    assert newcomer.gateway_pid() == pid
    assert list(tmp_path.iterdir()) == []


def test_the_first_next_step_makes_droid_answer(newcomer: NewUser) -> None:
    step = next_step(newcomer.said[0], "droid")
    done = newcomer.run(*pasted(step), env=OFFLINE | path_with(newcomer, binary()))
    assert done.stdout.strip() == ECHO_SAYS


def test_droid_answers_with_the_rendered_settings(newcomer: NewUser) -> None:
    done = run_droid(newcomer.home, ["exec", "-m", "custom:lab-echo", "hi"])
    assert (done.returncode, done.stdout.strip()) == (0, ECHO_SAYS)


def test_droid_answers_with_the_overlay_alone(newcomer: NewUser, tmp_path: Path) -> None:
    env = OFFLINE | {"FACTORY_HOME_OVERRIDE": str(tmp_path)}
    asked = ("exec", "-m", "custom:lab-echo", "hi")
    through = (newcomer.program, "exec", "--", binary())
    refused = newcomer.run(*through, *asked, env=env, status=1)
    assert "Invalid model" in refused.stderr
    done = newcomer.run(*through, "--settings", newcomer.overlay, *asked, env=env)
    assert done.stdout.strip() == ECHO_SAYS
    assert not (tmp_path / ".factory" / "settings.json").exists()


def test_droid_with_a_wrong_key_fails(newcomer: NewUser, tmp_path: Path) -> None:
    text = newcomer.settings.read_text()
    (tmp_path / ".factory").mkdir()
    copy = tmp_path / ".factory" / "settings.json"
    copy.write_text(text.replace(newcomer.key().reveal(), WRONG_KEY.reveal()))
    done = run_droid(tmp_path, ["exec", "-m", "custom:lab-echo", "hi"])
    assert done.returncode == 1
    assert ECHO_SAYS not in done.stdout


@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
def test_the_messages_of_claude_code_are_answered(newcomer: NewUser, header: str) -> None:
    prefix = "Bearer " if header == "Authorization" else ""
    right = {header: prefix + newcomer.key().reveal()}
    assert ask_messages(newcomer.port, right, "lab-echo") == (200, ECHO_SAYS)
    for wrong in ({header: prefix + WRONG_KEY.reveal()}, {}):
        status, _ = ask_messages(newcomer.port, wrong, "lab-echo")
        assert status in (400, 401, 403)


def test_the_next_step_for_claude_code_makes_it_answer(newcomer: NewUser) -> None:
    step = next_step(newcomer.said[0], "Claude Code")
    env = path_with(newcomer, claude()) | {"CLAUDE_CODE_MAX_RETRIES": "0"}
    done = newcomer.run(*pasted(step, "-p hi"), env=env)
    assert done.stdout.strip() == ECHO_SAYS


def test_claude_code_with_a_wrong_key_fails(newcomer: NewUser) -> None:
    env = {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{newcomer.port}",
        "ANTHROPIC_AUTH_TOKEN": WRONG_KEY.reveal(),
        "ANTHROPIC_MODEL": "lab-echo",
        "CLAUDE_CODE_MAX_RETRIES": "0",
    }
    done = newcomer.run(claude(), "-p", "hi", env=env, status=1)
    assert ECHO_SAYS not in done.stdout


def test_a_model_added_to_the_catalogue_reaches_droid_and_its_key_the_upstream(
    with_mock_model: NewUser, upstream: Upstream
) -> None:
    user = with_mock_model
    done = run_droid(user.home, ["exec", "-m", "custom:mock-model", "hi"])
    assert (done.returncode, done.stdout.strip()) == (0, "pong from mock")
    last = upstream.requests("up-mock-model")[-1]
    assert last["authorization"] == f"Bearer {UPSTREAM_KEY}"
    assert not leaks.find(user.key().reveal(), texts={"request": json.dumps(last)})
    assert set(user.gateway.models(user.key()).model_ids) == user.catalogue()


def test_an_applied_catalogue_is_well_and_stays_as_it_is(with_mock_model: NewUser) -> None:
    user = with_mock_model
    marks, pid = user.marks(), user.gateway_pid()
    user.run(user.program, "check", "--deep")
    user.bootstrap()
    assert user.marks() == marks
    assert user.gateway_pid() == pid


def test_a_model_that_droid_has_chosen_stays_chosen_under_another_alias(
    with_mock_model: NewUser, upstream: Upstream
) -> None:
    user, lab_file = with_mock_model, with_mock_model.lab / "lab.toml"
    settings = user.home / ".factory" / "settings.json"
    before = settings.read_text()
    chosen = {"sessionDefaultSettings": {"model": "custom:keyturn-mock-model"}}
    settings.write_text(json.dumps(json.loads(before) | chosen))
    renamed = 'alias = "renamed"\nid = "mock-model"'
    lab_file.write_text(lab_file.read_text().replace('alias = "mock-model"', renamed))
    user.run(user.program, "apply")
    asked = len(upstream.requests("up-mock-model"))
    done = run_droid(user.home, ["exec", "hi"])
    assert (done.returncode, done.stdout.strip()) == (0, "pong from mock")
    assert len(upstream.requests("up-mock-model")) > asked
    after = json.loads(settings.read_text())
    assert after.pop("sessionDefaultSettings") == chosen["sessionDefaultSettings"]
    settings.write_text(json.dumps(after))  # the others choose for themselves


def test_clients_that_are_at_work_carry_on_across_a_rotation(
    newcomer: NewUser, tmp_path: Path
) -> None:
    user, old = newcomer, newcomer.key()
    fixed = {
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{user.port}",
        "ANTHROPIC_AUTH_TOKEN": old.reveal(),
        "ANTHROPIC_MODEL": "lab-echo",
        "CLAUDE_CODE_MAX_RETRIES": "0",  # a failed turn shall be seen
    }
    droids = Looping(lambda: run_droid(user.home, ["exec", "-m", "custom:lab-echo", "hi"]))
    claudes = Looping(lambda: user.run_any(claude(), "-p", "hi", env=fixed))
    with InteractiveDroid(user.home, tmp_path) as person, droids, claudes:
        assert person.ask("the first question") == ECHO_SAYS
        droids.more(1)
        claudes.more(1)
        user.run(user.program, "rotate", "--grace", "10m")
        assert person.ask("the second question") == ECHO_SAYS
        droids.more(1)
        claudes.more(1)
        claudes.stop()  # its environment is fixed, so the grace time is all it has
        user.run(user.program, "rotate", "--resume")
        assert refuses(user.gateway, old)
        assert person.ask("the third question") == ECHO_SAYS
        droids.more(1)
        assert "BYOK Error" not in person.screen
    assert droids.failures(ECHO_SAYS) + claudes.failures(ECHO_SAYS) == []
    user.run(user.program, "check")
    assert leaks.find(old.reveal(), user.files()) == []


def test_settings_made_by_hand_are_adopted_and_keep_working(
    another: Callable[[], NewUser], upstream: Upstream
) -> None:
    user = another()
    user.run(user.program, "init", "--port", user.port)
    add_mock_model(user, upstream, "qwen3p6-plus")
    user.settings.parent.mkdir()
    before = (SETTINGS % (user.port, KEY)).encode()
    user.settings.write_bytes(before)
    user.bootstrap()

    rest = without_entry(user.settings.read_bytes(), OUR_ID)
    expected = before.replace(KEY.encode(), user.key().reveal().encode()).replace(
        f"//localhost:{user.port}".encode(), f"//127.0.0.1:{user.port}/v1".encode()
    )
    assert inserted(expected, rest) == b","
    chosen = "custom:Qwen-3-Plus-(Local-LiteLLM)-0"
    done = run_droid(user.home, ["exec", "-m", chosen, "hi"])
    assert (done.returncode, done.stdout.strip()) == (0, "pong from mock")


def test_a_lab_that_the_guides_make_is_adopted_and_droid_and_claude_code_work(
    another: Callable[[], NewUser],
) -> None:
    user = another()
    by_hand = HandMade(user.home, user.lab, user.port)
    by_hand.write()
    by_hand.nohup()
    try:
        user.run(user.program, "adopt", user.lab, "--port", user.port, "--yes")
        assert user.key() == Secret(KEY)
        with Conversation(user.home) as droid:
            for chosen in ("custom:canned", "custom:keyturn-lab-echo"):
                assert droid.ask(chosen) == Answer(ECHO_SAYS, "")
        step = '. "$HOME/.bashrc"; _claude_via_litellm canned -p hi'
        env = path_with(user, claude())
        assert user.run("bash", "-c", step, env=env).stdout.strip() == ECHO_SAYS
        left = {name for name in by_hand.holders(KEY) if "/adopted/" not in name}
        assert left == {".config/lab-secrets/litellm.env", ".factory/settings.json"}
        assert not leaks.find(KEY, texts={str(n): said for n, said in enumerate(user.said)})
    finally:
        by_hand.stop_first()


# One with comments after and between entries, CRLF and hooks; one on a single line; one where
# spaces and tabs mix. What looks like a comment or an end within a string is neither.
THEIR_ID = "custom:Theirs-0"
THEIR_LAST_ID = "custom:Théirs-2-0"
CRLF = """\
// mine, hands off ]}
{
    "enabledPlugins": { "core@factory-plugins": true , "x@y":false },
    "hooks": {"PreToolUse": [{"matcher": "Execute|Edit",
        "hooks": [{"type": "command", "command": "echo \\"hi\\" // ] }", "timeout": 1e1}]}]},
    "customModels": [ /* the first */
        {"model":"a","displayName":"Theirs","provider":"openai",
           "baseUrl":"https://one.example.invalid/v1", "apiKey":"${THEIR_KEY}"},   // keep
        { "model": "b", "displayName": "Th\\u00e9irs 2", "provider": "ANTHROPIC",
          "baseUrl": "https://two.example.invalid" } // the last ] }
    ], "logoAnimation" : "off", // no end of line below
    "trustedFolders": {"/srv/x": {"trustedAt": "2025-01-01T00:00:00.000Z"}} }""".replace(
    "\n", "\r\n"
)
ONE_LINE = (
    '{"customModels":[{"model":"a","displayName":"Theirs","provider":"openai","baseUrl":"https://o'
    'ne.example.invalid/v1"},{"model":"b","displayName":"Théirs 2","provider":"openai","baseUrl":"h'
    'ttps://two.example.invalid/v1"}],"enabledPlugins":{"core@factory-plugins":true},"hooks":{}}'
)
MIXED = """\
{
\t  "logoAnimation":"off",


   "customModels":
\t[
\t\t{ "displayName" : "Theirs", "model":"a" ,
 "provider":"generic-chat-completion-api",\t"baseUrl":"https://one.example.invalid/v1",
\t\t  "extraHeaders":{"a":"}"}, "extraArgs" : {"top_p":0.50, "n": 1E0} }

\t\t, {"model":"b","displayName":"Théirs 2","provider":"openai",
\t\t"baseUrl":"https:\\/\\/two.example.invalid/v1"}
\t]
 , "hooks" : { "Stop" : [ ] }
}


"""
NO_MODELS = """\
{
   "enabledPlugins": {
      "core@factory-plugins": true
   },
   /* no models yet */
   "hooks": {}
}
"""


def known_to_droid(user: NewUser) -> str:
    """Return droid's complaint about a model that nobody has: it lists those that there are."""
    return run_droid(user.home, ["exec", "-m", "custom:__none__", "x"]).stderr


@pytest.mark.parametrize("style", [CRLF, ONE_LINE, MIXED], ids=["crlf", "one-line", "mixed"])
def test_populated_settings_gain_our_entry_and_keep_every_other_byte(
    another: Callable[[], NewUser], style: str
) -> None:
    user = another()
    user.settings.parent.mkdir()
    before = style.encode()
    user.settings.write_bytes(before)
    user.first_bootstrap("--no-start")

    after = user.settings.read_bytes()
    assert inserted(before, without_entry(after, OUR_ID)) == b","
    assert (b"\r\n" in before) == (b"\r\n" in after)
    assert after.count(b"\r\n") in (0, after.count(b"\n"))
    listed = known_to_droid(user)
    for one in (THEIR_ID, THEIR_LAST_ID, OUR_ID):
        assert one in listed
    user.bootstrap("--no-start")
    assert user.settings.read_bytes() == after


def test_settings_without_models_gain_a_list_and_keep_every_other_byte(
    another: Callable[[], NewUser],
) -> None:
    user = another()
    user.settings.parent.mkdir()
    user.settings.write_text(NO_MODELS)
    user.first_bootstrap("--no-start")
    added = inserted(NO_MODELS.encode(), user.settings.read_bytes()).decode()
    document = json.loads("{" + added.strip(", \n") + "}")
    assert list(document) == ["customModels"]
    assert [entry["id"] for entry in document["customModels"]] == [OUR_ID]
    assert OUR_ID in known_to_droid(user)


def test_no_key_stands_anywhere_but_in_the_files_declared_for_it(with_mock_model: NewUser) -> None:
    user = with_mock_model
    said = dict(enumerate(user.said)) | {-1: all_arguments()}
    texts = {f"output {number}": text for number, text in said.items()}
    env_files = [path for path in user.may_hold_keys() if path != user.settings]
    for secret, allowed in (
        (user.key(), user.may_hold_keys()),
        (user.key("LITELLM_SALT_KEY"), env_files),
        (Secret(UPSTREAM_KEY), [*env_files, user.home / "upstream.key"]),
    ):
        value = secret.reveal()
        assert leaks.find(value, user.files(), texts=texts, allowed=allowed) == []
        assert grep(secret, user.packages()) == []
        assert any(value in path.read_text() for path in env_files)  # so the search can find it


def test_the_private_age_identity_stays_where_it_is(newcomer: NewUser) -> None:
    keys = newcomer.home / ".config" / "sops" / "age" / "keys.txt"
    (identity,) = (line for line in keys.read_text().splitlines() if line.startswith("AGE-"))
    texts = {"arguments": all_arguments(), "outputs": "\n".join(newcomer.said)}
    assert leaks.find(identity, newcomer.files(), texts=texts, allowed=[keys]) == []
