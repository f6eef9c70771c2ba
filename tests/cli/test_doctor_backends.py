"""Each fault of the backends and of the cache, planted: found and said."""

import json
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import doctor_backends
from bootstrap.domain.doctor.check import diagnose
from bootstrap.domain.doctor.checks_backends import BACKENDS
from bootstrap.domain.doctor.facts_backends import BackendFacts, BackendsFacts
from bootstrap.domain.doctor.facts_others import OthersFacts
from bootstrap.domain.doctor.finding import Severity
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret
from support.backend_answers import OLLAMA_TAGS, VLLM_MODELS, VLLM_REFUSES
from support.doctor import KEY, LAB, OLD_KEY, PORT, Patient, patient
from support.fakes import make_places
from support.serving import serving

MORE = """\
[backends.ollama]
kind = "ollama"
url = "http://127.0.0.1:{port}"
[backends.cpp]
kind = "llama.cpp"
url = "http://127.0.0.1:9/v1"
[backends.anthropic]
kind = "anthropic"
url = "http://127.0.0.1:{port}/a"
key = "LITELLM_MASTER_KEY"
[backends.paid]
kind = "openai"
url = "http://127.0.0.1:{port}/paid/v1"
key = "PAID_KEY"
[[models]]
alias = "o"
backend = "ollama"
upstream = "qwen3"
[backends.vllm]
kind = "vllm"
url = "http://127.0.0.1:{port}/vllm/v1"
[[models]]
alias = "v"
backend = "vllm"
upstream = "qwen"
[[models]]
alias = "passed-on"
backend = "ollama"
upstream = "gpt-oss:120b-cloud"
[[models]]
alias = "c"
backend = "cpp"
[[models]]
alias = "a"
backend = "anthropic"
[[models]]
alias = "p"
backend = "paid"
[secrets.PAID_KEY]
sources = ["file:{paid}"]
[redis]
host = "127.0.0.1"
port = {redis}
"""
TAKEN = 9  # nobody listens there
GONE = Answer(None, problem="connection refused")


def facts(name: str, answer: Answer, *models: str, key: bool = False) -> BackendsFacts:
    return BackendsFacts((BackendFacts(name, answer, models or None, key),))


def scene(found: BackendsFacts) -> Observations:
    more = MORE.format(port=11434, paid="/paid", redis=6379)
    lab = parse_lab(LAB.format(port=PORT, key="/key", more=more), PurePath("/lab"), None)
    places = make_places(Path("/home/me"))
    key, others = Secret(KEY), OthersFacts()
    return Observations(
        places, PurePath("/"), "keyturn", {}, lab, key, backends=found, others=others
    )


OK = Answer(200)
NO_MODEL = BackendsFacts((BackendFacts("ollama", OK, ()),))
FAULTS = {
    "nobody there": (facts("ollama", GONE), "KT501", "warning", "connection refused"),
    "not ready": (facts("cpp", Answer(503)), "KT501", "warning", "HTTP 503"),
    "a wrong path": (facts("cpp", Answer(404)), "KT501", "warning", "404, so it is no llama.cpp"),
    "a redirect": (facts("ollama", Answer(307)), "KT501", "warning", "HTTP 307, which leads to"),
    "a model not pulled": (
        facts("ollama", OK, "llama3:latest"),
        "KT502",
        "error",
        "ollama (http://127.0.0.1:11434) does not have qwen3, but llama3:latest",
    ),
    "no model at all": (NO_MODEL, "KT502", "error", "does not have qwen3"),
    "vLLM wants the letter": (
        facts("vllm", OK, "qwen:latest"),
        "KT502",
        "error",
        "does not have qwen, but qwen:latest",
    ),
    "no room for the answer": (
        BackendsFacts((BackendFacts("vllm", OK, ("qwen",), contexts={"qwen": 16384}),)),
        "KT506",
        "error",
        "has room for 16384 tokens in qwen, but v is given output_tokens = 16384",
    ),
    "another model": (
        facts("cpp", OK, "/models/other.gguf"),
        "KT502",
        "note",
        "has /models/other.gguf, and answers with that whoever asks for c",
    ),
    "a wrong key": (facts("paid", Answer(401), key=True), "KT503", "error", "the key PAID_KEY"),
    "no key": (facts("mock", Answer(403)), "KT503", "warning", "without a key"),
    "no Redis": (BackendsFacts(redis="it refuses the password"), "KT504", "error", "password"),
    "an unused cache": (BackendsFacts(cache=Answer(503)), "KT505", "warning", "HTTP 503"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_alone_and_said(fault: str) -> None:
    found, code, severity, words = FAULTS[fault]
    bad = [f for f in diagnose(scene(found), [BACKENDS]) if f.severity is not Severity.OK]
    assert [(f.code, f.severity.value) for f in bad] == [(code, severity)]
    assert words in bad[0].seen
    assert bad[0].mend


@pytest.mark.parametrize(
    ("found", "mend"),
    [
        (facts("cpp", GONE), "start llama.cpp, or mend backends.cpp.url in lab.toml"),
        (facts("cpp", Answer(503)), "wait until it has its model, or see its log"),
        (facts("cpp", Answer(404)), "mend backends.cpp.url in lab.toml"),
        (facts("cpp", Answer(302)), "write that as backends.cpp.url in lab.toml"),
        (
            facts("paid", Answer(401), key=True),
            "give it the right one: keyturn rotate PAID_KEY --value-stdin",
        ),
        (
            facts("cpp", Answer(401)),
            'write key = "NAME" under [backends.cpp] and [secrets.NAME] in lab.toml, put the key '
            "into the store under that name (sops edit), then: keyturn apply",
        ),
    ],
)
def test_what_is_said_to_be_done_names_what_is_there(found: BackendsFacts, mend: str) -> None:
    bad = [f for f in diagnose(scene(found), [BACKENDS]) if f.severity is not Severity.OK]
    assert [f.mend for f in bad] == [mend]


@pytest.mark.parametrize(
    "found",
    [
        facts("ollama", OK, "qwen3:latest"),
        facts("ollama", OK, "qwen3"),
        facts("ollama", OK, "QWEN3:latest"),
        facts("vllm", OK, "qwen"),
        BackendsFacts((BackendFacts("vllm", OK, ("qwen",), contexts={"qwen": 16385}),)),
        BackendsFacts((BackendFacts("cpp", OK, ("c",), contexts={"c": 1024}),)),
        facts("mock", OK),
        facts("mock", Answer(404)),
        facts("cpp", OK, "/models/c.gguf"),
        facts("cpp", OK, "c"),
        facts("cpp", OK),
        BackendsFacts(cache=OK),
        BackendsFacts(cache=GONE),
    ],
)
def test_what_is_well_or_not_known_is_left_alone(found: BackendsFacts) -> None:
    assert {f.severity for f in diagnose(scene(found), [BACKENDS])} == {Severity.OK}


class Servers(BaseHTTPRequestHandler):
    """An Ollama, a provider that wants its key, and one that only answers."""

    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        self.seen.append((self.path, sent))
        answers: dict[str, tuple[int, object]] = {
            "/api/tags": (200, {"models": [*OLLAMA_TAGS["models"][:3], {"name": "ä"}]}),
            "/vllm/v1/models": (200, VLLM_MODELS),
            "/page/v1/models": (200, "<!doctype html>"),  # as a web page for whatever path
            "/compatible/v1/models": (200, "<!doctype html>"),
            "/paid/v1/models": (200, {"data": [{"id": "p"}, {"id": f"x {sent}"}]}),
            "/cpp/v1/models": (200, {"data": [{"id": "m", "owned_by": "llamacpp"}]}),
            "/loading/v1/models": (503, {"error": {"type": "unavailable_error"}}),
            "/cpp/props": (401, {"error": {"message": "Invalid API Key"}}),
        }
        status, document = answers.get(self.path, (404, {}))
        if self.path.startswith("/paid") and sent != f"Bearer {OLD_KEY}":
            status, document = 401, VLLM_REFUSES
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def sick(home: Path) -> Patient:
    return patient(home)


@pytest.mark.integration
def test_each_backend_is_asked_in_its_own_way(sick: Patient) -> None:
    paid = sick.write("paid", OLD_KEY)
    Servers.seen = []
    with serving(Servers) as port:
        sick.write_lab(MORE.format(port=port, paid=paid, redis=TAKEN))
        found = sick.findings("KT5")
        asked = dict(Servers.seen)
        paid.write_text("sk-test-wrong-0123456789")
        refused = sick.findings("KT503")["KT503"]
        paid.unlink()
        unknown = sick.findings("KT503")
    numbers = {code: len(rows) for code, rows in found.items()}
    assert numbers == {"KT501": 2, "KT502": 1, "KT504": 1, "KT506": 1}
    assert "does not have qwen3" in found["KT502"][0]["seen"]
    assert found["KT502"][0]["command"] == f"OLLAMA_HOST=http://127.0.0.1:{port} ollama pull qwen3"
    assert "has room for 512 tokens in qwen, but v is" in found["KT506"][0]["seen"]
    assert asked == {
        "/api/tags": "",
        "/vllm/v1/models": "",
        "/a": "",
        "/paid/v1/models": f"Bearer {OLD_KEY}",
    }
    assert "refuses the key PAID_KEY" in refused[0]["seen"]
    assert unknown == {}
    said = "".join(sick.said)
    assert (KEY in said, OLD_KEY in said) == (False, False)


def test_a_backend_that_repeats_its_key_as_a_name_gets_it_onto_no_screen(sick: Patient) -> None:
    Servers.seen = []
    with serving(Servers) as port:
        paid, more = sick.write("paid", OLD_KEY), MORE.replace('alias = "p"', 'alias = "gone"')
        sick.write_lab(more.format(port=port, paid=paid, redis=TAKEN))
        rows = sick.findings("KT502")["KT502"]
    (said,) = (row["seen"] for row in rows if "gone" in row["seen"])
    assert "does not have gone, but p, x Bearer <PAID_KEY " in said
    assert OLD_KEY not in "".join(sick.said)


def test_a_program_that_is_no_backend_is_not_taken_for_one(sick: Patient) -> None:
    Servers.seen = []
    with serving(Servers) as port:
        paid = sick.write("paid", OLD_KEY)
        more = MORE.replace("/vllm/v1", "/page/v1").replace("/paid/v1", "/compatible/v1")
        more = more.replace('kind = "openai"', 'kind = "openai-compatible"')
        sick.write_lab(more.format(port=port, paid=paid, redis=TAKEN))
        rows = sick.findings("KT501")["KT501"]
    said = {row["seen"].partition(" ")[0]: row["seen"] for row in rows}
    assert said.keys() == {"mock", "cpp", "vllm"}
    assert "/page/v1): another program answers there" in said["vllm"]


def test_a_llama_cpp_that_lists_its_models_to_anybody_is_seen_to_want_a_key(sick: Patient) -> None:
    Servers.seen = []
    with serving(Servers) as port:
        more = MORE.replace("127.0.0.1:9/v1", "127.0.0.1:{port}/cpp/v1")
        sick.write_lab(more.format(port=port, paid=sick.write("paid", OLD_KEY), redis=TAKEN))
        found = sick.findings("KT503")["KT503"]
    assert "/cpp/v1) refuses to be asked without a key" in found[0]["seen"]


def test_a_backend_that_is_not_ready_is_seen_without_its_key_as_well(sick: Patient) -> None:
    Servers.seen = []
    with serving(Servers) as port:
        more = MORE.replace("/paid/v1", "/loading/v1")
        sick.write_lab(more.format(port=port, paid=sick.home / "nowhere", redis=TAKEN))
        found = sick.findings("KT501")["KT501"]
    assert "/loading/v1): HTTP 503 (unavailable_error)" in "".join(row["seen"] for row in found)


def test_a_backend_that_takes_the_question_and_never_answers_is_given_up(
    sick: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_backends, "_ANSWER_S", 0.05)
    paid = sick.write("paid", OLD_KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sick.write_lab(MORE.format(port=port, paid=paid, redis=port))
        found = sick.findings("KT5")
    assert found.keys() == {"KT501", "KT504"}
    said = {row["seen"].partition(" ")[0]: row["seen"] for row in found["KT501"]}
    assert "no answer within 0.05 s" in said["ollama"]
    assert "in time" in found["KT504"][0]["seen"]
    assert found["KT501"][0]["mend"].startswith("start ")


def test_without_a_lab_no_backend_is_judged(sick: Patient) -> None:
    (sick.lab / "lab.toml").unlink()
    rows = [row for row in sick.all_findings("KT5") if row["code"] < "KT560"]
    assert {row["severity"] for row in rows} == {"not applicable"}
