"""The real Open WebUI before the real LiteLLM: our env file, doctor beside it, a rotation under it."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import leaks
from support.labs import CliLab, make, port_of_our_own, stopped_after
from support.litellm import real_litellm
from support.real_openwebui import OpenWebui, Refused, running, started_with
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ECHO = "lab-echo"
MORE = """
[targets]
openwebui_env = true
[clients.openwebui]
config = "~/open-webui/webui.db"
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

    @property
    def env_file(self) -> Path:
        """What keyturn writes for it."""
        return Path(self.lab.places.env_file).with_name("openwebui.env")

    def doctor(self) -> dict[str, dict[str, Any]]:
        """Return what doctor says of Open WebUI that is not well, by code."""
        rows = self.lab.call("doctor", "--json", "KT56").json["findings"]
        return {r["code"]: r for r in rows if r["severity"] not in ("ok", "not applicable")}

    def got(self, name: str = "LITELLM_MASTER_KEY") -> str:
        """Return what a person gets who follows doctor's words."""
        return self.lab.ok("get", name).out.strip()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("openwebui")
    home = base / "home"
    home.mkdir(mode=0o700)
    lab = make(base, home, write=False)
    lab.wrapper = real_litellm()
    lab.write(more=MORE)
    with stopped_after(lab):
        lab.ok("bootstrap", str(lab.root))
        yield Site(lab, home / "open-webui", port_of_our_own())


@pytest.fixture(scope="module")
def webui(site: Site) -> Iterator[OpenWebui]:
    """Open WebUI at its first start, with exactly our env file."""
    with running(site.folder, site.port, started_with(site.env_file)) as made:
        yield made


def test_all(site, webui):
    import time
    t=time.time()
    print(webui.models(), webui.connections())
    print(webui.chat(ECHO))
    print(site.doctor()); print(time.time()-t)
    webui.connect([site.url], ["sk-test-old-0123456789abcdef"])
    print(webui.models(), site.doctor())
    webui.connect([site.url+"1"], [site.got()])
    print(webui.models(), site.doctor())
    webui.connect([site.url], [site.got()])
    print(webui.models(), site.doctor())
    webui.connect([site.url], [site.got()], enable=False)
    print(webui.models(), site.doctor())
    webui.connect([site.url], [site.got()])
    ran = site.lab.ok("rotate", "--json", "--grace", "1h", "--no-wait")
    print(ran.out)
    print(webui.models(), site.doctor(), webui.chat(ECHO))
    print(site.lab.call("rotate", "--status").out)
    ran = site.lab.ok("rotate", "--resume")
    print(ran.out)
    try:
        print(webui.chat(ECHO))
    except Refused as e: print(e)
    print(webui.models(), site.doctor())
    print(time.time()-t)
    assert 0
