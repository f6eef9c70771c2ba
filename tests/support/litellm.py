"""The real LiteLLM: installed once into a cache, started with files that keyturn rendered.

It is the version that keyturn pins, or the one that LITELLM_VERSION names for a run by hand.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.litellm_install import LitellmInstaller
from bootstrap.adapters.machine import TemplateFolder
from bootstrap.domain.lab import LITELLM_VERSION, Lab
from bootstrap.domain.litellm_config import (
    CAPS_FILE,
    fallbacks,
    general_settings,
    litellm_settings,
    model_list,
    output_caps,
    validate,
)
from bootstrap.domain.secret import Secret
from bootstrap.domain.service_env import service_environment
from bootstrap.domain.template import render
from support.downloads import installing
from support.homes import DOWNLOADS, environment, machine_environment
from support.sessions import TOOLS

START_S = 120.0
VERSION = machine_environment().get("LITELLM_VERSION") or LITELLM_VERSION
# 1.80 neither hides its schema nor refuses by itself what a body must not set; 1.92 does.
IS_OLD = tuple(map(int, VERSION.split(".")[:2])) < (1, 90)


class QuietProgress:
    """Progress that nobody sees; keeps what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Keep `text`."""
        self.said.append(text)
        yield

    def note(self, text: str) -> None:
        """Keep `text`."""
        self.said.append(text)


def real_litellm() -> Path:
    """Return the real `litellm`, installed by keyturn's own installer at the first call.

    It stays in KEYTURN_TEST_CACHE, or in `.tools/` of the repository, for the next run.
    """
    machine = machine_environment()
    cache = Path(machine.get("KEYTURN_TEST_CACHE") or DOWNLOADS)
    venv = cache / f"litellm-{VERSION}-py{sys.version_info[0]}.{sys.version_info[1]}"
    installer = LitellmInstaller(venv, VERSION, None, environ=machine)
    with installing("litellm", cache):
        return Path(installer.install(QuietProgress()))


def write_files(lab: Lab, secrets: Mapping[str, Secret], folder: Path) -> Path:
    """Render everything that the gateway reads into `folder`; return its config.yaml."""
    templates = TemplateFolder(PurePath(folder))
    literal = secrets if lab.gateway.literal_keys else None
    values: dict[str, object] = {
        "model_list": model_list(lab),
        "fallbacks": fallbacks(lab),
        "litellm_settings": litellm_settings(lab),
        "general_settings": general_settings(lab),
        "output_caps": output_caps(lab),
        "env_secrets": secrets,
        "literal": literal,
    }
    names = {
        "config.yaml": "litellm/config.yaml.j2",
        "litellm.env": "litellm/litellm.env.j2",
        CAPS_FILE: "litellm/keyturn-caps.json.j2",
    }
    for name, template in names.items():
        content = render(templates.text(template), values, name=template)
        (folder / name).write_bytes(content.data)
    hook = "litellm/keyturn_output_cap.py"
    (folder / "keyturn_output_cap.py").write_text(templates.text(hook))
    config = folder / "config.yaml"
    problem = validate(config.read_bytes(), lab, frozenset(secrets))
    assert problem is None, problem
    return config


@contextmanager
def running_litellm(
    lab: Lab, secrets: Mapping[str, Secret], folder: Path, port: int
) -> Iterator[HttpGateway]:
    """Run the real proxy with the lab's files, as its own service would, until the block ends.

    Its output is in `litellm.log` of `folder`.
    """
    config = write_files(lab, secrets, folder)
    variables = dict(
        line.split("=", 1)
        for line in (folder / "litellm.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    gateway = HttpGateway(f"http://127.0.0.1:{port}")
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(
            [real_litellm(), "--config", config, "--host", "127.0.0.1", "--port", str(port)],
            env=environment(folder) | service_environment() | variables,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_it_answers(gateway, process, folder)
            yield gateway
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_it_answers(
    gateway: HttpGateway, process: "subprocess.Popen[bytes]", folder: Path
) -> None:
    end = time.monotonic() + START_S
    while gateway.alive().status != 200:
        log = (folder / "litellm.log").read_text("utf-8", "replace")
        assert process.poll() is None, f"LiteLLM ended: {log[-2000:]}"
        assert time.monotonic() < end, f"LiteLLM does not answer: {log[-2000:]}"
        time.sleep(0.1)


def requests_in(log: Path, model: str) -> list[dict[str, Any]]:
    """Return the POST requests for a model that the mock upstream wrote down, oldest first."""
    lines = log.read_text().splitlines() if log.exists() else []
    records = [json.loads(line) for line in lines]
    return [
        record
        for record in records
        if record["method"] == "POST" and record["body"].get("model") == model
    ]


class Upstream:
    """A model server that answers `pong from mock` and notes every request.

    Args:
        folder: Where it notes them.
        pace_s: How long it waits before each of the three pieces of a streamed answer.
        keys: A file of the keys that open it, one a line, read at each request; None opens to all.

    Attributes:
        port: Where it listens, on the loopback address.
        log: Where it notes them, one JSON object a line.
    """

    def __init__(self, folder: Path, *, pace_s: float = 0.0, keys: Path | None = None) -> None:
        self.log = folder / "upstream.jsonl"
        program = [sys.executable, str(TOOLS / "mock_upstream.py"), "0", "--log", str(self.log)]
        program += ["--pace", str(pace_s), *(["--key-file", str(keys)] if keys else [])]
        self._process = subprocess.Popen(program, stdout=subprocess.PIPE)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline().split()[1])

    def requests(self, model: str) -> list[dict[str, Any]]:
        """Return the POST requests for an upstream model, oldest first."""
        return requests_in(self.log, model)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()


def listening_addresses(port: int) -> set[str]:
    """Return the addresses that somebody listens on at `port`, as the kernel writes them."""
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    rows = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    listening = [row[1].split(":") for row in rows if row[3] == "0A"]
    return {address for address, number in listening if int(number, 16) == port}
