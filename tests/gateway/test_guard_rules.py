"""What an accepted key may ask: routes by name, and nothing of a provider from a client's body."""

import json
from typing import Any

import pytest

from bootstrap.gateway.keyturn_guard_rules import (
    Refusal,
    Route,
    check_fields,
    check_models,
    named_models,
    refused_fields,
    route_of,
)

KINDS = {
    "master": {"master": True, "scoped": False},
    "client": {"master": False, "scoped": False},
    "scoped": {"master": False, "scoped": True},
}
REFUSED = refused_fields(["metadata", "fallbacks", "num_retries", "adaptive_router_config"])


def who(method: str, path: str) -> str:
    """Return the kinds of keys that may ask for a route."""
    allowed = []
    for kind, arguments in KINDS.items():
        try:
            route_of(method, path, **arguments)
            allowed.append(kind)
        except Refusal:
            continue
    return " ".join(allowed)


CALLS = [
    "/v1/chat/completions",
    "/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/openai/v1/responses",
    "/v1/responses/compact",
    "/v1/audio/transcriptions",
    "/v1/audio/speech",
    "/v1/images/generations",
    "/rerank",
    "/v2/rerank",
    "/engines/small/chat/completions",
    "/openai/deployments/small/embeddings",
    "/v1beta/models/small:generateContent",
    "/models/small:streamGenerateContent",
]
KEPT = ["/v1/responses/resp_x", "/v1/files", "/v1/files/x/content", "/batches/x", "/v1/realtime"]
MASTER_CALLS = [
    "/utils/token_counter",
    "/v1/threads/x/messages",
    "/v1/vector_stores",
    "/anthropic/v1/messages",
    "/openai/v1/anything",
    "/vertex_ai/v1/projects/x",
    "/bedrock/model/x/converse",
]
MASTER_READS = ["/health", "/cache/ping", "/model/info", "/v1/model/info", "/model_group/info"]
CLOSED = [
    "/",
    "/routes",
    "/settings",
    "/get/config/callbacks",
    "/config/update",
    "/config/yaml",
    "/model/new",
    "/model/info/update",
    "/key/generate",
    "/key/info",
    "/key/list",
    "/user/new",
    "/user/info",
    "/team/new",
    "/team/list",
    "/organization/list",
    "/customer/new",
    "/budget/new",
    "/credentials",
    "/cache/flushall",
    "/cache/ping/x",
    "/health/services",
    "/health/test_connection",
    "/sso/get/ui_settings",
    "/ui",
    "/login",
    "/spend/logs",
    "/global/spend/reset",
    "/guardrails/list",
    "/v1/mcp/server",
    "/mcp",
    "/debug/memory/summary",
    "/cursor/chat/completions",
    "/langfuse/api",
    "/v1/chat/completions/x",
    "/x/v1/chat/completions",
    "/V1/chat/completions",
    "//v1/chat/completions",
    "/v1/chat/completions/",
    "/v1/chat/completions\n",
    "/openaix/v1/anything",
    "/v1/filesystem",
]


@pytest.mark.parametrize("path", CALLS)
def test_every_key_may_call_models(path: str) -> None:
    assert who("POST", path) == "master client scoped"
    assert route_of("POST", path, master=False, scoped=True).calls_model
    assert "scoped" not in who("DELETE", path)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime", "/realtime"])
def test_a_websocket_names_its_model_later_and_is_closed_to_keys_with_a_list(path: str) -> None:
    assert who("GET", path) == "master client"


def test_a_closed_route_is_a_403() -> None:
    with pytest.raises(Refusal) as refused:
        route_of("GET", "/settings", master=True, scoped=False)
    assert refused.value.code == 403


@pytest.mark.parametrize("path", KEPT)
def test_what_is_kept_under_an_id_is_closed_to_keys_with_a_list_of_models(path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert who(method, path) == "master client"


@pytest.mark.parametrize("path", MASTER_CALLS)
def test_what_litellm_forwards_is_for_the_master_key(path: str) -> None:
    assert who("POST", path) == "master"


@pytest.mark.parametrize("path", MASTER_READS)
def test_what_keyturn_asks_about_the_gateway_is_for_the_master_key_to_read(path: str) -> None:
    assert who("GET", path) == "master"
    assert who("POST", path) == ""


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_everything_else_is_closed_to_every_key(path: str, method: str) -> None:
    assert who(method, path) == ""


def test_the_catalogue_is_open_to_read() -> None:
    assert route_of("GET", "/v1/models", master=False, scoped=True) == Route()
    assert route_of("GET", "/models/a/b:c", master=False, scoped=True) == Route(
        model="a/b:c", needs_admin=True
    )
    assert who("POST", "/v1/models") == ""


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/engines/a/chat/completions", "a"),
        ("/engines/a/b/completions", "a/b"),
        ("/openai/deployments/a/chat/completions/b/chat/completions", "a/chat/completions/b"),
        ("/openai/deployments/other/../small/chat/completions", "other/../small"),
        ("/v1beta/models/a:b:generateContent", "a:b"),
        ("/engines/a\nb/embeddings", "a\nb"),
    ],
)
def test_the_model_of_a_path_is_the_one_that_litellm_takes_from_it(path: str, model: str) -> None:
    assert route_of("POST", path, master=False, scoped=True).model == model


@pytest.mark.parametrize(
    "field",
    [
        "api_key",
        "api_base",
        "base_url",
        "apikey",
        "some_new_api_key",
        "langfuse_host",
        "langfuse-host",
        "some_endpoint_url",
        "vertex_credentials",
        "aws_role_name",
        "azure_ad_token",
        "s3_bucket_name",
        "mock_response",
        "mock_tool_calls",
        "_litellm_internal",
        "headers",
        "extra_headers",
        "extra_body",
        "extra_query",
        "api_version",
        "custom_llm_provider",
        "model_list",
        "model_alias_map",
        "user_config",
        "litellm_params",
        "litellm_credential_name",
        "prompt_id",
        "router_settings_override",
        "specific_deployment",
        "organization",
        "ssl_verify",
        "adaptive_router_config",
        "extra_body[model]",
        "api_base[]",
        " api_base",
    ],
)
def test_fields_that_choose_a_provider_are_refused(field: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_fields({"model": "a", field: "value-of-it"}, REFUSED)
    assert refused.value.code == 403
    assert "value-of-it" not in refused.value.message


@pytest.mark.parametrize(
    "metadata",
    [
        {"api_base": "x"},
        {"langfuse_host": "x"},
        {"slack_webhook_url": "x"},
        json.dumps({"posthog_api_key": "x"}),
    ],
)
@pytest.mark.parametrize("field", ["metadata", "litellm_metadata"])
def test_addresses_and_keys_in_metadata_are_refused(field: str, metadata: Any) -> None:
    with pytest.raises(Refusal):
        check_fields({field: metadata}, REFUSED)


@pytest.mark.parametrize(
    "fallbacks",
    [[{"a": ["b"]}], [{"model": "a", "api_base": "x"}], {"a": ["b"]}, [["a"]], [5], 5, [{}]],
)
def test_fallbacks_that_are_no_names_are_refused(fallbacks: Any) -> None:
    for field in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        with pytest.raises(Refusal):
            check_fields({field: fallbacks}, REFUSED)


def test_what_coding_agents_send_passes() -> None:
    body = {
        "model": "a",
        "messages": [{"role": "user", "content": "hi", "model": "x"}],
        "system": [{"type": "text", "text": "x"}],
        "tools": [{"type": "function", "function": {"parameters": {"model": {}}}}],
        "tool_choice": "auto",
        "metadata": {"user_id": "x", "host": "mine", "order": 1},
        "max_tokens": 5,
        "max_completion_tokens": 5,
        "temperature": 0,
        "top_p": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "reasoning_effort": "high",
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "context_management": {"edits": []},
        "response_format": {"type": "json_schema", "json_schema": {"schema": {}}},
        "parallel_tool_calls": True,
        "store": False,
        "include": [],
        "prompt_cache_key": "x",
        "previous_response_id": "x",
        "user": "x",
        "num_retries": 1,
        "fallbacks": ["b", {"model": "c"}],
        "seed": 1,
        "n": 1,
        "stop": None,
    }
    check_fields(body, REFUSED)
    assert sorted(named_models(body)) == ["a", "b", "c"]
    check_fields({"metadata": "no json"}, REFUSED)
    check_fields({"metadata": "[1]"}, REFUSED)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"model": "a"}, ["a"]),
        ({"model": "a,b , c"}, ["a", "b", "c"]),
        ({"model": " a"}, [" a"]),
        ({"model": ["a", "b"]}, ["a", "b"]),
        ({"model": None}, []),
        ({"model": ""}, [""]),
        ({"model[]": "a"}, ["a"]),
        ({"models": ["a"], "target_model_names": "b,c"}, ["a", "b", "c"]),
        ({"litellm_embedding_model": "a"}, ["a"]),
        ({"session": {"model": "a"}}, ["a"]),
        ({"tools": [{"type": "x", "model": "a"}, "y"]}, ["a"]),
        ({"input": [{"model": "a"}], "messages": [{"model": "a"}], "metadata": {"model": "a"}}, []),
    ],
)
def test_models_are_found_wherever_litellm_looks(fields: dict[str, Any], names: list[str]) -> None:
    assert list(named_models(fields)) == names


@pytest.mark.parametrize("value", [5, True, {"a": 1}, [["a"]], [{"model": 5}]])
def test_a_model_that_is_no_name_is_never_allowed(value: Any) -> None:
    with pytest.raises(Refusal):
        check_models(named_models({"model": value}), frozenset({"a"}), needed=True)


def test_names_are_compared_exactly() -> None:
    for name in ("A", " a", "a ", "openai/a", "b"):
        with pytest.raises(Refusal):
            check_models([name], frozenset({"a"}), needed=True)
    check_models(["a", "a"], frozenset({"a", "b"}), needed=True)


def test_a_call_must_name_a_model_other_routes_need_not() -> None:
    check_models([], frozenset({"a"}), needed=False)
    with pytest.raises(Refusal):
        check_models([], frozenset({"a"}), needed=True)
