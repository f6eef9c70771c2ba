"""Each fault of the gateway's set-up, planted: found and said, without a key in any word."""

import json
import os
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters import machine
from bootstrap.adapters.systemd import SystemdService
from bootstrap.domain.content import Content, FileState, digest_of
from bootstrap.domain.doctor.check import diagnose
from bootstrap.domain.doctor.checks_gateway import GATEWAY
from bootstrap.domain.doctor.facts import FoundFile
from bootstrap.domain.doctor.facts_gateway import Answers, GatewayProcess, LitellmFacts, UnitFacts
from bootstrap.domain.doctor.facts_secrets import SecretsFacts
from bootstrap.domain.doctor.finding import Severity
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.lab import Lab
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret
from bootstrap.ports import ServiceStatus
from bootstrap.wiring import found_lab
from bootstrap.wiring import labs as wired_labs
from support.doctor import KEY, LAB, OLD_KEY, PORT, Patient, patient
from support.fakes import make_places
from support.serving import serving

CONFIG = """\
model_list:
- model_name: qwen
  litellm_params: {model: ollama_chat/qwen, api_key: os.environ/QWEN_KEY}
litellm_settings: {drop_params: true}
general_settings: {master_key: os.environ/KEYTURN_INTERNAL_KEY}
"""
REFUSED = Answer(401)
OPEN = Answer(200, model_ids=("qwen",))
NAMES = frozenset({"QWEN_KEY", "KEYTURN_INTERNAL_KEY", "LITELLM_SALT_KEY"})
INTERNAL, OTHER = Secret("sk-test-internal-0123"), Secret("sk-test-internal-9876")
RUNNING = GatewayProcess(4242, 1000.0, NAMES, {"KEYTURN_INTERNAL_KEY": INTERNAL})


def config(text: str) -> FoundFile:
    place = PurePath("/home/me/.config/litellm/config.yaml")
    return FoundFile(place, FileState(Content(text.encode()), 0o600, str(place)))


def lab(gateway: str = "", more: str = "") -> Lab:
    text = LAB.format(port=PORT, key="/key", more=more).replace(
        "[secrets", f"{gateway}\n[secrets", 1
    )
    return parse_lab(text, PurePath("/lab"), None)


WELL = LitellmFacts(
    "litellm.service",
    config(CONFIG),
    FoundFile(PurePath("/env")),
    running=True,
    env={"KEYTURN_INTERNAL_KEY": INTERNAL},
    written={PurePath("/home/me/.config/litellm/config.yaml"): 900.0},
    process=RUNNING,
    unit=UnitFacts(lingering=True),
    providers=frozenset({"ollama_chat"}),
    version="1.106.2",
)
ANSWERS = Answers(REFUSED, REFUSED, OPEN)


def scene(
    facts: LitellmFacts = WELL, answers: Answers = ANSWERS, of: Lab | None = None
) -> Observations:
    places = make_places(Path("/home/me"))
    key = Secret(KEY)
    return Observations(
        places, PurePath("/"), "keyturn", {}, of or lab(), key, answers=answers, litellm=facts
    )


def with_config(old: str, new: str) -> Observations:
    assert old in CONFIG
    return scene(replace(WELL, config=config(CONFIG.replace(old, new))))


def unit(**changes: object) -> Observations:
    return scene(replace(WELL, unit=replace(UnitFacts(lingering=True), **changes)))  # type: ignore[arg-type]


def said(seen: Observations) -> list[tuple[str, str, str]]:
    found = diagnose(seen, [GATEWAY])
    bad = (f for f in found if f.severity not in (Severity.OK, Severity.NOT_APPLICABLE))
    assert not [f for f in found if "check itself failed" in f.seen], found
    return [(f.code, f.severity.value, f.seen) for f in bad]


SALT = Secret("sk-test-salt-1")


def salted(now: Secret) -> LitellmFacts:
    """Return a gateway with a database that was seen with another salt key, maybe."""
    process = replace(RUNNING, names=NAMES | {"DATABASE_URL"}, keys={"LITELLM_SALT_KEY": now})
    return replace(WELL, process=process, env={"LITELLM_SALT_KEY": now}, salt=SALT.fingerprint())


ROWS = "router_settings: {fallbacks: [{qwen: [gone]}]}\n"
FAULTS: dict[str, tuple[Observations, str, str, str]] = {
    "no key": (scene(answers=replace(ANSWERS, without=OPEN)), "KT301", "error", "with no key"),
    "any key": (scene(answers=replace(ANSWERS, made_up=OPEN)), "KT301", "error", "a made-up key"),
    "an old key": (scene(answers=replace(ANSWERS, right=REFUSED)), "KT302", "error", "HTTP 401"),
    "an odd answer": (
        scene(answers=replace(ANSWERS, right=Answer(503))),
        "KT302",
        "warning",
        "HTTP 503",
    ),
    "a weak key": (scene(replace(WELL, weakness="it is short")), "KT303", "error", "it is short"),
    "nothing runs": (
        scene(replace(WELL, running=False, process=None, env={}, detail="stopped")),
        "KT304",
        "warning",
        "stopped",
    ),
    "no answer": (
        scene(answers=Answers(*[Answer(None, problem="connection refused")] * 3)),
        "KT304",
        "warning",
        "connection refused",
    ),
    "a taken port": (
        scene(replace(WELL, listener=("nc", 77), stranger=True)),
        "KT305",
        "error",
        f"nc (process 77) listens on port {PORT}",
    ),
    "a port of somebody else": (
        scene(replace(WELL, listener=("", None), stranger=True)),
        "KT305",
        "error",
        "another user's program",
    ),
    "a newer config": (
        scene(replace(WELL, written={PurePath("/home/me/c.yaml"): 1010.0})),
        "KT306",
        "warning",
        "before ~/c.yaml was written",
    ),
    "another internal key": (
        scene(replace(WELL, env={"KEYTURN_INTERNAL_KEY": OTHER})),
        "KT307",
        "warning",
        f"KEYTURN_INTERNAL_KEY {INTERNAL.fingerprint()}",
    ),
    "another master key": (
        scene(
            replace(
                WELL,
                config=config(CONFIG.replace("KEYTURN_INTERNAL", "LITELLM_MASTER")),
                process=replace(
                    RUNNING,
                    names=NAMES | {"LITELLM_MASTER_KEY"},
                    keys={"LITELLM_MASTER_KEY": Secret(OLD_KEY)},
                ),
            ),
            of=lab('auth = "master-key"'),
        ),
        "KT307",
        "error",
        Secret(OLD_KEY).fingerprint(),
    ),
    "a masked unit": (unit(load="masked"), "KT308", "error", "masked"),
    "a bad unit": (unit(load="bad-setting"), "KT308", "error", "does not take"),
    "a failed unit": (
        scene(replace(WELL, detail="failed: too often", unit=UnitFacts(active="failed"))),
        "KT308",
        "error",
        "too often",
    ),
    "an edited unit": (
        scene(replace(WELL, edited=(PurePath("/home/me/u.service"),))),
        "KT309",
        "warning",
        "~/u.service is not as",
    ),
    "a drop-in": (unit(drop_ins=("/x/y.conf",)), "KT309", "note", "/x/y.conf"),
    "a unit not read again": (unit(stale=True), "KT309", "warning", "since systemd read it"),
    "no lingering": (unit(lingering=False), "KT310", "note", "lingering is off"),
    "an unset variable": (
        with_config("QWEN_KEY", "NOBODY"),
        "KT311",
        "error",
        "os.environ/NOBODY is not set",
    ),
    "a literal key": (
        with_config("os.environ/KEYTURN_INTERNAL_KEY", OLD_KEY),
        "KT312",
        "error",
        Secret(OLD_KEY).fingerprint(),
    ),
    "a fallback to nowhere": (
        with_config("general_settings", ROWS + "general_settings"),
        "KT313",
        "error",
        "router_settings.fallbacks names gone",
    ),
    "a last resort to nowhere": (
        with_config("drop_params: true", "drop_params: true, default_fallbacks: [gone]"),
        "KT313",
        "error",
        "litellm_settings.default_fallbacks names gone",
    ),
    "an unknown provider": (
        with_config("ollama_chat/", "olama/"),
        "KT314",
        "error",
        "qwen: olama",
    ),
    "no provider": (with_config("ollama_chat/qwen", "qwen"), "KT314", "warning", "no provider"),
    "a provider that only LiteLLM would know": (
        scene(
            replace(
                WELL, providers=frozenset(), config=config(CONFIG.replace("ollama_chat/", "grok/"))
            )
        ),
        "KT314",
        "warning",
        "qwen: grok",
    ),
    "a database": (
        scene(
            replace(
                WELL,
                process=replace(RUNNING, names=NAMES - {"LITELLM_SALT_KEY"} | {"DATABASE_URL"}),
            )
        ),
        "KT315",
        "warning",
        "LITELLM_SALT_KEY is not set",
    ),
    "an untested version": (scene(replace(WELL, version="1.90.0")), "KT316", "note", "1.90.0"),
    "a key in the log": (
        scene(replace(WELL, leaked=("the master key",))),
        "KT317",
        "error",
        "holds the master key",
    ),
    "drop_params off": (
        with_config("drop_params: true", "drop_params: false"),
        "KT318",
        "warning",
        "drop_params",
    ),
    "every address": (scene(of=lab('host = "0.0.0.0"')), "KT319", "warning", "gateway.host is"),
    "a host name": (scene(of=lab('host = "box"')), "KT319", "warning", "gateway.host is box"),
    "a variable of the gateway's": (
        scene(replace(WELL, process=replace(RUNNING, names=NAMES | {"DETAILED_DEBUG", "TERM"}))),
        "KT321",
        "warning",
        "the gateway has DETAILED_DEBUG",
    ),
    "a variable of a gateway that was started by hand": (
        scene(replace(WELL, strays=frozenset({"HTTP_PROXY", "PORT", "NO_PROXY"}))),
        "KT321",
        "warning",
        "the program on the gateway's port has HTTP_PROXY, PORT",
    ),
    "a variable of this shell": (
        replace(scene(), environment={"NUM_WORKERS": "4"}),
        "KT321",
        "note",
        "NUM_WORKERS is set in this shell",
    ),
    "another salt key": (
        scene(salted(Secret("sk-test-salt-2"))),
        "KT322",
        "error",
        f"the gateway has LITELLM_SALT_KEY {Secret('sk-test-salt-2').fingerprint()}; the database",
    ),
    "another salt key in the store": (
        replace(
            scene(salted(SALT)), secrets=SecretsFacts(salt=Secret("sk-test-salt-2").fingerprint())
        ),
        "KT322",
        "error",
        "stored is LITELLM_SALT_KEY",
    ),
    "no YAML": (scene(replace(WELL, config=config("a: [\n"))), "KT320", "error", "not YAML"),
    "an unreadable config": (
        scene(replace(WELL, config=replace(config(""), state=None, problem="permission denied"))),
        "KT320",
        "error",
        "permission denied",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_alone_and_said(fault: str) -> None:
    seen, code, severity, words = FAULTS[fault]
    found = said(seen)
    assert {row[:2] for row in found} == {(code, severity)}
    assert any(words in row[2] for row in found), found
    text = json.dumps(found)
    assert not [key for key in (KEY, OLD_KEY, "sk-test-internal") if key in text]


def test_a_well_gateway_has_nothing() -> None:
    assert said(scene()) == []


def test_every_code_of_the_group_has_a_fault() -> None:
    assert {row[1] for row in FAULTS.values()} == {code.id for code in GATEWAY.codes}


def test_a_salt_key_that_stays_or_encrypts_nothing_is_fine() -> None:
    assert said(scene(salted(SALT))) == []
    other = salted(Secret("sk-test-salt-2"))
    assert said(scene(replace(other, process=replace(RUNNING, keys=other.env)))) == []


def test_what_is_not_known_is_not_judged() -> None:
    bare = LitellmFacts(
        "litellm", FoundFile(PurePath("/c")), FoundFile(PurePath("/e")), running=True
    )
    assert said(scene(bare)) == []
    literal = CONFIG.replace("os.environ/KEYTURN_INTERNAL_KEY", OLD_KEY)
    assert said(scene(replace(bare, config=config(literal)))) == []
    assert said(scene(answers=replace(ANSWERS, right=None))) == []


class Gateway(BaseHTTPRequestHandler):
    """Serves anybody."""

    def do_GET(self) -> None:
        body = json.dumps({"object": "list", "data": [{"id": "qwen"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def sick(home: Path) -> Patient:
    return patient(home)


@pytest.mark.integration
def test_an_open_gateway_that_is_none_of_ours_is_seen_as_it_is(sick: Patient) -> None:
    with serving(Gateway) as sick.port:
        sick.write_lab()
        found = sick.findings("KT3")
    assert {row["severity"] for row in found["KT301"]} == {"error"}
    assert "listens on port" in found["KT305"][0]["seen"]
    assert KEY not in "".join(sick.said)


@pytest.mark.integration
def test_the_files_of_a_real_home_are_read(sick: Patient) -> None:
    sick.write(".config/litellm/config.yaml", CONFIG)
    sick.write(".config/lab-secrets/gateway.env", "KEYTURN_INTERNAL_KEY='sk-test-internal-1'\n")
    root = ".config/litellm/venv"
    package = f"{root}/lib/python3.11/site-packages"
    sick.write(f"{root}/bin/litellm", "#!/bin/sh\n", 0o755)
    sick.write(f"{root}/bin/python", "#!/bin/sh\n", 0o755)
    sick.write(f"{package}/litellm-1.106.2.dist-info/METADATA", "Name: litellm\nVersion: 1.106.2\n")
    listed = 'class LlmProviders(str, Enum):\n    OPENAI = "openai"\n\n\nclass Next:\n'
    sick.write(f"{package}/litellm/types/utils.py", listed)
    sick.write(f"{package}/litellm/llms/openai_like/providers.json", {"tiny": {}})
    found = sick.findings("KT3")
    assert [row["seen"] for row in found["KT311"]] == [
        "os.environ/QWEN_KEY is not set for the gateway"
    ]
    assert [row["severity"] for row in found["KT314"]] == ["error"]
    assert "never started" in found["KT304"][0]["seen"]
    assert "KT316" not in found


@pytest.mark.integration
@pytest.mark.parametrize(
    ("line", "code", "mend"),
    [
        ('host = "0.0.0.0"', "KT319", 'write host = "127.0.0.1" under [gateway]'),
        ('litellm_version = "1.90.0"', "KT316", "write a tested version into lab.toml"),
    ],
)
def test_what_lab_toml_asks_for_is_said_until_it_is_not(
    sick: Patient, line: str, code: str, mend: str
) -> None:
    file = sick.lab / "lab.toml"
    text = file.read_text()
    file.write_text(text.replace("[gateway]", f"[gateway]\n{line}"))
    (row,) = sick.findings(code)[code]
    assert mend in row["mend"]
    file.write_text(text)
    assert sick.findings(code) == {}


@pytest.mark.integration
def test_a_service_file_that_was_edited_is_named(sick: Patient) -> None:
    with sick.inside():
        root = found_lab.require(None)
        place = machine.places().lab_state(root)
    folder = str(Path(place).relative_to(sick.home))
    remembered = {"supervisor": {"digest": digest_of(b"{}")}}
    state = {"version": 1, "targets": remembered}
    sick.write(f"{folder}/service.json", {})
    sick.write(f"{folder}/state.json", state)
    assert "KT309" not in sick.findings("KT309")
    sick.write(f"{folder}/service.json", {"argv": ["x"]})
    assert "service.json is not as" in sick.findings("KT309")["KT309"][0]["seen"]


class CannedUnit(SystemdService):
    """A unit that is masked, and whose process is this test."""

    def properties(self) -> dict[str, str]:
        return {
            "LoadState": "masked",
            "ActiveState": "active",
            "DropInPaths": "/a.conf /b.conf",
            "NeedDaemonReload": "yes",
        }

    def lingering(self) -> bool | None:
        return False

    def listening(self) -> str | None:
        return None

    def status(self) -> ServiceStatus:
        return ServiceStatus(True, os.getpid(), "active (running)")

    def log_lines(self, most: int, *, fresh: bool = False) -> list[str]:
        return ["quiet", f"Bearer {KEY}"]


@pytest.mark.integration
def test_a_unit_its_process_and_its_log_are_read(
    sick: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wired_labs, "service", lambda lab, places: CannedUnit())
    sick.write(".config/litellm/config.yaml", CONFIG)
    os.utime(sick.home / ".config/litellm/config.yaml", (4e9, 4e9))
    found = sick.findings("KT3")
    assert [row["severity"] for row in found["KT309"]] == ["note", "note", "warning"]
    assert {"KT306", "KT308", "KT310", "KT311", "KT317"} <= set(found)
    assert KEY not in "".join(sick.said)
