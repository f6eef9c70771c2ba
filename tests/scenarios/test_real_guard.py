"""The guard inside the real LiteLLM: what opens it, what does not, and what each key may do."""

import http.client
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bootstrap.domain.keyset import KEYSET_FILE, Keyset
from bootstrap.domain.lab_keys import with_lab_keys, with_lab_overlap
from bootstrap.domain.secret import Secret
from bootstrap.domain.uses import USES_FILE, read_counters
from bootstrap.gateway import keyturn_guard
from support.guard import put
from support.homes import environment, pick_free_port
from support.litellm import IS_OLD, START_S, Upstream, real_litellm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MASTER = Secret("sk-test-master-0123456789abcdef0123456789")
OLD = Secret("sk-test-old-0123456789abcdef0123456789")
EXPIRED = Secret("sk-test-expired-0123456789abcdef0123456789")
CLIENT = Secret("sk-test-client-0123456789abcdef0123456789")
SCOPED = Secret("sk-test-scoped-0123456789abcdef0123456789")
INTERNAL = Secret("sk-test-internal-0123456789abcdef0123456789")
CONFIG = """
nowhere: &nowhere {{api_base: "{nobody}", api_key: "none"}}
model_list:
  - model_name: "lab-echo"
    litellm_params: {{model: "hosted_vllm/lab-echo", <<: *nowhere, mock_response: "it works"}}
  - model_name: "secret-echo"
    litellm_params: {{model: "hosted_vllm/secret-echo", <<: *nowhere, mock_response: "it leaks"}}
  - model_name: "small"
    litellm_params: {{model: "hosted_vllm/up-small", api_base: "{url}", api_key: "sk-test-up"}}
  - model_name: "large"
    litellm_params: {{model: "openai/up-large", api_base: "{url}", api_key: "sk-test-up"}}
  - model_name: "audio"
    litellm_params: {{model: "openai/up-audio", api_base: "{nobody}", api_key: "sk-test-up"}}
general_settings:
  master_key: "os.environ/KEYTURN_INTERNAL_KEY"
  custom_auth: "keyturn_guard.user_api_key_auth"
  custom_auth_run_common_checks: true
"""
CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
# As on a machine where the package prisma, which LiteLLM does not depend on, is missing.
NO_PRISMA = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "prisma":
            raise ModuleNotFoundError("No module named 'prisma'", name="prisma")

sys.meta_path.insert(0, Missing())
"""


class Real:
    """A running LiteLLM with the guard.

    Attributes:
        folder: Of its config.yaml, keyset and log.
        port: Where it listens.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> tuple[int, str]:
        """Return status and body of one request, sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        text = response.read().decode("utf-8", "replace")
        connection.close()
        return response.status, text

    def get(self, key: Secret | None, path: str = "/v1/models") -> int:
        """Return the status of a GET."""
        return self.send("GET", path, bearer(key))[0]

    def post(self, key: Secret | None, path: str = CHAT, **body: Any) -> tuple[int, str]:
        """Return status and body of a POST with JSON."""
        headers = {**bearer(key), "Content-Type": "application/json"}
        return self.send("POST", path, headers, json.dumps(body).encode())

    def raw(self, data: bytes, content_type: str = "application/json", path: str = CHAT) -> int:
        """Return the status of a POST of the scoped key with any body."""
        headers = {**bearer(SCOPED), "Content-Type": content_type}
        status, text = self.send("POST", path, headers, data)
        assert "it leaks" not in text
        return status

    def log(self) -> str:
        """Return what it has printed."""
        return (self.folder / "litellm.log").read_text("utf-8", "replace")


def bearer(key: Secret | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.reveal()}"} if key else {}


def lab_keyset() -> Keyset:
    keyset = Keyset().with_overlap(OLD, MASTER, time.time() + 3600)
    keyset = keyset.with_client("all", CLIENT, None, None)
    keyset = keyset.with_client("expired", EXPIRED, None, time.time() - 5)
    return keyset.with_client("scoped", SCOPED, ["lab-echo", "small", "audio"], None)


@contextmanager
def guarded(folder: Path, upstream: Upstream, *, prisma: bool) -> Iterator[Real]:
    """Run LiteLLM with the guard and whatever keyset `folder` has, until the block ends."""
    source = Path(keyturn_guard.__file__).parent
    for name in ("keyturn_guard.py", "keyturn_guard_rules.py", "keyturn_guard_uses.py"):
        (folder / name).write_bytes((source / name).read_bytes())
    url = f"http://127.0.0.1:{upstream.port}/v1"
    (folder / "config.yaml").write_text(
        CONFIG.format(url=url, nobody=f"http://127.0.0.1:{pick_free_port()}")
    )
    more = {
        "KEYTURN_INTERNAL_KEY": INTERNAL.reveal(),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
    }
    if not prisma:
        (folder / "blocked").mkdir()
        (folder / "blocked" / "sitecustomize.py").write_text(NO_PRISMA)
        more["PYTHONPATH"] = str(folder / "blocked")
    real = Real(folder, pick_free_port())
    config = folder / "config.yaml"
    command: list[str | Path] = [real_litellm(), "--config", config, "--host", "127.0.0.1"]
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(real.port)],
            env=environment(folder) | more,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait(real, process)
            yield real
        finally:
            process.terminate()
            process.wait(30)


def _wait(real: Real, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + START_S
    while True:
        assert process.poll() is None, real.log()[-2000:]
        assert time.monotonic() < end, real.log()[-2000:]
        try:
            if real.get(None, "/health/liveliness") == 200:
                return
        except OSError:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    started = Upstream(tmp_path_factory.mktemp("upstream"))
    yield started
    started.stop()


@pytest.fixture(scope="module", params=[True, False], ids=["prisma", "no-prisma"])
def real(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> Iterator[Real]:
    folder = tmp_path_factory.mktemp("guarded")
    with guarded(folder, upstream, prisma=request.param) as started:
        assert started.get(MASTER) == 401, "no keyset: nothing opens it"
        assert started.get(INTERNAL) == 401, "not even LiteLLM's own master key"
        assert "is not usable" in started.log()
        put(folder / KEYSET_FILE, lab_keyset())
        yield started
        log = started.log()
    for secret in (MASTER, OLD, EXPIRED, CLIENT, SCOPED, INTERNAL):
        assert secret.reveal() not in log
        assert secret.digest() not in log


def test_every_key_of_the_keyset_opens_it_until_its_time(real: Real) -> None:
    assert [real.get(key) for key in (MASTER, OLD, CLIENT, SCOPED)] == [200] * 4
    assert real.get(EXPIRED) == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": MASTER.reveal()},
        {"Authorization": "Bearer sk-test-wrong"},
        {"Authorization": f"Bearer {INTERNAL.reveal()}"},
        {"Authorization": "Bearer sk-\xe9"},
        {"Authorization": "Bearer " + "x" * 5000},
        {"x-api-key": "sk-test-wrong"},
        {"Authorization": "Bearer sk-test-wrong", "x-api-key": MASTER.reveal()},
        {"Authorization": f"Bearer {MASTER.reveal()}", "x-litellm-api-key": "sk-test-wrong"},
        {"Host": "127.0.0.1/health/liveliness?x="},
    ],
    ids=str,
)
def test_everything_else_is_a_true_401(real: Real, headers: dict[str, str]) -> None:
    status, text = real.send("GET", "/v1/models", headers)
    assert (status, json.loads(text)["error"]["type"]) == (401, "auth_error")


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"bearer {MASTER.reveal()}"},
        {"Authorization": f"Basic {MASTER.reveal()}"},
        {"x-api-key": MASTER.reveal()},
        {"api-key": MASTER.reveal()},
        {"x-litellm-api-key": MASTER.reveal()},
        {"x-litellm-api-key": f"Bearer {MASTER.reveal()}"},
        {"x-goog-api-key": MASTER.reveal()},
        {"Ocp-Apim-Subscription-Key": MASTER.reveal()},
        {"Authorization": f"Bearer {MASTER.reveal()}", "x-api-key": "sk-test-wrong"},
        {"Authorization": "Bearer sk-test-wrong", "x-litellm-api-key": MASTER.reveal()},
    ],
    ids=str,
)
def test_every_header_that_litellm_takes_a_key_from_works(
    real: Real, headers: dict[str, str]
) -> None:
    assert real.send("GET", "/v1/models", headers)[0] == 200


@pytest.mark.parametrize("path", ["/health/liveliness", "/health/liveness", "/health/readiness"])
def test_health_needs_no_key(real: Real, path: str) -> None:
    assert real.get(None, path) == 200


@pytest.mark.parametrize("key", [MASTER, CLIENT, SCOPED], ids=["master", "client", "scoped"])
def test_clients_are_served(real: Real, key: Secret) -> None:
    echo: dict[str, Any] = {"model": "lab-echo", "messages": HI}
    small: dict[str, Any] = {"model": "small", "messages": HI}
    assert "it works" in real.post(key, **echo)[1]
    assert "it works" in real.post(key, "/v1/messages?beta=true", **echo, max_tokens=9)[1]
    assert "[DONE]" in real.post(key, **echo, stream=True)[1]
    assert "pong from mock" in real.post(key, **small)[1]
    assert "pong from mock" in real.post(key, **small, fallbacks=["lab-echo"])[1]
    assert real.post(key, "/v1/messages/count_tokens", **echo)[0] == 200
    assert real.post(key, "/v1/responses", model="small", input="hi")[0] == 200
    assert real.post(key, "/v1/completions", model="lab-echo", prompt="hi")[0] == 200
    for path in (
        "/engines/lab-echo/chat/completions",
        "/openai/deployments/lab-echo/chat/completions",
    ):
        assert "it works" in real.post(key, path, messages=HI)[1]
    contents = [{"role": "user", "parts": [{"text": "hi"}]}]
    path = "/v1beta/models/lab-echo:generateContent"
    assert "it works" in real.post(key, path, contents=contents)[1]
    assert real.get(key, "/v1/models/lab-echo") == 200


ADMIN = [
    ("POST", "/key/generate"),
    ("GET", "/key/info"),
    ("GET", "/key/list"),
    ("GET", "/get/config/callbacks"),
    ("POST", "/config/update"),
    ("GET", "/config/yaml"),
    ("GET", "/settings"),
    ("POST", "/model/new"),
    ("POST", "/user/new"),
    ("GET", "/user/info"),
    ("POST", "/team/new"),
    ("GET", "/team/list"),
    ("POST", "/cache/flushall"),
    ("GET", "/spend/logs"),
    ("GET", "/credentials"),
    ("GET", "/sso/get/ui_settings"),
    ("GET", "/health/services"),
]


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_administration_is_closed_to_every_key(real: Real, method: str, path: str) -> None:
    for key in (MASTER, CLIENT, SCOPED):
        body = b"{}" if method == "POST" else None
        assert real.send(method, path, bearer(key), body)[0] == 403


@pytest.mark.parametrize("path", ["/health", "/model/info", "/v1/model/info", "/cache/ping"])
def test_the_master_key_reads_how_the_gateway_is_and_clients_do_not(real: Real, path: str) -> None:
    assert real.get(MASTER, path) == (503 if path == "/cache/ping" else 200)  # it has no cache
    assert real.get(CLIENT, path) == 403


@pytest.mark.parametrize("path", ["/v1/files", "/v1/batches", "/v1/responses/resp_x"])
def test_things_kept_under_an_id_are_closed_to_a_scoped_key(real: Real, path: str) -> None:
    assert real.get(SCOPED, path) == 403


@pytest.mark.parametrize("path", ["/anthropic/v1/messages", "/openai/v1/x", "/vllm/v1/x"])
def test_passing_through_is_closed_to_client_keys(real: Real, path: str) -> None:
    assert real.post(CLIENT, path, model="lab-echo")[0] == 403
    assert real.post(SCOPED, path, model="lab-echo")[0] == 403


def test_a_scoped_key_sees_its_models_only(real: Real) -> None:
    listed = json.loads(real.send("GET", "/v1/models", bearer(SCOPED))[1])["data"]
    assert {model["id"] for model in listed} == {"lab-echo", "small", "audio"}
    assert real.get(SCOPED, "/v1/models/secret-echo") == 403
    listed = json.loads(real.send("GET", "/v1/models", bearer(CLIENT))[1])["data"]
    assert len(listed) == 5


SMALL: dict[str, Any] = {"model": "small", "messages": HI}
OTHER_MODELS: list[dict[str, Any]] = [
    {"messages": HI},
    {"messages": HI, "model": None},
    *({"messages": HI, "model": m} for m in ("secret-echo", "SMALL", " small", "openai/up-large")),
    *({"messages": HI, "model": m} for m in ("small,secret-echo", ["small", "secret-echo"], 5)),
    *(
        SMALL | {field: value}
        for field in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks")
        for value in (
            ["secret-echo"],
            [{"model": "secret-echo"}],
            [{"small": ["secret-echo"]}],
            {"small": ["secret-echo"]},
        )
    ),
    SMALL | {"silent_model": "secret-echo"},
    SMALL | {"models": ["secret-echo"]},
    SMALL | {"extra_body": {"model": "up-large"}},
    SMALL | {"tools": [{"type": "image_generation", "model": "secret-echo"}]},
]


@pytest.mark.parametrize("body", OTHER_MODELS, ids=range(len(OTHER_MODELS)))
def test_a_scoped_key_names_no_other_model(
    real: Real, upstream: Upstream, body: dict[str, Any]
) -> None:
    before = len(upstream.requests("up-small")), len(upstream.requests("up-large"))
    assert real.post(SCOPED, **body)[0] == 403
    assert (len(upstream.requests("up-small")), len(upstream.requests("up-large"))) == before


@pytest.mark.parametrize(
    "path",
    [
        "/v1/completions",
        "/v1/embeddings",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/responses",
        "/v1/moderations",
        "/v1/images/generations",
        "/v1/audio/speech",
        "/rerank",
        f"{CHAT}?model=secret-echo",
        f"{CHAT}?model=secret-echo&model=small",
        "/engines/secret-echo/chat/completions",
        "/openai/deployments/secret-echo/chat/completions",
        "/openai/deployments/secret-echo%2F..%2Fsmall/chat/completions",
        "/v1beta/models/secret-echo:generateContent",
    ],
)
def test_a_scoped_key_reaches_no_other_model_on_any_route(real: Real, path: str) -> None:
    model = "small" if "secret-echo" in path else "secret-echo"
    body = {"model": model, "messages": HI, "input": "hi", "prompt": "hi", "max_tokens": 9}
    assert real.post(SCOPED, path, **body)[0] == 403


def form(*fields: tuple[str, str]) -> tuple[bytes, str]:
    """Return a multipart body and its content type; the field `file` is an upload."""
    parts = [
        f'--end\r\nContent-Disposition: form-data; name="{name}"'
        f"{'; filename=x.wav' if name == 'file' else ''}\r\n\r\n{value}\r\n"
        for name, value in fields
    ]
    return ("".join(parts) + "--end--\r\n").encode(), "multipart/form-data; boundary=end"


def typed(content: tuple[bytes, str]) -> tuple[dict[str, str], bytes]:
    """Return headers of the scoped key and the body of a form."""
    return {**bearer(SCOPED), "Content-Type": content[1]}, content[0]


def test_forms_are_judged_by_the_value_that_litellm_uses(real: Real) -> None:
    path = "/v1/audio/transcriptions"
    file = ("file", "x")
    for fields in (
        [file],
        [file, ("model", "secret-echo")],
        [file, ("model", "audio"), ("model", "secret-echo")],
        [file, ("model", "audio"), ("model[]", "secret-echo")],
        [file, ("model", "audio"), ("extra_body", "{}")],
    ):
        assert real.raw(*form(*fields), path=path) == 403
    status, text = real.send("POST", path, *typed(form(file, ("model", "audio"))))
    assert "Connection error" in text, "through the guard with its body, to nobody's address"
    assert status == 500


def test_a_body_is_judged_as_litellm_reads_it(real: Real) -> None:
    other = json.dumps(SMALL | {"model": "secret-echo"}).encode()
    for content_type in ("application/json", "text/plain", "application/x-protobuf", "x"):
        assert real.raw(other, content_type) == 403
        assert real.raw(json.dumps(SMALL).encode(), content_type) == 200
    assert real.raw(other, "application/x-www-form-urlencoded") == 403
    assert real.raw(b"model=small&model=secret-echo", "application/x-www-form-urlencoded") == 403
    twice = b'{"model": "small", "messages": [{"role": "user", "content": "x"}], "model": "%s"}'
    assert real.raw(twice % b"secret-echo") == 403
    assert real.raw(twice % b"small") == 200
    assert real.raw(b'{"mod\\u0065l": "secret-echo", "messages": []}') == 403
    assert real.raw(other.decode().encode("utf-16")) == 403


@pytest.mark.parametrize("data", [b'{"model": ', b"x", b'\xef\xbb\xbf{"model": "small"}'])
def test_a_malformed_body_gets_litellms_400(real: Real, data: bytes) -> None:
    assert real.raw(data) == 400


FIELDS: dict[str, Any] = {
    "api_key": "sk-test-x",
    "headers": {"x": "y"},
    "extra_headers": {"x": "y"},
    "custom_llm_provider": "openai",
    "litellm_params": {},
    "litellm_credential_name": "x",
    "router_settings_override": {},
    "prompt_id": "x",
    "mock_response": "x",
    "adaptive_router_config": {},
    "proxy_server_request": {},
    "organization": "x",
    "specific_deployment": True,
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_client_key_sets_no_parameter_of_a_provider(real: Real, field: str) -> None:
    for key in (CLIENT, SCOPED):
        assert real.post(key, **SMALL, **{field: FIELDS[field]})[0] == 403


@pytest.mark.parametrize(
    "more",
    [
        {"api_base": "http://127.0.0.1:9"},
        {"base_url": "http://127.0.0.1:9"},
        {"user_config": {}},
        {"model_list": []},
        {"metadata": {"langfuse_host": "http://127.0.0.1:9"}},
    ],
    ids=str,
)
def test_another_address_is_refused_even_before_the_guard_is_asked(
    real: Real, upstream: Upstream, more: dict[str, Any]
) -> None:
    before = len(upstream.requests("up-small"))
    # LiteLLM's own refusal: 401, or 500 where the package prisma is missing. 1.80 refuses some of
    # them only, and leaves the others to the guard, which lets the master key do as it likes.
    for key in (CLIENT, SCOPED) if IS_OLD else (MASTER, CLIENT, SCOPED):
        refusals = (401, 403, 500) if IS_OLD else (401, 500)
        assert real.post(key, **SMALL, **more)[0] in refusals
    assert len(upstream.requests("up-small")) == before


def test_a_new_keyset_counts_at_the_next_request_and_a_broken_one_changes_nothing(
    real: Real,
) -> None:
    file = real.folder / KEYSET_FILE
    new = Secret("sk-test-new-0123456789abcdef0123456789")
    before = Keyset.parse(file.read_bytes())
    for _ in range(3):
        put(file, before.with_overlap(MASTER, new, None))
        assert [real.get(key) for key in (MASTER, new, OLD)] == [200, 200, 401]
        put(file, before.with_current(new))
        assert [real.get(key) for key in (MASTER, new, CLIENT)] == [401, 200, 200]
        put(file, b"{")
        assert [real.get(key) for key in (MASTER, new)] == [401, 200]
        file.unlink()
        assert [real.get(key) for key in (MASTER, new)] == [401, 200]
        put(file, before.with_current(MASTER), mode=0o666)
        assert [real.get(key) for key in (MASTER, new)] == [401, 200]
        put(file, before)
        assert [real.get(key) for key in (MASTER, new, OLD)] == [200, 401, 200]


def test_it_says_who_used_which_key_and_when(real: Real) -> None:
    file, start = real.folder / USES_FILE, int(time.time())
    agent = {**bearer(CLIENT), "User-Agent": "claude-cli/2.1.197 (external, cli)"}
    assert real.send("GET", "/v1/models", agent)[0] == 200
    assert (
        real.send("GET", "/v1/models", bearer(CLIENT) | {"User-Agent": CLIENT.reveal()})[0] == 200
    )
    assert real.get(EXPIRED) == 401
    end = time.monotonic() + 30
    while True:
        uses = read_counters(file.read_bytes()).keys if file.exists() else {}
        used, refused = uses.get(CLIENT.fingerprint()), uses.get(EXPIRED.fingerprint())
        if used and refused and used.last_seen >= start and refused.last_refused >= start:
            break
        assert time.monotonic() < end, uses
        time.sleep(0.1)
    assert (refused.count, refused.last_seen) == (0, 0)
    assert {"claude-cli", "unnamed"} <= {use.program for use in used.users(start - 1)}
    assert CLIENT.reveal() not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_clients_own_key_overlaps_with_the_one_it_replaces_and_keeps_its_models(
    real: Real,
) -> None:
    file = real.folder / KEYSET_FILE
    before = Keyset.parse(file.read_bytes())
    old, new = (Secret(f"sk-test-droid-{n}-0123456789abcdef0123456789") for n in ("old", "new"))
    keys = with_lab_keys(before, {"droid": (old, ["lab-echo"])}, 0.0, time.time())
    put(file, keys)
    assert [real.get(key) for key in (old, new)] == [200, 401]
    put(file, with_lab_overlap(keys, "droid", new, old))
    for key in (old, new):
        listed = json.loads(real.send("GET", "/v1/models", bearer(key))[1])["data"]
        assert [model["id"] for model in listed] == ["lab-echo"]
        assert real.post(key, model="small", messages=HI)[0] == 403
    put(file, with_lab_overlap(keys, "droid", new, None))
    assert [real.get(key) for key in (old, new, MASTER)] == [401, 200, 200]
    put(file, before)
