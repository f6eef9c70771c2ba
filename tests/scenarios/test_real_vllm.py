"""The real vLLM as a backend: imported, looked at by doctor, answering through the real LiteLLM."""

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.labs import CliLab, make, stopped_after
from support.litellm import real_litellm
from support.vllm import CONTEXT, Vllm

# Installing it takes minutes.
pytestmark = [pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(3600)]

KEY = "sk-test-vllm-0123456789abcdef"
LAB = """\
[secrets.VLLM_KEY]
[backends.ours]
kind = "vllm"
url = "{url}/v1"
{key}
[[models]]
alias = "a"
backend = "ours"
upstream = "{name}"
output_tokens = {tokens}
"""


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    with Vllm(tmp_path_factory.mktemp("vllm"), ("qwen", "qwen-alias"), KEY) as server:
        yield server


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    with stopped_after(make(tmp_path, home)) as made:
        made.ok("init")
        yield made


def bad(
    lab: CliLab,
    vllm: Vllm,
    *,
    name: str = "qwen",
    tokens: int = 100,
    key: str = 'key = "VLLM_KEY"',
    value: str = KEY,
) -> dict[str, tuple[str, str]]:
    """Return what doctor says of that backend, by code."""
    lab.write(more=LAB.format(url=vllm.url, name=name, tokens=tokens, key=key))
    rows = lab.call("doctor", "KT5", "--json", env={"VLLM_KEY": value}).json["findings"]
    wrong = [row for row in rows if row["severity"] in ("note", "warning", "error")]
    assert len(wrong) < 2, wrong
    return {row["code"]: (row["severity"], row["seen"]) for row in wrong}


def asked(lab: CliLab, path: str, **body: Any) -> dict[str, Any]:
    """Return the answer of its gateway to a request with its master key."""
    headers = {"Authorization": f"Bearer {lab.key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", lab.port, timeout=120)
    with contextlib.closing(connection):
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        found: dict[str, Any] = json.load(answer)
    assert answer.status == 200, found
    return found


def test_doctor_sees_what_it_serves_and_to_whom(lab: CliLab, vllm: Vllm) -> None:
    assert bad(lab, vllm) == {}
    assert bad(lab, vllm, name="qwen-alias") == {}
    for other in ("QWEN", "qwen:latest", "mistral"):
        severity, seen = bad(lab, vllm, name=other)["KT502"]
        assert (severity, f"not have {other}, but qwen, qwen-alias" in seen) == ("error", True)
    severity, seen = bad(lab, vllm, value="sk-test-somebody-elses")["KT503"]
    assert (severity, "refuses the key VLLM_KEY, HTTP 401" in seen) == ("error", True)
    severity, seen = bad(lab, vllm, key="")["KT503"]
    assert (severity, "without a key" in seen) == ("warning", True)
    severity, seen = bad(lab, vllm, tokens=CONTEXT)["KT506"]
    assert (severity, f"room for {CONTEXT} tokens" in seen) == ("error", True)
    assert KEY not in "".join(lab.said)


def test_an_imported_one_answers_whatever_a_client_asks_for(lab: CliLab, vllm: Vllm) -> None:
    lab.wrapper = real_litellm()
    lab.write(more="[secrets.VLLM_KEY]\n")
    words = ("models", "import", "--from", vllm.url)
    assert lab.call(*words).error["cause"] == "it wants a key"
    wrong = lab.call(*words, "--key", "VLLM_KEY", env={"VLLM_KEY": "sk-test-somebody-elses"})
    assert wrong.error["cause"] == "it refuses the key VLLM_KEY"
    done = lab.call(*words, "--key", "VLLM_KEY", "--json", env={"VLLM_KEY": KEY})
    assert done.json["models"] == ["qwen", "qwen-alias"], done.err
    assert f"context_tokens = {CONTEXT}" in lab.file.read_text()
    assert lab.value("VLLM_KEY") == KEY

    lab.ok("apply")
    said = [{"role": "user", "content": "ping"}]
    chat = asked(lab, "/v1/chat/completions", model="qwen", messages=said, max_tokens=16384)
    assert 0 < chat["usage"]["completion_tokens"] <= CONTEXT // 2
    message = asked(lab, "/v1/messages", model="qwen-alias", messages=said, max_tokens=32000)
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert KEY not in "".join(lab.said)


def test_one_that_is_stopped_is_said(lab: CliLab, vllm: Vllm) -> None:
    vllm.stop()
    severity, seen = bad(lab, vllm)["KT501"]
    assert (severity, "connection refused" in seen) == ("warning", True)
