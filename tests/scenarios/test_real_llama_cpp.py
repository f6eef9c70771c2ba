"""The real llama.cpp behind the real LiteLLM: imported, asked, failing in each way, and mended."""

import http.client
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pytest

from bootstrap.adapters.entropy import new_key
from bootstrap.adapters.sops import SopsProvider
from support import labs
from support.labs import CliLab
from support.litellm import real_litellm
from support.llama_cpp import LlamaCpp
from support.tiny_model import SAYS, write_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
KEY = "LLAMA_API_KEY"
ALIAS, BACKEND = "pong", "llama-cpp"
CAP, CONTEXT = 7, 512
CHAT = "/v1/chat/completions"
_TEXT = re.compile(r'"(?:content|text)": ?("(?:[^"\\]|\\.)*")')


@dataclass
class Behind:
    """A running lab whose only model is llama.cpp's.

    Attributes:
        lab: The lab.
        server: What runs the model.
        model: The file of the model.
    """

    lab: CliLab
    server: LlamaCpp
    model: Path

    @property
    def key(self) -> str:
        """What opens the server, as the store has it."""
        return self.lab.value(KEY)

    def start(self, *keys: str, model: Path | None = None, held_up: bool = False) -> None:
        """Start the server, in the place of the one that runs."""
        self.server.start(model or self.model, *keys, context=CONTEXT, held_up=held_up)

    def found(self) -> dict[str, dict[str, Any]]:
        """Return what doctor says about the backend that is worse than `ok`, by code."""
        rows = self.lab.call("doctor", "KT5", "--json").json["findings"]
        return {r["code"]: r for r in rows if r["severity"] in ("note", "warning", "error")}

    def ask(self, prompt: str = "ping", path: str = CHAT, **more: object) -> tuple[int, str]:
        """Ask the gateway for a completion of the model; return status and answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.lab.port, timeout=60)
        headers = {"Authorization": f"Bearer {self.lab.key}", "Content-Type": "application/json"}
        body = {"model": ALIAS, "messages": [{"role": "user", "content": prompt}], **more}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, text


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """A lab that got its model by `models import`, from a server that wants a key."""
    base = tmp_path_factory.mktemp("llama")
    home = base / "home"
    home.mkdir(mode=0o700)
    key = new_key()
    lab = labs.make(base, home, write=False)
    lab.wrapper = real_litellm()
    lab.write(top="echo = false", more=f"[secrets.{KEY}]")
    with LlamaCpp(base) as server, labs.stopped_after(lab):
        made = Behind(lab, server, write_model(base / f"{ALIAS}.gguf"))
        lab.ok("init", str(lab.root))
        SopsProvider(PurePath(lab.root), lab.environment()).write_many(labs.STORE, {KEY: key})
        see_what_cannot_be_imported(made)
        made.start(key.reveal())
        ran = lab.ok("models", "import", "--from", server.url, "--key", KEY)
        assert ran.out == f"added    {ALIAS}\nNext: keyturn apply\n"
        with lab.file.open("a") as file:
            file.write(f"output_tokens = {CAP}\n")
        lab.ok("bootstrap", str(lab.root))
        yield made
    assert key.reveal() not in "".join(lab.said)


def see_what_cannot_be_imported(behind: Behind) -> None:
    """See an import stop at a server that is not there, not ready, or wants another key."""
    words = ("models", "import", "--from", behind.server.url)
    text = behind.lab.file.read_text()
    assert behind.lab.call(*words).error["cause"] == "connection refused"
    behind.start(behind.key, held_up=True)
    error = behind.lab.call(*words).error
    assert "gives 503" in error["cause"]
    assert error["fix"].startswith("wait until it has its model")
    behind.server.go_on()
    assert behind.lab.call(*words).error["cause"] == "it wants a key"
    behind.start("sk-test-somebody-elses")
    assert behind.lab.call(*words, "--key", KEY).error["cause"] == f"it refuses the key {KEY}"
    assert behind.lab.file.read_text() == text


def texts(answered: tuple[int, str]) -> list[str]:
    """Return what the model said in an answer, in each event of a streamed one."""
    status, text = answered
    assert status == 200, text
    return [json.loads(found) for found in _TEXT.findall(text)]


def test_what_was_imported_is_what_the_server_says(behind: Behind) -> None:
    text = behind.lab.file.read_text()
    assert f'[backends.{BACKEND}]\nkind = "llama.cpp"\nurl = "{behind.server.url}/v1"' in text
    assert f'alias = "{ALIAS}"\nbackend = "{BACKEND}"\nupstream = "{behind.model}"' in text
    assert f"context_tokens = {CONTEXT}\n" in text
    again = behind.lab.ok("models", "import", "--from", behind.server.url, "--key", KEY)
    assert "Nothing to add" in again.out
    assert behind.lab.call("plan", "--exit-code").code == 0


def test_a_lab_that_is_well_is_green(behind: Behind) -> None:
    rows = behind.lab.call("doctor", "--json").json["findings"]
    assert [row for row in rows if row["severity"] in ("warning", "error")] == []
    assert behind.found() == {}
    said = behind.lab.ok("check", "--deep").out
    assert f"completion from {ALIAS}: answered" in said


def test_the_gateway_hands_its_answers_on_and_caps_them(behind: Behind) -> None:
    whole = [f" {SAYS}" * CAP]
    assert texts(behind.ask()) == whole
    assert texts(behind.ask(max_tokens=300)) == whole
    assert texts(behind.ask(max_completion_tokens=300)) == whole
    assert texts(behind.ask(max_tokens=3)) == [f" {SAYS}" * 3]
    assert texts(behind.ask(path="/v1/messages", max_tokens=300)) == whole
    assert "".join(texts(behind.ask(max_tokens=300, stream=True))) == whole[0]
    counted = json.loads(behind.ask(max_tokens=300)[1])["usage"]
    assert counted["completion_tokens"] == CAP
    status, answer = behind.ask("a prompt that is too long " * CONTEXT)
    assert status == 400, answer


def test_a_server_that_is_stopped_is_said(behind: Behind) -> None:
    behind.server.stop()
    row = behind.found()["KT501"]
    assert "connection refused" in row["seen"]
    assert row["mend"].startswith("start llama.cpp, ")
    behind.start(behind.key)
    assert behind.found() == {}


def test_a_server_that_still_loads_its_model_is_said(behind: Behind) -> None:
    behind.start(behind.key, held_up=True)
    row = behind.found()["KT501"]
    assert (row["severity"], "HTTP 503" in row["seen"]) == ("warning", True)
    assert row["mend"].startswith("wait ")
    behind.server.go_on()
    assert behind.found() == {}


def test_a_server_with_another_model_is_said(behind: Behind) -> None:
    other = write_model(behind.model.with_name("other.gguf"))
    behind.start(behind.key, model=other)
    row = behind.found()["KT502"]
    assert (row["severity"], "another model answers" in row["why"]) == ("note", True)
    assert f"has {other}, and answers with that" in row["seen"]
    assert behind.ask()[0] == 200
    assert row["mend"].startswith("start it with that model, ")
    behind.start(behind.key)
    assert behind.found() == {}


def test_a_wrong_path_is_said(behind: Behind) -> None:
    behind.start()
    text = behind.lab.file.read_text()
    behind.lab.file.write_text(text.replace(behind.server.url, f"{behind.server.url}/more"))
    row = behind.found()["KT501"]
    assert "HTTP 404" in row["seen"]
    assert row["mend"] == f"mend backends.{BACKEND}.url in lab.toml"
    behind.lab.file.write_text(text)
    assert behind.found() == {}, "a server that wants no key gets one all the same"
    behind.start(behind.key)


def test_a_lab_that_names_no_key_is_said(behind: Behind) -> None:
    text = behind.lab.file.read_text()
    without = text.replace(f'\nkey = "{KEY}"', "").replace(f"[secrets.{KEY}]", "")
    behind.lab.file.write_text(without)
    row = behind.found()["KT503"]
    assert (row["severity"], row["command"]) == ("warning", None)
    assert row["mend"].startswith(
        f'write key = "NAME" under [backends.{BACKEND}] and [secrets.NAME] in lab.toml'
    )
    backend = f"[backends.{BACKEND}]"
    added = without.replace(backend, f'[secrets.{KEY}]\n{backend}\nkey = "{KEY}"')
    behind.lab.file.write_text(added)
    assert behind.found() == {}
    behind.lab.file.write_text(text)


def test_another_key_is_said_and_rotated_in_proven_by_the_model(behind: Behind) -> None:
    """Last, since the gateway starts anew for it."""
    old, new = behind.key, new_key().reveal()
    behind.start(new)
    row = behind.found()["KT503"]
    assert (row["severity"], f"refuses the key {KEY}" in row["seen"]) == ("error", True)
    assert behind.ask()[0] == 401
    command = row["mend"].removeprefix("give it the right one: keyturn ")
    ran = labs.feed(behind.lab, *command.split(), stdin=new)
    assert ran.code == 0, ran.err
    assert f"{KEY}: {ALIAS} answered" in ran.out
    assert (behind.key, behind.found(), behind.ask()[0]) == (new, {}, 200)
    said = "".join(behind.lab.said)
    assert (old in said, new in said) == (False, False)
