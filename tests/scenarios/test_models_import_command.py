"""`keyturn models import` with the real sops: from a config, and from a server that runs."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path, PurePath
from typing import Any, ClassVar

import pytest

from bootstrap.adapters.files import LocalFiles
from bootstrap.adapters.sops import SopsProvider
from bootstrap.domain.errors import ConfigError
from bootstrap.domain.found_models import Found
from bootstrap.workflows.import_models import plan_import
from support.backend_answers import OLLAMA_TAGS, VLLM_MODELS
from support.labs import CliLab, make

pytestmark = pytest.mark.integration

KEY = "sk-test-provider-0123456789abcdef"
CONFIG = f"""
model_list:
  - model_name: qwen
    litellm_params: {{model: openai/qwen, api_base: "https://api.example.com/v1", api_key: {KEY}}}
  - model_name: "*"
    litellm_params: {{model: "openai/*"}}
"""
# As llama.cpp's own server answers, shortened.
LLAMA_CPP = {
    "models": [{"name": "models/tiny-random.Q8_0.gguf", "capabilities": ["completion"]}],
    "object": "list",
    "data": [
        {
            "id": "models/tiny-random.Q8_0.gguf",
            "aliases": ["models/tiny-random.Q8_0.gguf"],
            "object": "model",
            "owned_by": "llamacpp",
            "meta": {"n_vocab": 300, "n_ctx": 1024, "n_ctx_train": 8192, "ftype": "all F32"},
        }
    ],
}


class Backend(BaseHTTPRequestHandler):
    """Answers what `answers` has for a path, to `key` only where that is set."""

    answers: ClassVar[dict[str, Any]] = {}
    key = ""
    open_to_all = ""
    otherwise = 404

    def do_GET(self) -> None:
        right = not self.key or self.headers.get("Authorization") == f"Bearer {self.key}"
        right = right or self.path == self.open_to_all
        found = self.answers.get(self.path) if right else None
        data = json.dumps(found if found is not None else {"error": "no"}).encode()
        self.send_response(200 if found is not None else self.otherwise if right else 401)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def backend() -> Iterator[tuple[type[Backend], str]]:
    """A server and its address."""
    kind = type("One", (Backend,), {"answers": {}})
    server = HTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield kind, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> CliLab:
    """A lab with an encrypted store."""
    made = make(tmp_path, home)
    made.ok("init")
    return made


def test_a_config_is_imported_once_and_its_key_only_into_the_store(
    lab: CliLab, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    before, text = lab.snapshot(), lab.file.read_text()
    tried = lab.ok("models", "import", str(file), "--dry-run")
    assert lab.snapshot() == before
    assert '+ key = "EXAMPLE_API_KEY"' in tried.out
    assert "characters that some client cannot send" in tried.out

    done = lab.ok("models", "import", str(file), "--json").json
    assert (done["models"], list(done["stored"])) == (["qwen"], ["EXAMPLE_API_KEY"])
    assert lab.value("EXAMPLE_API_KEY") == KEY
    assert lab.file.read_text().startswith(text)
    assert KEY not in lab.file.read_text() + "".join(lab.said)

    after = lab.snapshot()
    assert "Nothing to add" in lab.ok("models", "import", str(file), "-v").out
    assert lab.snapshot() == after


def test_a_running_ollama_is_asked(lab: CliLab, backend: tuple[type[Backend], str]) -> None:
    kind, url = backend
    kind.answers["/api/tags"] = OLLAMA_TAGS
    said = lab.ok("models", "import", "--from", url).out
    assert "added    hf.co/me/tiny-GGUF:Q8_0" in said
    assert "left out emb:latest: it is an embedding model" in said
    assert f'url = "{url}"' in lab.file.read_text()


def test_a_server_behind_a_key_is_asked_with_that(
    lab: CliLab, backend: tuple[type[Backend], str]
) -> None:
    kind, url = backend
    kind.answers["/v1/models"] = VLLM_MODELS
    kind.key = KEY
    lab.write(more="[secrets.MY_KEY]")
    failed = lab.call("models", "import", "--from", f"{url}/v1/")
    assert failed.code == 1
    assert "--key NAME" in failed.error["fix"]
    with_key = ("models", "import", "--from", url, "--key", "MY_KEY")
    kind.answers["/v1/models"] = {"data": [{"id": f"{'x' * 60} {KEY}"}]}
    failed = lab.call(*with_key, env={"MY_KEY": KEY})
    assert failed.error["cause"] == f"{url} gives the key MY_KEY as the name of a model"
    assert KEY not in lab.file.read_text() + "".join(lab.said)
    kind.answers["/v1/models"] = VLLM_MODELS
    done = lab.call(*with_key, env={"MY_KEY": KEY})
    assert done.code == 0, done.err
    assert 'key = "MY_KEY"' in lab.file.read_text()


def test_a_llama_cpp_that_wants_a_key_for_all_but_its_list_is_asked_with_one(
    lab: CliLab, backend: tuple[type[Backend], str]
) -> None:
    kind, url = backend
    kind.answers |= {"/v1/models": LLAMA_CPP, "/props": {"total_slots": 2}}
    kind.key, kind.open_to_all = KEY, "/v1/models"
    lab.write(more="[secrets.MY_KEY]")
    failed = lab.call("models", "import", "--from", url)
    assert (failed.code, failed.error["cause"]) == (1, "it wants a key")
    failed = lab.call("models", "import", "--from", url, "--key", "MY_KEY", env={"MY_KEY": "wrong"})
    assert (failed.code, failed.error["cause"]) == (1, "it refuses the key MY_KEY")
    done = lab.call("models", "import", "--from", url, "--key", "MY_KEY", env={"MY_KEY": KEY})
    assert done.code == 0, done.err
    text = lab.file.read_text()
    assert 'alias = "tiny-random.Q8_0"' in text
    assert "context_tokens = 1024" in text


def test_a_server_that_is_not_ready_is_to_be_waited_for(
    lab: CliLab, backend: tuple[type[Backend], str]
) -> None:
    kind, url = backend
    kind.otherwise = 503
    error = lab.call("models", "import", "--from", url).error
    assert error["cause"] == "GET /v1/models gives 503, and /api/tags no list"
    assert error["fix"] == "wait until it has its model, or see its log"


def test_a_lab_file_that_is_gone_or_no_text_is_said(tmp_path: Path) -> None:
    store, root = SopsProvider(tmp_path), PurePath(tmp_path)
    with pytest.raises(ConfigError) as caught:
        plan_import(LocalFiles(), store, root, Found("x"))
    assert "keyturn init" in caught.value.fix
    (tmp_path / "lab.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError) as caught:
        plan_import(LocalFiles(), store, root, Found("x"))
    assert "UTF-8" in caught.value.why


def test_what_cannot_be_imported_is_said(lab: CliLab, tmp_path: Path) -> None:
    own = f"http://localhost:{lab.port}/v1"
    for words, code, what in (
        ((), 2, "nothing to import"),
        (("x", "--key", "A"), 2, "--key goes with --from"),
        (("x",), 1, "there is no file x"),
        (("--from", "ftp://x"), 2, "bad --from"),
        (("--from", own), 2, "own gateway"),
    ):
        ran = lab.call("models", "import", *words)
        assert (ran.code, what in ran.error["error"]) == (code, True), ran.err


def test_a_key_that_is_a_name_as_well_comes_nowhere(lab: CliLab, tmp_path: Path) -> None:
    file = tmp_path / "evil.yaml"
    model = f"{{model: openai/x, api_key: {KEY}}}"
    file.write_text(f"{KEY}: 1\nmodel_list:\n- model_name: a\n  litellm_params: {model}\n")
    before = (lab.root / "lab.toml").read_bytes()
    said = lab.run("models", "import", str(file))
    assert said.code == 1
    assert KEY not in said.out + said.err
    assert (lab.root / "lab.toml").read_bytes() == before
