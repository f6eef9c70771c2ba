"""The real Open WebUI: its slim edition, installed once below .tools/, started offline.

The slim edition is Open WebUI's own (USE_SLIM_DOCKER=true): the same wheel and code, without the
packages for models in its own process, for documents and for other databases. What is left out
stands in `tests/tools/openwebui/left-out.txt`; nothing is put in its place. The list of changes,
which takes a second of every start, is an empty one at the place where Open WebUI looks first.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from support.downloads import installing
from support.homes import DOWNLOADS, environment, machine_environment
from support.sessions import TOOLS
from support.waiting import until

_PINS = TOOLS / "openwebui" / "requirements.txt"
_START_S = 300.0
_ANSWER_S = 60.0
_ALONE = {
    "USE_SLIM_DOCKER": "true",
    "OFFLINE_MODE": "true",
    "ENABLE_OLLAMA_API": "false",
    "WEBUI_AUTH": "false",  # a first user, who is an admin, signs in without a password
    "WEBUI_SECRET_KEY": "a-made-up-key-that-signs-test-sessions",
}


def open_webui() -> Path:
    """Return the program; the first call in a checkout fetches 190 MB, which take 540."""
    pins = hashlib.sha256(_PINS.read_bytes()).hexdigest()[:8]
    folder = DOWNLOADS / f"openwebui-py{sys.version_info[0]}.{sys.version_info[1]}-{pins}"
    done = folder / "installed"
    with installing("openwebui"):
        if not done.exists():
            venv.create(folder, clear=True, symlinks=True)
            _install(folder / "bin" / "python")
            package = next(folder.glob("lib/python*/site-packages"))
            (package.parent / "CHANGELOG.md").touch()
            done.touch()
    return folder / "bin" / "open-webui"


def _install(python: Path) -> None:
    """Install what is pinned; by uv where that works, as a bare machine has pip alone."""
    options = ["--quiet", "--no-deps", "--require-hashes", "-r", str(_PINS)]
    uv = ["uv", "pip", "install", "--python", str(python), "--no-build", "--compile-bytecode"]
    if shutil.which("uv") and _run([*uv, *options]).returncode == 0:
        return
    assert _run([str(python), "-m", "ensurepip"]).returncode == 0
    pip = [str(python), "-m", "pip", "install", "--no-input", "--only-binary", ":all:"]
    # Its package says that Python 3.13 is too new. The slim edition runs there; uv takes no word.
    done = _run([*pip, "--ignore-requires-python", *options])
    assert done.returncode == 0, f"Open WebUI cannot be installed: {done.stderr[-2000:]}"


def _run(argv: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv, env=machine_environment(), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


class Refused(AssertionError):
    """Open WebUI answered a request of its browser's side with an error."""


class OpenWebui:
    """A running Open WebUI, and what its pages ask of it.

    Args:
        folder: Its data folder.
        port: Where it listens, on the loopback address.
        variables: Its environment, beside what keeps it offline and in its folder.
    """

    def __init__(self, folder: Path, port: int, variables: Mapping[str, str]) -> None:
        self.database = folder / "webui.db"
        self._port = port
        folder.mkdir(exist_ok=True)
        self.log = folder / "open-webui.log"
        ours = {"DATA_DIR": str(folder), "STATIC_DIR": str(folder / "static"), **_ALONE}
        argv = [str(open_webui()), "serve", "--host", "127.0.0.1", "--port", str(port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, env={**environment(folder), **ours, **variables}, cwd=folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._token = ""

    def wait(self) -> None:
        """Wait until it answers, and sign in."""
        until(self._answers, "Open WebUI's first answer", _START_S)
        nobody = {"email": "", "password": ""}
        self._token = self._ask("/api/v1/auths/signin", nobody)["token"]

    def stop(self) -> None:
        """End it, as a service manager does."""
        self._process.terminate()
        try:
            self._process.wait(_ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def models(self) -> set[str]:
        """Return the models that its page offers, asked for anew."""
        rows = self._ask("/api/models?refresh=true")["data"]
        return {row["id"] for row in rows if row["owned_by"] == "openai"}

    def chat(self, model: str) -> str:
        """Return the answer of a model to a question."""
        question = {"model": model, "messages": [{"role": "user", "content": "ping"}]}
        answer = self._ask("/api/chat/completions", {**question, "stream": False})
        return str(answer["choices"][0]["message"]["content"])

    def connections(self) -> dict[str, Any]:
        """Return what its page Admin Settings, Connections shows of OpenAI's kind."""
        return dict(self._ask("/openai/config"))

    def connect(
        self, urls: Sequence[str], keys: Sequence[str], on: bool = True, **more: object
    ) -> None:
        """Save that page.

        Args:
            urls: The addresses.
            keys: The keys, in the same order.
            on: Whether such connections are on.
            more: What else the page sets for the first one.
        """
        form = {"OPENAI_API_BASE_URLS": urls, "OPENAI_API_KEYS": keys, "ENABLE_OPENAI_API": on}
        self._ask("/openai/config/update", {**form, "OPENAI_API_CONFIGS": {"0": more}})

    def _answers(self) -> bool:
        log = self.log.read_text("utf-8", "replace")
        assert self._process.poll() is None, f"Open WebUI ended: {log[-3000:]}"
        try:
            return bool(self._ask("/health"))
        except OSError:
            return False

    def _ask(self, path: str, form: Mapping[str, object] | None = None) -> Any:
        body = None if form is None else json.dumps(form)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        connection = HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_S)
        with closing(connection):
            connection.request("GET" if form is None else "POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != 200:
            raise Refused(f"{path}: {answer.status} {text[:500]!r}")
        return json.loads(text)


@contextmanager
def running(folder: Path, port: int, variables: Mapping[str, str]) -> Iterator[OpenWebui]:
    """Run it until the block ends; `folder` keeps what it stores."""
    webui = OpenWebui(folder, port, variables)
    try:
        webui.wait()
        yield webui
    finally:
        webui.stop()


def started_with(file: Path) -> dict[str, str]:
    """Return the variables of an env file, as `EnvironmentFile=` gives them to a unit."""
    lines = file.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
