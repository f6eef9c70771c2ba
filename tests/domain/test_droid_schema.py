"""What droid takes as a model, and what makes it drop a whole settings file."""

import json

import pytest

from bootstrap.domain.droid_schema import (
    effective_ids,
    entry_id,
    entry_name,
    foreign_problems,
    same_gateway,
    validate_entry,
    validate_models,
    validate_settings,
)

GOOD: dict[str, object] = {
    "model": "m",
    "id": "custom:keyturn-m",
    "displayName": "M",
    "baseUrl": "http://127.0.0.1:4000/v1",
    "apiKey": "sk-test-1",
    "provider": "generic-chat-completion-api",
    "maxOutputTokens": 16384,
}


def settings(*entries: object) -> bytes:
    return json.dumps({"customModels": entries}).encode()


def test_the_id_of_an_entry_hangs_on_the_alias_alone() -> None:
    assert entry_id("qwen3:480b") == "custom:keyturn-qwen3:480b"


def test_a_complete_entry_is_valid() -> None:
    assert validate_entry(GOOD) is None
    assert validate_entry({**GOOD, "maxContextLimit": 1000, "noImageSupport": False}) is None
    assert validate_entry({**GOOD, "apiKey": "${LITELLM_MASTER_KEY}"}) is None


@pytest.mark.parametrize(
    "name", ["model", "displayName", "baseUrl", "apiKey", "provider", "maxOutputTokens"]
)
def test_a_required_field_that_is_missing_or_of_another_type_is_named(name: str) -> None:
    assert name in str(validate_entry({k: v for k, v in GOOD.items() if k != name}))
    wrong: object
    for wrong in (None, "", " ", [], True):
        assert name in str(validate_entry({**GOOD, name: wrong}))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"maxOutputTokens": "16384"}, "maxOutputTokens"),
        ({"maxOutputTokens": 0}, "maxOutputTokens"),
        ({"maxContextLimit": 1.5}, "maxContextLimit"),
        ({"noImageSupport": "no"}, "noImageSupport"),
        ({"id": "keyturn-m"}, "id does not start with custom:"),
        ({"id": 5}, "id does not start with custom:"),
        ({"displayName": "\ud800"}, "displayName is not valid Unicode"),
        ({"provider": "Generic-Chat-Completion-API"}, "exactly this spelling"),
        ({"provider": "litellm"}, "provider is none of"),
        ({"baseUrl": "127.0.0.1:4000/v1"}, "baseUrl is not an http"),
        ({"baseUrl": "ftp://127.0.0.1/v1"}, "baseUrl is not an http"),
        ({"baseUrl": "http://u:p@127.0.0.1/v1"}, "baseUrl is not an http"),
        ({"baseUrl": "http://127.0.0.1:4000"}, "does not end in /v1"),
        ({"baseUrl": "http://127.0.0.1:4000", "provider": "openai"}, "does not end in /v1"),
        ({"provider": "anthropic"}, "ends in /v1"),
        ({"apiKey": "sk-test 1"}, "apiKey holds a space"),
        ({"apiKey": "sk-test-1\n"}, "apiKey holds a space"),
        ({"apiKey": "sk-\x7f"}, "apiKey holds a space"),
        ({"apiKey": "YOUR_API_KEY"}, "placeholder"),
        ({"apiKey": "env:LITELLM_MASTER_KEY"}, "sends as it stands"),
        ({"apiKey": "$LITELLM_MASTER_KEY"}, "sends as it stands"),
    ],
)
def test_an_entry_that_droid_could_not_use_is_refused(
    fields: dict[str, object], problem: str
) -> None:
    assert problem in str(validate_entry({**GOOD, **fields}))


def test_anthropic_takes_the_base_url_without_v1() -> None:
    entry = {**GOOD, "provider": "anthropic", "baseUrl": "https://gw.example/"}
    assert validate_entry(entry) is None


def test_in_an_organisation_file_a_command_takes_the_place_of_the_key() -> None:
    entry = {k: v for k, v in GOOD.items() if k != "apiKey"}
    assert "apiKeyHelper" in str(validate_entry(entry, managed=True))
    assert validate_entry({**entry, "apiKeyHelper": "keyturn get K"}, managed=True) is None
    assert "line end" in str(validate_entry({**entry, "apiKeyHelper": "a\nb"}, managed=True))


def test_no_complaint_quotes_a_key() -> None:
    for key in ("sk-test 1", "env:sk-test-1", "$sk-test", "sk-test\n"):
        assert "sk-test" not in str(validate_entry({**GOOD, "apiKey": key}))


def test_a_list_of_our_models_needs_unique_ids_made_from_the_models() -> None:
    assert validate_models([GOOD, {**GOOD, "model": "n", "id": entry_id("n")}]) is None
    assert validate_models([GOOD, GOOD]) == "customModels[1]: another entry has the same id"
    assert "id is not custom:keyturn-" in str(validate_models([{**GOOD, "id": "custom:m"}]))
    assert validate_models(["m"]) == "customModels[0] is not an object"
    assert "customModels[0]: apiKey" in str(validate_models([{**GOOD, "apiKey": ""}]))


@pytest.mark.parametrize(
    ("entries", "ids"),
    [
        # Each row is what droid 0.215.0 printed for such a list; None where it printed nothing.
        (
            ["A B", "A  B", {"displayName": "A B", "id": "custom:x"}, " A \t B ", {"model": "A B"}],
            ["custom:A-B-0", "custom:A-B-1", "custom:x", "custom:A-B-3", "custom:A-B-4"],
        ),
        (
            ["a b", "A B", "x", "A B"],
            ["custom:a-b-0", "custom:A-B-0", "custom:x-0", "custom:A-B-1"],
        ),
        ([{"displayName": "A", "provider": None}, "A"], [None, "custom:A-0"]),
        ([{"displayName": "A", "apiKey": "YOUR_API_KEY"}, "A"], [None, "custom:A-0"]),
        ([{"displayName": "A", "baseUrl": 5}, {"displayName": "A", "model": 5}], [None, None]),
        (
            [{"displayName": ""}, {"displayName": 5}, {"id": 5}],
            ["custom:-0", "custom:m-0", "custom:m-1"],
        ),
        ([None, 5, []], [None, None, None]),
        ([{"baseUrl": None, "bedrock": {}, "displayName": "B"}], ["custom:B-0"]),
    ],
)
def test_default_ids_are_those_that_droid_gives(
    entries: list[object], ids: list[str | None]
) -> None:
    base = {k: v for k, v in GOOD.items() if k not in ("id", "displayName")}
    full = [
        {**base, "displayName": e}
        if isinstance(e, str)
        else {**base, **e}
        if isinstance(e, dict)
        else e
        for e in entries
    ]
    assert effective_ids(full) == ids


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:4000",
        "http://localhost:4000/",
        "http://LOCALHOST.:4000/v1",
        "http://[::1]:4000/v1/",
        "http://127.1.2.3:4000/v1",
        "http://0.0.0.0:4000/v1",
        "https://[::ffff:127.0.0.1]:4000//v1//",
    ],
)
def test_all_spellings_of_loopback_are_the_gateway(base_url: str) -> None:
    assert same_gateway(base_url, "http://127.0.0.1:4000")
    assert same_gateway(base_url, "http://[::1]:4000")
    assert not same_gateway(base_url, "http://10.0.0.1:4000")


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:4001/v1",
        "http://127.0.0.1/v1",
        "http://gw.example:4000/v1",
        "http://127.0.0.1:4000/ollama/v1",
        "http://127.0.0.1:4000/v1?x=1",
        "127.0.0.1:4000",
        "http://127.0.0.1:4000.evil.example/v1",
        "http://127.0.0.1:4000@evil.example:4000/v1",
        "",
        None,
        5,
    ],
)
def test_other_places_are_not_the_gateway(base_url: object) -> None:
    assert not same_gateway(base_url, "http://127.0.0.1:4000")


def test_a_gateway_elsewhere_is_recognised_by_its_name_and_port() -> None:
    assert same_gateway("https://GW.example/v1", "https://gw.example:443")
    assert not same_gateway("http://gw.example/v1", "https://gw.example")
    assert same_gateway("http://[fd00::0:1]:80/v1", "http://[fd00::1]")


def test_one_unknown_provider_costs_the_whole_file_and_is_named() -> None:
    bad = {"displayName": "My\x1b GPT", "model": "g", "provider": "openrouter"}
    problems = foreign_problems(settings(GOOD, {"provider": ""}, bad))
    assert problems == (
        "customModels[1] (unnamed): droid knows no such provider",
        "customModels[2] (My\ufffd GPT): droid knows no such provider",
    )
    assert "customModels[2] (My\ufffd GPT)" in str(validate_settings(settings(bad, bad, bad)))


@pytest.mark.parametrize(
    "provider", ["OpenAI", "GENERIC_CHAT_completion-api", "bedrock_converse", "ANTHROPIC", None, 5]
)
def test_spellings_that_droid_takes_in_the_users_file_are_no_problem(provider: object) -> None:
    assert foreign_problems(settings({"model": "g", "provider": provider}, None, "x")) == ()
    assert validate_settings(settings({"model": "g", "provider": provider})) is None


@pytest.mark.parametrize("data", [b"{}", b'{"customModels": {}}', b'{"customModels": []}'])
def test_a_file_without_models_is_fine(data: bytes) -> None:
    assert foreign_problems(data) == ()
    assert validate_settings(data) is None


def test_bad_syntax_is_reported_with_its_place() -> None:
    assert "line 1, column 21" in str(validate_settings(b'{"customModels": [ 1,]}'))


def test_an_entry_of_ours_that_droid_could_not_use_is_reported() -> None:
    assert validate_settings(settings({"model": "other"}, GOOD)) is None
    broken = validate_settings(settings({"model": "other"}, {**GOOD, "baseUrl": "http://x"}))
    assert str(broken).startswith("customModels[1]: baseUrl")


def test_names_of_foreign_entries_are_short_and_safe_for_a_terminal() -> None:
    assert (
        entry_name({"displayName": "a\x1b[31m\u202e" + "x" * 100}) == "a\ufffd[31m\ufffd" + "x" * 53
    )
    assert entry_name({"displayName": " ", "model": 5, "id": "custom:x"}) == "custom:x"
