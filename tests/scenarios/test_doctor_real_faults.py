"""Each fault of a client's setup as the real client shows it, found, and mended as doctor says.

What it costs is one start of droid (a second of a core) for each state of its files.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.client_place import PONG, Place, open_place
from support.doctor import KEY, OLD_KEY, SETTINGS, legacy_entry
from support.droid_talk import UNAVAILABLE, Answer, Conversation
from support.live_clients import InteractiveDroid
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MASTER = "LITELLM_MASTER_KEY"
# Models without a fault of their own.
OTHERS = ("qwen", "unset", "empty", "stale", "managed", "runtime", "project")


@dataclass(frozen=True)
class Fault:
    """A model of droid's with something wrong.

    Attributes:
        code: What doctor calls it.
        changes: The fields that are not as they should be; None for one that is missing.
        error: What droid says of it; empty where it answers all the same.
        sent: What the gateway gets, of one request; None where it gets nothing.
        mended: What a person who reads doctor's words changes; empty where doctor names a command.
    """

    code: str
    changes: Mapping[str, object]
    error: str
    sent: Mapping[str, object] | None
    mended: Mapping[str, object] = field(default_factory=dict)


def key(text: str) -> dict[str, object]:
    return {"authorization": f"Bearer {text}"}


FAULTS: dict[str, Fault] = {
    "no-model": Fault("KT103", {"model": None}, UNAVAILABLE, None, {"model": "no-model"}),
    "no-provider": Fault("KT103", {"provider": None}, UNAVAILABLE, None),
    "no-url": Fault("KT103", {"baseUrl": None}, UNAVAILABLE, None),
    "no-key": Fault("KT103", {"apiKey": None}, "401", {"authorization": None}),
    "no-limit": Fault("KT104", {"maxOutputTokens": None}, "", {"max_tokens": 32000}),
    "limit-as-text": Fault("KT104", {"maxOutputTokens": "9"}, "", {"max_tokens": 32000}),
    "capitals": Fault("KT105", {"provider": "GENERIC_CHAT_COMPLETION_API"}, "", {}),
    "v1-too-many": Fault(
        "KT106", {"provider": "anthropic"}, "not found", {"path": "/v1/v1/messages"}
    ),
    "v1-too-few": Fault("KT106", {"baseUrl": "{url}"}, "", {"path": "/chat/completions"}),
    "whole-path": Fault(
        "KT106",
        {"baseUrl": "{url}/v1/chat/completions"},
        "404",
        {"path": "/v1/chat/completions/chat/completions"},
    ),
    "other-port": Fault("KT106", {"baseUrl": "http://127.0.0.1:1/v1"}, "Connection error", None),
    "old-key": Fault("KT107", {"apiKey": OLD_KEY}, "401", key(OLD_KEY)),
    "same-id": Fault("KT111", {"id": "custom:same"}, "", None, {"id": None}),
    "guide": Fault("KT116", {"apiKey": f"env:{MASTER}"}, "401", key(f"env:{MASTER}")),
    "shell": Fault("KT116", {"apiKey": f"${MASTER}"}, "401", key(f"${MASTER}")),
    "litellm": Fault(
        "KT116", {"apiKey": f"os.environ/{MASTER}"}, "401", key(f"os.environ/{MASTER}")
    ),
    "copied": Fault("KT119", {"apiKey": OLD_KEY}, "401", key(OLD_KEY)),
    "space": Fault("KT122", {"apiKey": f" {KEY}"}, "401", key(f" {KEY}")),
    "renamed": Fault("KT137", {"model": "nobody"}, "400", None, {"model": "renamed"}),
    "placeholder": Fault("KT125", {"apiKey": "YOUR_API_KEY"}, UNAVAILABLE, None),
    "bad-id": Fault("KT132", {"id": "bad-id"}, "not allowed", None, {"id": "custom:bad-id"}),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with open_place(tmp_path_factory.mktemp("faults"), (*FAULTS, *OTHERS)) as place:
        yield place


@pytest.fixture
def place(made: Place) -> Place:
    made.fresh()
    return made


def listed_id(entry: Mapping[str, Any]) -> str:
    return str(entry.get("id", f"custom:{entry['displayName']}-0"))


def see_symptom(place: Place, droid: Conversation, alias: str) -> None:
    """See droid fail in the way that doctor's words say."""
    fault = FAULTS[alias]
    answer = droid.ask(listed_id(place.entry(alias, **fault.changes)))
    assert fault.error in answer.error, (alias, answer)
    assert (answer == PONG) == (not fault.error), (alias, answer)
    got = place.got(alias)
    sent = {name: (got or {}).get(name) for name in fault.sent or {}}
    assert (got is None, sent) == (fault.sent is None, fault.sent or {}), alias


def mend_by_hand(place: Place) -> None:
    """Do what doctor says about the entries of which it names no command."""
    document = json.loads(place.settings.read_text())
    for entry in document["customModels"]:
        fault = FAULTS.get(entry["displayName"])
        entry.update(fault.mended if fault else {})
        for name in [name for name, value in entry.items() if value is None]:
            del entry[name]
    place.settings.write_text(json.dumps(document))


def test_models_that_were_written_by_hand(place: Place) -> None:
    faulty = {alias: place.entry(alias, **fault.changes) for alias, fault in FAULTS.items()}
    first = place.entry("qwen", id="custom:same")
    fine = place.entry("copied", displayName="good-one")
    place.sick.settings(first, fine, *faulty.values())
    with place.talk() as droid:
        for alias in FAULTS:
            see_symptom(place, droid, alias)

        found = place.sick.findings("KT1")
        for alias, fault in FAULTS.items():
            assert any(f": {alias}" in row["seen"] for row in found[fault.code]), (alias, found)
        place.sick.fix("KT1")
        mend_by_hand(place)
        place.follow("KT1")
        assert place.bad("KT1") == {}

        ids = {entry["model"]: listed_id(entry) for entry in place.models()}
        droid.until(ids["no-model"], PONG)
        for alias in FAULTS:
            assert droid.ask(ids[alias]) == PONG, alias
            got = place.got(alias)
            assert got, alias
            assert (got["path"], got["max_tokens"]) == ("/v1/chat/completions", 4096), alias
    assert KEY not in "".join(place.sick.said)


def test_variables_that_droid_cannot_put_in_and_a_proxy_before_loopback(place: Place) -> None:
    sick = place.sick
    sick.settings(
        place.entry("qwen"),
        place.entry("unset", apiKey=f"${{{MASTER}}}"),
        place.entry("empty", apiKey="${EMPTY_ONE}"),
        place.entry("stale", apiKey="${OF_YESTERDAY}"),
    )
    provider = "GENERIC-CHAT-COMPLETION-API"
    of_company = {"customModels": [place.entry("managed", provider=provider)]}
    managed = sick.write("managed.json", of_company)
    sick.environment |= {
        "EMPTY_ONE": "",
        "OF_YESTERDAY": OLD_KEY,
        "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH": str(managed),
        "HTTP_PROXY": f"http://127.0.0.1:{place.thief.port}",
    }
    sent = {
        "qwen": f"Bearer {KEY}",
        "unset": f"Bearer ${{{MASTER}}}",
        "empty": None,
        "stale": f"Bearer {OLD_KEY}",
    }
    with place.talk(NO_PROXY=None) as droid:
        for alias, header in sent.items():
            answer = droid.ask(f"custom:{alias}-0")
            assert (answer == PONG) == (alias == "qwen"), answer
            assert (place.stolen(alias), place.got(alias)) == ([header], None)
        assert droid.ask("custom:managed-0").error == UNAVAILABLE

    found = place.bad("KT1")
    assert found.keys() >= {"KT105", "KT107", "KT117", "KT121"}
    assert [row["severity"] for row in found["KT105"]] == ["error"]
    place.follow("KT121")
    asked = f'"$(keyturn get {MASTER})"'
    for variable in (MASTER, "EMPTY_ONE", "OF_YESTERDAY"):
        sick.follow(f"export {variable}={asked}")
    managed.write_text(managed.read_text().replace(provider, provider.lower()))
    assert place.bad("KT105", "KT107", "KT117", "KT121") == {}
    with place.talk(NO_PROXY=sick.environment["NO_PROXY"]) as droid:
        for alias in (*sent, "managed"):
            assert droid.ask(f"custom:{alias}-0") == PONG, alias
            assert (place.got(alias) or {})["authorization"] == f"Bearer {KEY}"
    assert len(place.stolen("qwen")) == 1


def test_models_that_another_file_hides(place: Place) -> None:
    sick = place.sick
    elsewhere = f"http://127.0.0.1:{place.thief.port}/v1"

    def instead(alias: str, path: str) -> Path:
        stolen = place.entry(alias, id=f"custom:keyturn-{alias}", baseUrl=elsewhere)
        return sick.write(path, {"customModels": [stolen]})

    (sick.home / "project/.git").mkdir(parents=True)
    instead("project", "project/.factory/settings.json")
    sick.cwd = sick.home / "project"
    sick.environment |= {
        "FACTORY_RUNTIME_SETTINGS_PATH": str(instead("runtime", "run.json")),
        "FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH": str(instead("managed", "managed.json")),
    }
    local = sick.write(".factory/settings.local.json", {"customModels": [place.entry("qwen")]})
    place.sick.write(".factory/config.d/mine.json", {"customModels": [place.entry("shell")]})
    hidden = ("project", "runtime", "managed")
    with place.talk() as droid:
        for alias in hidden:
            assert droid.ask(f"custom:keyturn-{alias}") == PONG
            assert (place.stolen(alias), place.got(alias)) == ([f"Bearer {KEY}"], None)
        assert droid.ask("custom:keyturn-lab-echo").error == UNAVAILABLE  # of settings.json
        assert droid.ask("custom:shell-0").error == UNAVAILABLE  # of config.d
        assert droid.ask("custom:qwen-0") == PONG  # of settings.local.json

    found = place.bad("KT110", "KT112")
    levels = ("(project)", "(runtime", "(org-managed", "settings.local.json has")
    for words in levels:
        assert any(words in row["seen"] for row in found["KT112"]), words
    place.follow("KT110")
    sick.cwd = sick.home.parent / "elsewhere"
    sick.follow("unset FACTORY_RUNTIME_SETTINGS_PATH FACTORY_ORG_MANAGED_SETTINGS_LOCAL_PATH")
    local.unlink()
    assert place.bad("KT110", "KT112") == {}
    with place.talk() as droid:
        for alias in (*hidden, "lab-echo"):
            assert droid.ask(f"custom:keyturn-{alias}") == PONG
            assert place.got(alias)


# A file of which droid reads nothing: the code, its text, and what a person makes of it, if nobody
# else can.
FILES: dict[str, tuple[str, str, str]] = {
    "a byte order mark": ("KT102", "\ufeff{good}", ""),
    "nothing at all": ("KT102", "", ""),
    "no end": ("KT101", '{{"a": "{good}', "{good}"),
    "an unknown provider": ("KT105", '{{"customModels": [{bad}, {entry}]}}', ""),
    "the legacy name": ("KT129", '{{"custom_models": [{entry}]}}', "{good}"),
}


def test_files_that_droid_ignores_as_a_whole_and_sessions_with_old_marks(place: Place) -> None:
    qwen = "custom:keyturn-qwen"
    entry = json.dumps(place.entry("qwen", id=qwen))
    bad = json.dumps(place.entry("shell", provider="litellm"))
    texts = {"good": f'{{"customModels": [{entry}]}}', "entry": entry, "bad": bad}

    def put(text: str) -> None:
        new = place.sick.write(f"{SETTINGS}.new", text.format(**texts))
        new.replace(place.settings)

    place.sick.environment["ANTHROPIC_BASE_URL"] = place.url
    with place.talk() as droid:
        assert droid.ask(qwen) == PONG
        for name, (code, text, mended) in FILES.items():
            put(text)
            droid.until(qwen, Answer("", UNAVAILABLE))
            assert code in place.bad(code), name
            if not text:
                (row,) = place.bad("KT133")["KT133"]
                assert "ANTHROPIC_BASE_URL is set and does nothing for droid" in row["seen"]
            if mended:
                put(mended)
            place.sick.fix(code)
            place.follow("KT133")  # where nothing is in the file any more
            assert code not in place.bad(code), name
            droid.until(qwen, PONG)

    state = max((place.sick.home / ".factory/sessions").rglob("*.settings.json"))
    marks = {"providerLock": "anthropic", "archivedAt": "2026-01-01T00:00:00Z"}
    state.write_text(json.dumps({**json.loads(state.read_text()), **marks}))
    assert "KT123" in place.sick.findings("KT123")
    session = state.name.partition(".")[0]
    with place.talk() as droid:
        assert droid.resume(session) == PONG
        left = json.loads(state.read_text())
        assert (left["providerLock"], left["archivedAt"]) == (
            "generic-chat-completion-api",
            marks["archivedAt"],
        )
    place.sick.fix("KT123")
    assert "archivedAt" not in json.loads(state.read_text())
    assert "KT123" not in place.sick.findings("KT123")


def test_what_an_interactive_start_makes_of_a_reference_and_of_old_files(place: Place) -> None:
    sick = place.sick
    by_reference = place.entry("unset", apiKey=f"${{{MASTER}}}")
    sick.write(SETTINGS, {"customModels": [by_reference]})
    old = legacy_entry(
        model="stale", model_display_name="stale", base_url=f"{place.url}/v1", api_key=OLD_KEY
    )
    sick.write(".factory/config.json", {"custom_models": [old]})
    assert {"KT109", "KT118"} <= place.bad("KT1").keys()
    sick.environment[MASTER] = KEY
    with InteractiveDroid(sick.home, sick.cwd, {MASTER: KEY}):
        until(lambda: KEY in place.settings.read_text(), "droid's own entries")
    assert {entry["model"]: entry["apiKey"] for entry in place.models()} == {
        "unset": KEY,
        "stale": OLD_KEY,
    }
    assert {"KT107", "KT109", "KT118"} <= sick.findings("KT1").keys()
    place.follow("KT1")
    assert place.bad("KT1") == {}
    with place.talk() as droid:
        for alias in ("unset", "stale"):
            assert droid.ask(f"custom:{alias}-0") == PONG


def test_variables_of_claude_code_that_fight_each_other(place: Place) -> None:
    sick = place.sick
    sick.environment |= {
        "ANTHROPIC_BASE_URL": f"{place.url}/v1",
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "ANTHROPIC_API_KEY": OLD_KEY,
        "ANTHROPIC_MODEL": "qwen",
    }
    assert PONG.text not in place.claude().stdout
    got = place.got("qwen") or {}
    assert (got["path"], got["status"]) == ("/v1/v1/messages", 404)
    assert (got["authorization"], got["x_api_key"]) == (f"Bearer {KEY}", OLD_KEY)
    assert {"KT201", "KT202"} <= place.bad("KT2").keys()
    place.follow("KT201")
    place.follow("KT202")

    block = sick.write(".claude/settings.json", {"env": {"ANTHROPIC_MODEL": "gpt-9"}})
    assert PONG.text not in place.claude().stdout
    assert (place.got("gpt-9") or {})["status"] == 400
    assert place.bad("KT2").keys() == {"KT203", "KT204"}
    block.write_text("{}")
    assert place.bad("KT2") == {}
    done = place.claude()
    assert done.stdout.strip() == PONG.text, done.stderr
    got = place.got("qwen") or {}
    assert (got["path"], got["x_api_key"]) == ("/v1/messages", None)


RC = """\
_claude_via_litellm() {{
  env -u ANTHROPIC_API_KEY ANTHROPIC_BASE_URL={url} ANTHROPIC_AUTH_TOKEN={key} \\
    ANTHROPIC_MODEL="$1" claude "${{@:2}}"
}}
alias claude-qwen='_claude_via_litellm qwen'
"""


def test_a_stale_key_in_a_function_of_bash(place: Place) -> None:
    place.sick.write(".bashrc", RC.format(url=place.url, key=OLD_KEY), 0o644)
    call = ("bash", "-ic", "claude-qwen -p hi")
    assert PONG.text not in place.claude(*call).stdout
    assert (place.got("qwen") or {})["authorization"] == f"Bearer {OLD_KEY}"
    assert place.bad("KT2").keys() == {"KT205"}
    place.follow("KT205")
    assert place.bad("KT2") == {}
    done = place.claude(*call)
    assert done.stdout.strip() == PONG.text, done.stderr


def test_a_key_at_rest_gives_way_to_a_helper(place: Place) -> None:
    sick, lab_file = place.sick, place.sick.lab / "lab.toml"
    kept = lab_file.read_text()
    (literal,) = sick.findings("KT108")["KT108"]
    own = place.settings.read_text()
    sick.settings(place.entry("qwen", apiKey=None, apiKeyHelper=f"echo {KEY}"))
    with place.talk() as droid:
        assert "401" in droid.ask("custom:qwen-0").error
        assert (place.got("qwen") or {"authorization": ""})["authorization"] is None
    (helper,) = sick.findings("KT127")["KT127"]
    assert helper["mend"] == f"take that entry out; {literal['mend']}"
    place.settings.write_text(own)
    said, command, export = literal["mend"].split("; ")
    line, table = said.removesuffix(" in lab.toml").split(" under ")
    lab_file.write_text(f"{kept}{table}\n{line}\n")
    try:
        sick.follow(command)
        sick.follow(export.replace("=~/", f"={sick.home}/"))
        assert KEY not in place.settings.read_text()
        assert sick.findings("KT1") == {}
        with place.talk() as droid:
            assert droid.ask("custom:keyturn-qwen") == PONG
    finally:
        lab_file.write_text(kept)
