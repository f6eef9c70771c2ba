"""The real LiteLLM with the files that keyturn renders, asked what the stand-in is trusted for."""

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.redis_ping import ping
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from support.homes import pick_free_port
from support.litellm import IS_OLD, Upstream, listening_addresses, running_litellm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KEY = Secret("sk-test-right-0123456789abcdef0123456789")
WRONG = Secret("sk-test-wrong-0123456789abcdef0123456789")
OLLAMA_KEY = Secret("sk-test-ollama-0123456789")
REDIS_PASSWORD = Secret("test-redis-0123456789")
LAB = """
[gateway]
auth = "master-key"
literal_keys = {literal}
[secrets.OLLAMA_API_KEY]
[secrets.REDIS_PASSWORD]
[backends.cloud]
kind = "ollama-cloud"
url = "http://127.0.0.1:{upstream}"
key = "OLLAMA_API_KEY"
[backends.local]
kind = "ollama"
url = "http://127.0.0.1:{upstream}"
[backends.gpu]
kind = "vllm"
url = "http://127.0.0.1:{upstream}/v1"
[backends.dead]
kind = "vllm"
url = "http://127.0.0.1:{nobody}/v1"
[[models]]
alias = "cloud:480b"
backend = "cloud"
upstream = "up-cloud:480b"
[[models]]
alias = "local"
backend = "local"
upstream = "up-local"
[[models]]
alias = "small"
backend = "gpu"
upstream = "up-small"
output_tokens = 2000
context_tokens = 32000
[[models]]
alias = "tiny"
backend = "gpu"
upstream = "up-tiny"
output_tokens = 50
[[models]]
alias = "broken"
backend = "dead"
upstream = "up-broken"
output_tokens = 9000
fallbacks = ["tiny"]
[redis]
port = {redis}
password = "REDIS_PASSWORD"
"""
ALIASES = ("lab-echo", "cloud:480b", "local", "small", "tiny", "broken")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("litellm")


@pytest.fixture(scope="module")
def upstream(folder: Path) -> Iterator[Upstream]:
    started = Upstream(folder)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def redis(folder: Path) -> Iterator[int]:
    port = pick_free_port()
    server = subprocess.Popen(
        ["redis-server", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, cwd=folder
    )
    assert server.stdin
    settings = f"requirepass {REDIS_PASSWORD.reveal()}\nbind 127.0.0.1\nport {port}\nsave ''\n"
    server.stdin.write(settings.encode())
    server.stdin.close()
    while ping("127.0.0.1", port, REDIS_PASSWORD):
        assert server.poll() is None, "redis-server ended"
    yield port
    server.terminate()
    server.wait(10)


def lab_text(upstream: Upstream, redis: int, literal: bool) -> str:
    return LAB.format(
        upstream=upstream.port,
        redis=redis,
        nobody=pick_free_port(),
        literal="true" if literal else "false",
    )


SECRETS = {
    "LITELLM_MASTER_KEY": KEY,
    "LITELLM_SALT_KEY": Secret("sk-test-salt-0123456789"),
    "OLLAMA_API_KEY": OLLAMA_KEY,
    "REDIS_PASSWORD": REDIS_PASSWORD,
}


@pytest.fixture(scope="module")
def gateway(folder: Path, upstream: Upstream, redis: int) -> Iterator[HttpGateway]:
    lab = parse_lab(lab_text(upstream, redis, literal=False), PurePath(folder))
    with running_litellm(lab, SECRETS, folder, pick_free_port()) as started:
        yield started


def post(gateway: HttpGateway, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Bearer {KEY.reveal()}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    document = json.loads(response.read())
    connection.close()
    assert isinstance(document, dict)
    return response.status, document


def get(gateway: HttpGateway, path: str) -> int:
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=60)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def question(text: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def test_it_lives_and_is_known_as_litellm(gateway: HttpGateway) -> None:
    assert gateway.alive().status == 200
    assert gateway.alive().is_gateway


def test_the_right_key_gets_every_alias(gateway: HttpGateway) -> None:
    answer = gateway.models(KEY)
    assert verdict(answer, with_key=True) is Verdict.ACCEPTED
    assert sorted(answer.model_ids) == sorted(ALIASES)


def test_a_wrong_key_is_refused(gateway: HttpGateway) -> None:
    answer = gateway.models(WRONG)
    assert (answer.status, answer.error_type) == (400, "no_db_connection")
    assert verdict(answer, with_key=True) is Verdict.REFUSED


def test_no_key_is_refused_with_401_since_prisma_is_there(gateway: HttpGateway) -> None:
    answer = gateway.models(None)
    assert answer.status == 401
    assert answer.is_gateway
    assert verdict(answer, with_key=False) is Verdict.REFUSED


def test_the_echo_model_proves_the_chain_without_an_upstream(gateway: HttpGateway) -> None:
    assert gateway.complete(KEY, "lab-echo").text == "the gateway works"
    status, document = post(
        gateway, "/v1/messages", question("hi", model="lab-echo", max_tokens=50)
    )
    assert status == 200
    assert document["content"][0]["text"] == "the gateway works"


def test_nothing_that_is_asked_of_the_echo_model_leaves_the_machine(
    gateway: HttpGateway, folder: Path
) -> None:
    status, document = post(gateway, "/v1/messages/count_tokens", question("hi", model="lab-echo"))
    assert (status, document["input_tokens"]) == (200, 8)
    assert post(gateway, "/v1/moderations", {"model": "lab-echo", "input": "hi"})[0] == 500
    assert "openai.com" not in (folder / "litellm.log").read_text("utf-8", "replace")


def test_a_model_answers_chat_completions(gateway: HttpGateway) -> None:
    assert gateway.complete(KEY, "small").text == "pong from mock"


def test_claude_codes_messages_reach_a_server_without_a_responses_endpoint(
    gateway: HttpGateway, upstream: Upstream
) -> None:
    thinking = {"type": "enabled", "budget_tokens": 31999}
    asked = question(
        "messages",
        model="small",
        max_tokens=32000,
        thinking=thinking,
        context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        output_config={"effort": "medium"},
        metadata={"user_id": "u"},
    )
    status, document = post(gateway, "/v1/messages?beta=true", asked)
    assert status == 200
    assert document["content"][0]["text"] == "pong from mock"
    last = upstream.requests("up-small")[-1]
    assert last["path"] == "/v1/chat/completions"
    assert last["body"]["max_tokens"] == 2000


@pytest.mark.parametrize(
    ("path", "field", "body"),
    [
        ("/v1/chat/completions", "max_tokens", question("cap")),
        ("/v1/chat/completions", "max_completion_tokens", question("cap 2")),
        ("/v1/messages", "max_tokens", question("cap 3")),
        ("/v1/responses", "max_output_tokens", {"input": "cap 4"}),
    ],
)
def test_an_answer_is_really_capped(
    gateway: HttpGateway, upstream: Upstream, path: str, field: str, body: dict[str, Any]
) -> None:
    status, _ = post(gateway, path, {"model": "tiny", field: 99999, **body})
    assert status == 200
    sent = upstream.requests("up-tiny")[-1]["body"]
    limits = [sent[name] for name in sent if name.startswith("max_")]
    assert limits
    assert set(limits) == {50}


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", question("default")), ("/v1/responses", {"input": "default"})],
)
def test_a_client_that_names_no_limit_gets_the_cap(
    gateway: HttpGateway, upstream: Upstream, path: str, body: dict[str, Any]
) -> None:
    status, _ = post(gateway, path, {"model": "tiny", **body})
    assert status == 200
    sent = upstream.requests("up-tiny")[-1]["body"]
    assert [sent[name] for name in sent if name.startswith("max_")] == [50]


def test_a_changed_cap_counts_without_a_restart(
    gateway: HttpGateway, upstream: Upstream, folder: Path
) -> None:
    file = folder / "keyturn-caps.json"
    before = file.read_text()
    file.write_text('{"caps": {"tiny": 7}}')
    post(gateway, "/v1/chat/completions", question("changed", model="tiny", max_tokens=99999))
    file.write_text(before)
    assert upstream.requests("up-tiny")[-1]["body"]["max_tokens"] == 7


def test_a_fallback_answers_within_its_own_cap(gateway: HttpGateway, upstream: Upstream) -> None:
    asked = question("fallback", model="broken", max_tokens=8000)
    status, document = post(gateway, "/v1/chat/completions", asked)
    assert status == 200
    assert document["choices"][0]["message"]["content"] == "pong from mock"
    last = upstream.requests("up-tiny")[-1]["body"]
    assert last["messages"][0]["content"] == "fallback"
    assert last["max_tokens"] == 50


def test_a_local_ollama_is_not_sent_the_cloud_key(gateway: HttpGateway, upstream: Upstream) -> None:
    for alias in ("local", "cloud:480b"):  # the upstream speaks no Ollama: what is sent counts
        post(gateway, "/v1/chat/completions", question("key", model=alias))
    sent = {r["authorization"] for r in upstream.requests("up-local")}
    assert sent == {"Bearer none"}
    sent = {r["authorization"] for r in upstream.requests("up-cloud:480b")}
    assert sent == {f"Bearer {OLLAMA_KEY.reveal()}"}


def test_the_cache_works_and_wants_the_key(gateway: HttpGateway) -> None:
    assert gateway.cache_ping(KEY).status == 200
    assert gateway.cache_ping(WRONG).status == 400


def test_the_same_question_is_answered_from_the_cache(
    gateway: HttpGateway, upstream: Upstream
) -> None:
    for _ in range(2):
        status, _ = post(gateway, "/v1/chat/completions", question("twice", model="small"))
        assert status == 200
    asked = [r["body"]["messages"][0]["content"] for r in upstream.requests("up-small")]
    assert asked.count("twice") == 1


def test_a_model_is_tried_without_its_fallback_and_without_the_cache(
    gateway: HttpGateway, upstream: Upstream
) -> None:
    assert gateway.complete(KEY, "broken").completed, "its fallback answers"
    tried = gateway.try_model(KEY, "broken")
    assert tried.status not in (None, 200)
    assert not tried.completed
    before = len(upstream.requests("up-small"))
    for stream in (False, False, True, True):
        answer = gateway.try_model(KEY, "small", stream=stream)
        assert (answer.status, answer.completed) == (200, True)
    sent = [record["body"] for record in upstream.requests("up-small")][before:]
    assert [body.get("stream", False) for body in sent] == [False, False, True, True]
    assert not any("disable_fallbacks" in body or "cache" in body for body in sent)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json"])
def test_the_documentation_is_closed(gateway: HttpGateway, path: str) -> None:
    always_open = IS_OLD and path == "/openapi.json"
    assert get(gateway, path) == (200 if always_open else 404)


def test_it_listens_on_the_loopback_address_only(gateway: HttpGateway) -> None:
    assert listening_addresses(int(gateway.url.rpartition(":")[2])) == {"0100007F"}


def test_no_key_reaches_its_log(gateway: HttpGateway, folder: Path) -> None:
    log = (folder / "litellm.log").read_text("utf-8", "replace")
    for secret in (*SECRETS.values(), WRONG):
        assert secret.reveal() not in log


def test_literal_keys_work_as_well(
    tmp_path: Path, upstream: Upstream, redis: int, gateway: HttpGateway
) -> None:
    lab = parse_lab(lab_text(upstream, redis, literal=True), PurePath(tmp_path))
    with running_litellm(lab, SECRETS, tmp_path, pick_free_port()) as literal:
        assert KEY.reveal() in (tmp_path / "config.yaml").read_text()
        assert verdict(literal.models(KEY), with_key=True) is Verdict.ACCEPTED
        assert verdict(literal.models(WRONG), with_key=True) is Verdict.REFUSED
        assert literal.cache_ping(KEY).status == 200
