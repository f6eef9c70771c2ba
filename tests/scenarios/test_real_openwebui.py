"""The real Open WebUI before the real LiteLLM: our env file, doctor, a rotation."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bootstrap.domain.secret import Secret
from support import leaks
from support.labs import CliLab, make, port_of_our_own, stopped_after
from support.litellm import real_litellm
from support.real_openwebui import OpenWebui, Refused, running, started_with
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ECHO = "lab-echo"
OLD_KEY = "sk-test-of-yesterday-0123456789abcdef"
ENV_FILE = "~/.config/lab-secrets/openwebui.env"
MORE = """
[targets]
openwebui_env = true
[clients.openwebui]
config = "{file}"
"""


@dataclass
class Site:
    """A lab, and where Open WebUI stands.

    Attributes:
        lab: The lab; its gateway runs.
        folder: Open WebUI's data folder.
        port: Open WebUI's.
    """

    lab: CliLab
    folder: Path
    port: int

    @property
    def url(self) -> str:
        """What Open WebUI is to ask."""
        return f"http://127.0.0.1:{self.lab.port}/v1"

    def variables(self) -> dict[str, str]:
        """Return what keyturn's env file gives a program that is started now."""
        return started_with(Path(self.lab.places.env_file).with_name("openwebui.env"))

    def doctor(self) -> dict[str, tuple[str, str, str]]:
        """Return severity, what was seen and how to mend it of what is not well, by code."""
        ran = self.lab.call("doctor", "--json", "KT56")
        assert "sk-" not in ran.out + ran.err
        rows = ran.json["findings"]
        bad = [row for row in rows if row["severity"] not in ("ok", "not applicable")]
        return {row["code"]: (row["severity"], row["seen"], row["mend"]) for row in bad}

    def enter_what_doctor_says(self, webui: OpenWebui) -> None:
        """Do by hand what KT562 and KT563 tell a person to do."""
        key = self.lab.ok("get", "LITELLM_MASTER_KEY").out.strip()
        webui.connect([self.url], [key])

    def rotate(self, *words: str) -> tuple[str, str]:
        """Rotate, and return what the summary says that Open WebUI needs, and how."""
        clients = self.lab.ok("rotate", "--json", *words).json["clients"]
        (found,) = [row for row in clients if row["client"] == "Open WebUI"]
        return found["action"], found["how"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("openwebui")
    home = base / "home"
    home.mkdir(mode=0o700)
    lab = make(base, home, write=False)
    lab.wrapper = real_litellm()
    lab.write(more=MORE.format(file="~/open-webui/webui.db"))
    with stopped_after(lab):
        lab.ok("bootstrap", str(lab.root))
        yield Site(lab, home / "open-webui", port_of_our_own())


@pytest.fixture(scope="module")
def webui(site: Site) -> Iterator[OpenWebui]:
    """Open WebUI at its first start, with keyturn's env file and nothing else about models."""
    with running(site.folder, site.port, site.variables()) as made:
        yield made


def test_our_env_file_alone_leads_it_to_the_gateway(site: Site, webui: OpenWebui) -> None:
    assert webui.models() == {ECHO}
    assert webui.chat(ECHO) == "the gateway works"
    assert site.doctor() == {}
    stored = [webui.database, webui.database.with_name("webui.db-wal")]
    assert leaks.find(site.lab.key, [site.folder], allowed=stored) == []


def test_doctor_reads_what_the_running_program_has_just_stored_and_leaves_it_alone(
    site: Site, webui: OpenWebui
) -> None:
    webui.connect([site.url], [OLD_KEY])
    log = webui.database.with_name("webui.db-wal")
    assert OLD_KEY.encode() in log.read_bytes()
    assert OLD_KEY.encode() not in webui.database.read_bytes()

    def untouched() -> bool:
        before = look(site.folder)
        assert Secret(OLD_KEY).fingerprint() in site.doctor()["KT563"][1]
        return look(site.folder) == before

    until(untouched, "a moment in which Open WebUI itself writes nothing")
    site.enter_what_doctor_says(webui)
    assert (webui.chat(ECHO), site.doctor()) == ("the gateway works", {})


def readable_by_others(folder: Path, names: str) -> list[str]:
    """Return the files in a folder that are not its owner's alone."""
    return [path.name for path in folder.glob(names) if path.stat().st_mode & 0o077]


def look(folder: Path) -> dict[str, bytes]:
    """Return each name in a folder with what stands in it, without what only readers share."""
    files = [path for path in folder.iterdir() if path.is_file()]
    return {path.name: b"" if path.suffix == ".db-shm" else path.read_bytes() for path in files}


# What is saved on its page Connections, what doctor finds then, and its words.
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "another port": ({"url": "http://127.0.0.1:9/v1"}, "KT562", "127.0.0.1:9/v1; the gateway is"),
    "another path": ({"url": "{url}/v1"}, "KT562", "/v1/v1; the gateway is"),
    "a slash": ({"url": "{url}/"}, "KT562", "/v1/; the gateway is"),
    "all turned off": ({"on": False}, "KT562", "connections to OpenAI are turned off"),
    "this one turned off": ({"enable": False}, "KT562", "/v1 is turned off"),
    "an old key": ({"key": OLD_KEY}, "KT563", "which is not in force"),
    "no key": ({"key": ""}, "KT563", "without a key"),
    "no sign-in": ({"auth_type": "none"}, "KT563", "without a key"),
    "an old key in a header": (
        {"headers": {"Authorization": f"Bearer {OLD_KEY}"}}, "KT563", "which is not in force",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_its_admin_saves_is_found_and_led_back(
    site: Site, webui: OpenWebui, fault: str
) -> None:
    saved, code, words = FAULTS[fault]
    form = {"url": site.url, "key": site.lab.key, **saved}
    url, key = form.pop("url").format(url=site.url), form.pop("key")
    webui.connect([url], [key], **form)
    assert webui.models() == set()
    ((found, (severity, seen, mend)),) = site.doctor().items()
    assert (found, severity, words in seen) == (code, "error", True), seen
    assert "Admin Settings, Connections" in mend
    site.enter_what_doctor_says(webui)
    assert (webui.models(), site.doctor()) == ({ECHO}, {})


def test_another_file_that_lab_toml_names_is_found_and_led_back(
    site: Site, webui: OpenWebui
) -> None:
    site.enter_what_doctor_says(webui)
    for named in ("~/open-webui", "~/open-webui/open-webui.log", "~/open-webui/other.db"):
        site.lab.write(more=MORE.format(file=named))
        ((found, (severity, _, mend)),) = site.doctor().items()
        assert (found, severity, "webui.db in its data folder" in mend) == (
            "KT561",
            "warning",
            True,
        )
    site.lab.write(more=MORE.format(file="~/open-webui/webui.db"))
    assert site.doctor() == {}


@pytest.mark.parametrize(
    "entered",
    [{"url": "http://localhost:{port}/v1"}, {"url": "http://127.0.0.1:{port}"}, {"second": True}],
)
def test_what_works_in_another_way_is_no_fault(
    site: Site, webui: OpenWebui, entered: dict[str, Any]
) -> None:
    url = entered.get("url", site.url).format(port=site.lab.port)
    more = (["http://127.0.0.1:9/v1"], [OLD_KEY]) if "second" in entered else ([], [])
    webui.connect([url, *more[0]], [site.lab.key, *more[1]])
    assert (webui.chat(ECHO), site.doctor()) == ("the gateway works", {})


def test_a_rotation_asks_of_it_what_the_summary_says(site: Site, webui: OpenWebui) -> None:
    lab = site.lab
    site.enter_what_doctor_says(webui)
    action, how = site.rotate("--grace", "1h", "--no-wait")
    assert (action, how.endswith("get LITELLM_MASTER_KEY")) == ("new key", True)
    severity, seen, _ = site.doctor()["KT563"]
    assert (severity, "for its grace time only" in seen) == ("warning", True)

    def is_named() -> bool:  # by what Open WebUI calls itself, once the guard has written it
        assert webui.chat(ECHO) == "the gateway works"
        return "used by  Python (" in lab.call("rotate", "--status").out

    until(is_named, "who uses the old key")

    lab.ok("rotate", "--resume")
    with pytest.raises(Refused, match="401"):
        webui.chat(ECHO)
    assert site.doctor()["KT563"][0] == "error"
    webui.stop()
    variables = site.variables()
    assert variables["OPENAI_API_KEY"] == lab.key

    assert "webui.db" in readable_by_others(site.folder, "webui.db*")
    webui.database.chmod(0o600)  # as KT564 says where others can come this far
    with running(site.folder, site.port, variables) as again:
        assert again.models() == set(), "what it has stored wins over a new environment"
        assert site.doctor()["KT563"][0] == "error"
        site.enter_what_doctor_says(again)
        assert (again.chat(ECHO), site.doctor()) == ("the gateway works", {})
        assert readable_by_others(site.folder, "webui.db*") == []

    lab.write(more=MORE.format(file=ENV_FILE))
    assert site.rotate("--grace", "0") == ("restart", "it reads openwebui.env when it starts")
    obeys = {**site.variables(), "ENABLE_PERSISTENT_CONFIG": "False"}
    with running(site.folder, site.port, obeys) as obedient:
        assert (obedient.chat(ECHO), site.doctor()) == ("the gateway works", {})
        stored = sqlite3.connect(f"file:{obedient.database}?mode=ro", uri=True)
        with closing(stored):
            rows = stored.execute("SELECT value FROM config WHERE key = 'openai.api_keys'")
            assert json.loads(rows.fetchone()[0]) != [lab.key], "what it leaves there is not used"
