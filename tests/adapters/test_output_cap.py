"""The callback inside LiteLLM that caps the length of an answer."""

import asyncio
import json
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from bootstrap.gateway.keyturn_output_cap import CAPS_FILE, Caps, OutputCap, capped, handler


class CallTypes(Enum):
    """As LiteLLM's."""

    acompletion = "acompletion"
    aresponses = "aresponses"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / CAPS_FILE
    path.write_text('{"caps": {"big": 8000, "small": 100}}')
    return path


def passed_on(file: Path, request: dict[str, Any], call: Any = CallTypes.acompletion) -> Any:
    hook = OutputCap(Caps(file)).async_pre_call_deployment_hook(request, call)
    return asyncio.run(hook) or request


def request(alias: object = "small", **more: Any) -> dict[str, Any]:
    return {"model": "hosted_vllm/x", "metadata": {"model_group": alias}, **more}


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_a_larger_number_is_lowered_to_the_cap(file: Path, field: str) -> None:
    assert passed_on(file, request(**{field: 99999}))[field] == 100


def test_a_smaller_number_stays(file: Path) -> None:
    assert passed_on(file, request(max_tokens=7))["max_tokens"] == 7


@pytest.mark.parametrize("value", [None, "99999", True, [1]])
def test_what_is_no_number_is_left_to_litellm(file: Path, value: object) -> None:
    assert passed_on(file, request(max_tokens=value))["max_tokens"] == value


def test_the_callers_request_itself_is_not_changed(file: Path) -> None:
    original = request(max_tokens=99999, thinking={"type": "enabled", "budget_tokens": 99999})
    passed_on(file, original)
    assert original["max_tokens"] == 99999
    assert original["thinking"]["budget_tokens"] == 99999


def test_a_fallback_gets_its_own_cap(file: Path) -> None:
    assert passed_on(file, request("big", max_tokens=99999))["max_tokens"] == 8000
    assert passed_on(file, request("small", max_tokens=8000))["max_tokens"] == 100


def test_messages_and_responses_carry_the_alias_elsewhere(file: Path) -> None:
    asked = {"litellm_metadata": {"model_group": "small"}, "metadata": {"user_id": "u"}}
    assert passed_on(file, asked | {"max_tokens": 500})["max_tokens"] == 100


def test_a_client_cannot_lift_the_cap_by_naming_another_alias(file: Path) -> None:
    asked = request("small", max_tokens=500) | {"litellm_metadata": {"model_group": "big"}}
    assert passed_on(file, asked)["max_tokens"] == 100


def test_a_response_without_a_limit_gets_one(file: Path) -> None:
    assert passed_on(file, request(), CallTypes.aresponses)["max_output_tokens"] == 100
    assert passed_on(file, request(), "aresponses")["max_output_tokens"] == 100
    assert "max_output_tokens" not in passed_on(file, request())


def test_a_thinking_budget_fits_below_the_cap(file: Path) -> None:
    thinking = {"type": "enabled", "budget_tokens": 31999}
    lowered = passed_on(file, request("big", max_tokens=32000, thinking=thinking))
    assert lowered["thinking"] == {"type": "enabled", "budget_tokens": 7999}
    assert "thinking" not in passed_on(file, request(max_tokens=32000, thinking=thinking))


@pytest.mark.parametrize("thinking", [{"type": "disabled"}, {"budget_tokens": 50}, "odd"])
def test_other_thinking_stays(thinking: object) -> None:
    assert capped({"thinking": thinking}, 100, responses=False) == {"thinking": thinking}


@pytest.mark.parametrize("asked", [{}, {"metadata": None}, {"metadata": {}}, request("unknown")])
def test_a_request_without_a_known_alias_passes_unchanged(
    file: Path, asked: dict[str, Any]
) -> None:
    assert passed_on(file, asked | {"max_tokens": 9999})["max_tokens"] == 9999


@pytest.mark.parametrize("alias", [["small"], {"small": 1}, 5, None])
def test_an_alias_that_is_no_text_raises_nothing(file: Path, alias: object) -> None:
    assert passed_on(file, request(alias, max_tokens=9999))["max_tokens"] == 9999


def test_a_changed_file_counts_at_once(file: Path) -> None:
    caps = Caps(file)
    assert caps.of("small") == 100
    other = file.with_name("new")
    other.write_text('{"caps": {"small": 50}}')
    other.replace(file)
    assert caps.of("small") == 50


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"caps": 1}', '{"other": {}}', "[" * 9999])
def test_a_broken_file_leaves_the_last_caps_in_force(file: Path, text: str) -> None:
    caps = Caps(file)
    assert caps.of("small") == 100
    file.write_text(text)
    assert caps.of("small") == 100
    file.unlink()
    assert caps.of("small") == 100


def test_without_a_file_nothing_is_capped(tmp_path: Path) -> None:
    assert Caps(tmp_path / "none.json").of("small") is None


@pytest.mark.parametrize("cap", [0, -1, True, "100", None])
def test_a_senseless_cap_is_ignored(file: Path, cap: object) -> None:
    file.write_text(json.dumps({"caps": {"small": cap, "big": 5}}))
    assert Caps(file).of("small") is None
    assert Caps(file).of("big") == 5


def test_litellm_finds_the_callback_under_its_name() -> None:
    assert isinstance(handler, OutputCap)
