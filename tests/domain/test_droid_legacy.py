"""Our models leave the legacy config.json; everything else in it stays."""

import json

import pytest

from bootstrap.domain.droid import Legacy, retire_legacy

GATEWAY = "http://127.0.0.1:4000"
# The hand-made setup that keyturn takes over.
SEED = """{
"custom_models": [
{
"model_display_name": "qwen3-coder (LiteLLM)",
"model": "qwen3-coder:480b-cloud",
"base_url": "http://127.0.0.1:4000/v1/",
"api_key": "env:LITELLM_MASTER_KEY",
"provider": "generic-chat-completion-api",
"max_tokens": 128000
}
]
}"""


def retire(text: str, *aliases: str) -> Legacy:
    return retire_legacy(text.encode(), aliases=aliases, gateway_url=GATEWAY)


def entry(model: str, base_url: str = f"{GATEWAY}/v1") -> str:
    return json.dumps({"model": model, "base_url": base_url, "api_key": "sk-test-old"})


def test_a_file_with_nothing_but_our_models_goes() -> None:
    assert retire(SEED, "qwen3-coder:480b-cloud") == Legacy(None, ("qwen3-coder (LiteLLM)",))
    assert retire("// old\n" + SEED, "qwen3-coder:480b-cloud").data is None


def test_an_entry_for_a_model_that_the_catalogue_lacks_is_kept_and_named() -> None:
    data = SEED.encode()
    legacy = retire_legacy(data, aliases=["other"], gateway_url=GATEWAY)
    assert legacy == Legacy(data, (), ("qwen3-coder (LiteLLM)",))
    assert legacy.data is data


def test_all_other_entries_and_comments_stay_as_they_are() -> None:
    text = (
        '{ // mine\n  "custom_models": [\n    %s, // cloud\n    %s,\n    %s,\n    null\n  ],\n'
        '  "custom_models_note": 1e0\n}'
    )
    cloud, kept = entry("a", "https://api.example/v1"), entry("gone")
    legacy = retire(text % (cloud, entry("a", "http://localhost:4000"), kept), "a")
    assert legacy.data == text.replace("    %s,\n    %s,\n", "    %s,\n").encode() % (
        cloud.encode(),
        kept.encode(),
    )
    assert (legacy.removed, legacy.kept) == (("a",), ("gone",))


def test_a_file_with_another_member_stays_without_our_models() -> None:
    legacy = retire(f'{{"custom_models": [{entry("a")}], "x": 1}}', "a")
    assert legacy.data == b'{"custom_models": [], "x": 1}'


@pytest.mark.parametrize(
    "text", ["{}", '{"custom_models": []}', '{"custom_models": [{"model": ["a"]}, "x"]}']
)
def test_a_file_without_our_models_is_left_alone(text: str) -> None:
    assert retire(text, "a") == Legacy(text.encode())


def test_a_model_that_is_no_text_is_nobodys() -> None:
    text = f'{{"custom_models": [{{"model": ["a"], "base_url": "{GATEWAY}"}}]}}'
    assert retire(text, "a").kept == ("unnamed",)


@pytest.mark.parametrize("text", ['{"custom_models": [1,]}', '{"custom_models": {}}', ""])
def test_a_broken_file_is_reported_and_left_alone(text: str) -> None:
    legacy = retire(text, "a")
    assert legacy.data == text.encode()
    assert "line 1" in legacy.problem


def test_the_result_does_not_print_the_file() -> None:
    text = f'{{"custom_models": [{entry("b")}], "x": 1}}'
    assert "sk-test-old" not in repr(retire(text, "a"))
