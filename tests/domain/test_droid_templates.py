"""The three files for droid: its settings, the overlay and the organisation's file."""

import json
from typing import Any

from bootstrap.domain.droid import validate_models, validate_settings
from bootstrap.domain.jsonc import parse, plain
from bootstrap.domain.lab import Gateway, Model
from bootstrap.domain.secret import Secret
from bootstrap.domain.template import render
from support.homes import REPOSITORY

KEY = 'sk-test-"quoted"\\'
MODELS = (
    Model("qwen3:480b", "b", "u", 'Qwen “3”, the "big" \\ one', 128000, 262144),
    Model("for-claude", "b", "u", "Claude only", clients=("claude",)),
    Model("eyes", "b", "u", "Eyes", images=True, id="first-alias"),
)


def rendered(name: str, models: tuple[Model, ...] = MODELS) -> bytes:
    context = {
        "models": models,
        "gateway": Gateway(port=4321),
        "droid_key": Secret(KEY),
        "droid_key_name": "LITELLM_MASTER_KEY",
        "key_helper": "'/opt/k t/keyturn' get K --lab '/my \"lab\"'",
    }
    source = (REPOSITORY / "templates" / "factory" / name).read_text()
    return render(source, context, name=f"factory/{name}").data


def entries(data: bytes) -> Any:
    document: Any = plain(parse(data).root)
    assert list(document) == ["customModels"]
    return document["customModels"]


def without_key(entry: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in entry.items() if not k.startswith("apiKey")}


def test_the_settings_hold_the_models_that_droid_lists_with_the_key() -> None:
    data = rendered("settings.json.j2")
    assert json.loads(data)["customModels"] == entries(data)
    assert entries(data) == [
        {
            "model": "qwen3:480b",
            "id": "custom:keyturn-qwen3:480b",
            "displayName": 'Qwen “3”, the "big" \\ one',
            "baseUrl": "http://127.0.0.1:4321/v1",
            "apiKey": KEY,
            "provider": "generic-chat-completion-api",
            "maxContextLimit": 262144,
            "maxOutputTokens": 128000,
        },
        {
            "model": "eyes",
            "id": "custom:keyturn-first-alias",
            "displayName": "Eyes",
            "baseUrl": "http://127.0.0.1:4321/v1",
            "apiKey": KEY,
            "provider": "generic-chat-completion-api",
            "noImageSupport": False,
            "maxOutputTokens": 16384,
        },
    ]
    assert validate_models(entries(data)) is None


def test_the_overlay_says_the_same_with_a_reference_for_the_key() -> None:
    data, settings = rendered("lab-litellm.json.j2"), rendered("settings.json.j2")
    assert data.startswith(b"// Written by keyturn")
    assert {entry["apiKey"] for entry in entries(data)} == {"${LITELLM_MASTER_KEY}"}
    assert [*map(without_key, entries(data))] == [*map(without_key, entries(settings))]
    assert validate_models(entries(data)) is None


def test_the_organisation_file_is_plain_json_with_a_command_for_the_key() -> None:
    data, settings = rendered("org-settings.json.j2"), rendered("settings.json.j2")
    found = json.loads(data)["customModels"]
    assert {entry["apiKeyHelper"] for entry in found} == {
        "'/opt/k t/keyturn' get K --lab '/my \"lab\"'"
    }
    assert {entry["apiKeyHelperTtlMs"] for entry in found} == {300000}
    assert [*map(without_key, found)] == [*map(without_key, entries(settings))]
    assert validate_models(found, managed=True) is None


def test_no_key_stands_in_the_files_that_do_not_need_one() -> None:
    for name in ("lab-litellm.json.j2", "org-settings.json.j2"):
        assert b"sk-test" not in rendered(name)
        assert b'"apiKey": "sk-' not in rendered(name)


def test_a_lab_without_models_for_droid_renders_empty_lists() -> None:
    for name in ("settings.json.j2", "lab-litellm.json.j2", "org-settings.json.j2"):
        data = rendered(name, models=MODELS[1:2])
        assert entries(data) == []
        assert validate_settings(data) is None
