"""What LiteLLM is told, and which mistakes in its file are found before it starts."""

from pathlib import PurePath
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bootstrap.domain.lab import Lab
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.litellm_config import (
    fallbacks,
    general_settings,
    litellm_settings,
    model_list,
    output_caps,
    to_yaml,
    validate,
)

LAB = """
[secrets.CLOUD_KEY]
[secrets.OPENAI_KEY]
[secrets.REDIS_PASSWORD]
[backends.local]
kind = "ollama"
[backends.cloud]
kind = "ollama-cloud"
key = "CLOUD_KEY"
[backends.gpu]
kind = "vllm"
url = "http://127.0.0.1:8000/v1/"
[backends.real]
kind = "openai"
key = "OPENAI_KEY"
[[models]]
alias = "qwen:480b"
backend = "cloud"
upstream = "qwen3-coder:480b-cloud"
context_tokens = 262144
output_tokens = 32768
fallbacks = ["small", "lab-echo"]
[[models]]
alias = "small"
backend = "local"
output_tokens = 100
[[models]]
alias = "vision"
backend = "gpu"
images = true
stream_only = true
[[models]]
alias = "gpt"
backend = "real"
[redis]
password = "REDIS_PASSWORD"
"""
NAMES = frozenset(
    {"KEYTURN_INTERNAL_KEY", "LITELLM_SALT_KEY", "CLOUD_KEY", "OPENAI_KEY", "REDIS_PASSWORD"}
)


def lab_of(text: str = LAB) -> Lab:
    return parse_lab(text, PurePath("/lab"))


def params(alias: str, lab: Lab | None = None) -> dict[str, Any]:
    entries = {e["model_name"]: e for e in model_list(lab or lab_of())}
    found = entries[alias]["litellm_params"]
    assert isinstance(found, dict)
    return found


def document(lab: Lab) -> dict[str, Any]:
    return {
        "model_list": model_list(lab),
        "router_settings": {"fallbacks": fallbacks(lab)},
        "litellm_settings": litellm_settings(lab),
        "general_settings": general_settings(lab),
    }


def test_every_model_is_listed_in_the_labs_order() -> None:
    names = [entry["model_name"] for entry in model_list(lab_of())]
    assert names == ["lab-echo", "qwen:480b", "small", "vision", "gpt"]


def test_the_echo_model_answers_without_an_upstream() -> None:
    assert params("lab-echo") == {
        "model": "hosted_vllm/lab-echo",
        "api_base": "http://127.0.0.1:9/v1",
        "api_key": "none",
        "mock_response": "the gateway works",
    }


def test_a_model_says_where_it_runs_and_how_long_its_answer_may_be() -> None:
    assert params("qwen:480b") == {
        "model": "ollama_chat/qwen3-coder:480b-cloud",
        "api_base": "https://ollama.com",
        "api_key": "os.environ/CLOUD_KEY",
        "max_tokens": 32768,
    }
    assert params("vision")["model"] == "hosted_vllm/vision"
    assert params("vision")["api_base"] == "http://127.0.0.1:8000/v1"


def test_a_backend_without_a_key_says_so_instead_of_leaving_it_to_the_environment() -> None:
    assert params("small")["api_key"] == "none"


def test_what_the_real_openai_refuses_is_dropped() -> None:
    assert "top_k" in params("gpt")["additional_drop_params"]
    assert "additional_drop_params" not in params("vision")


def test_a_model_that_only_streams_gets_no_setting_that_has_no_effect() -> None:
    assert "stream" not in params("vision")


def test_the_catalogue_tells_sizes_and_images() -> None:
    infos = {e["model_name"]: e["model_info"] for e in model_list(lab_of())}
    assert infos["qwen:480b"] == {"max_output_tokens": 32768, "max_input_tokens": 262144}
    assert infos["vision"]["supports_vision"] is True


def test_fallbacks_and_caps_follow_the_lab() -> None:
    assert fallbacks(lab_of()) == [{"qwen:480b": ["small", "lab-echo"]}]
    assert output_caps(lab_of())["small"] == 100


def test_unknown_parameters_are_dropped_and_the_cap_is_called() -> None:
    assert litellm_settings(lab_of("")) == {
        "drop_params": True,
        "callbacks": ["keyturn_output_cap.handler"],
    }


@pytest.mark.parametrize(
    ("text", "password"),
    [(LAB, "os.environ/REDIS_PASSWORD"), ("[redis]\nport = 7000", None)],
)
def test_a_redis_is_used_as_the_cache(text: str, password: str | None) -> None:
    settings = litellm_settings(lab_of(text))
    assert settings["cache"] is True
    assert settings["cache_params"]["type"] == "redis"
    assert settings["cache_params"].get("password") == password


def test_under_the_guard_litellm_gets_a_master_key_that_no_client_holds() -> None:
    assert general_settings(lab_of()) == {
        "master_key": "os.environ/KEYTURN_INTERNAL_KEY",
        "custom_auth": "keyturn_guard.user_api_key_auth",
        "custom_auth_run_common_checks": True,
    }


def test_without_the_guard_the_master_key_is_a_reference() -> None:
    lab = parse_lab('[gateway]\nauth = "master-key"\n', PurePath("/lab"))
    assert general_settings(lab) == {"master_key": "os.environ/LITELLM_MASTER_KEY"}


# YAML


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc_", min_size=1), inner),
    max_leaves=15,
)


@given(VALUES, st.integers(0, 6))
def test_what_is_written_is_read_back(value: object, indent: int) -> None:
    text = "top:\n" + to_yaml({"inner": value}, indent + 1) + "\n"
    assert yaml.safe_load(text) == {"top": {"inner": value}}


def test_texts_are_quoted_and_keys_and_numbers_are_not() -> None:
    assert to_yaml({"a": "12", "b": 12, "c": True}, 2) == '  a: "12"\n  b: 12\n  c: true'


def test_the_same_list_twice_makes_no_anchor() -> None:
    same = ["x"]
    assert "&" not in to_yaml({"a": same, "b": same})


def test_literal_keys_stand_in_for_their_references_and_for_nothing_else() -> None:
    value = {"a": "os.environ/K", "b": "os.environ/OTHER", "c": "K"}
    assert yaml.safe_load(to_yaml(value, literal={"K": 'sk-"test'})) == {
        "a": 'sk-"test',
        "b": "os.environ/OTHER",
        "c": "K",
    }


# Validation


def problem(change: dict[str, Any]) -> str | None:
    lab = lab_of()
    return validate(to_yaml(document(lab) | change).encode(), lab, NAMES)


def test_what_we_write_is_sound() -> None:
    assert problem({}) is None


def test_a_lab_without_fallbacks_is_sound() -> None:
    lab = lab_of("")
    text = to_yaml({k: v for k, v in document(lab).items() if k != "router_settings"})
    assert validate(text.encode(), lab, NAMES) is None


GOOD = model_list(lab_of())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_list": {}}, "model_list is not a list"),
        ({"model_list": ["x"]}, r"model_list[0] has no model_name"),
        ({"model_list": [{"model_name": ""}]}, r"model_list[0] has no model_name"),
        ({"model_list": [{"model_name": "a"}]}, "has no litellm_params.model"),
        (
            {"model_list": [{"model_name": "a", "litellm_params": {"model": "nowhere/a"}}]},
            "does not start with a known provider",
        ),
        (
            {"model_list": [{"model_name": "a", "litellm_params": {"model": "openai/"}}]},
            "does not start with a known provider",
        ),
        ({"model_list": GOOD[1:]}, "model_list lacks lab-echo"),
        ({"router_settings": {"fallbacks": 1}}, "is not a list of mappings"),
        ({"router_settings": {"fallbacks": [1]}}, "is not a list of mappings"),
        ({"router_settings": {"fallbacks": [{"gpt": "small"}]}}, "not a list of names"),
        ({"router_settings": {"fallbacks": [{"gpt": [1]}]}}, "not a list of names"),
        ({"router_settings": {"fallbacks": [{"gpt": ["typo"]}]}}, "that model_list does not have"),
        ({"general_settings": {}}, "general_settings.master_key is not there"),
        ({"general_settings": None}, "general_settings.master_key is not there"),
        ({"general_settings": {"master_key": 12345678}}, "master_key is not there"),
        ({"general_settings": {"master_key": " "}}, "master_key is not there"),
        ({"general_settings": {"master_key": "sk-test\n"}}, "blanks around it"),
        ({"general_settings": {"master_key": "os.environ/OTHER"}}, "will not have"),
        ({"other": [{"deep": ["os.environ/NOWHERE"]}]}, "will not have"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], words: str) -> None:
    assert words in (problem(change) or "")


def test_a_variable_that_the_env_file_will_lack_is_found() -> None:
    lab = lab_of()
    found = validate(to_yaml(document(lab)).encode(), lab, NAMES - {"OPENAI_KEY"})
    assert found == "it refers to a variable that the gateway's environment will not have"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a: [1", "it is not YAML (line 1)"),
        (b"a: 'sk-test-secret", "it is not YAML (line 1)"),
        (b"\xff\xfe\xff", "it is not YAML"),
        (b"a: \x07", "it is not YAML"),
        pytest.param(b"[" * 5000, "it is not YAML", marks=pytest.mark.faults),
        (b"", "it is not a mapping"),
        (b"- 1", "it is not a mapping"),
    ],
)
def test_a_file_that_is_no_config_is_refused_without_quoting_it(data: bytes, words: str) -> None:
    found = validate(data, lab_of(), NAMES)
    assert found is not None
    assert words in found
    assert "secret" not in found
