"""The real droid, asked for many models by one process: each costs a tenth of a new start."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.droid import OFFLINE, binary
from support.homes import machine_environment
from support.waiting import until

_STREAM = "stream-jsonrpc"
# What droid says where it has no such model.
UNAVAILABLE = "Custom model configuration is unavailable"
# It waits that long after a change of a file before it reads it.
_LOOKS_S = 0.35


@dataclass(frozen=True)
class Answer:
    """What came of a question.

    Attributes:
        text: What the model said; empty where it said nothing.
        error: What droid said that went wrong; empty where nothing did.
    """

    text: str
    error: str


class Conversation:
    """A `droid exec` as the interactive droid starts one for its sessions, until the block ends.

    Args:
        home: HOME, with .factory/ in it.
        env: Variables beside PATH, LANG, HOME and those that keep it offline; None takes one away.
        cwd: A fresh empty folder unless given: a project's .factory/ would shadow the home's.
    """

    def __init__(
        self, home: Path, env: Mapping[str, str | None] | None = None, *, cwd: Path | None = None
    ) -> None:
        self._empty = tempfile.TemporaryDirectory()
        self._cwd = cwd or Path(self._empty.name)
        base = {"PATH": machine_environment()["PATH"], "LANG": "C.UTF-8", "HOME": str(home)}
        variables = {**base, **OFFLINE, **(env or {})}
        self._process = subprocess.Popen(
            [binary(), "exec", "--input-format", _STREAM, "--output-format", _STREAM],
            env={name: value for name, value in variables.items() if value is not None},
            cwd=self._cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._sent = 0
        self._has_session = False

    def __enter__(self) -> "Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._empty.cleanup()

    def ask(self, model: str) -> Answer:
        """Choose a model, and ask it; the session goes on from question to question.

        Args:
            model: Its id, such as `custom:keyturn-qwen`.
        """
        if self._has_session:
            refused = self._call("update_session_settings", modelId=model)
        else:
            where = str(self._cwd)
            refused = self._call("initialize_session", machineId="test", cwd=where, modelId=model)
            self._has_session = not refused
        return Answer("", refused) if refused else self._say("hi")

    def until(self, model: str, wanted: Answer) -> None:
        """Ask a model until droid, which looks at a changed file soon, says `wanted`."""

        def look() -> bool:
            time.sleep(_LOOKS_S)
            return self.ask(model) == wanted

        until(look, f"{wanted} from {model}")

    def resume(self, session: str) -> Answer:
        """Ask once more in a session that is on disk."""
        refused = self._call("load_session", sessionId=session)
        return Answer("", refused) if refused else self._say("hi again")

    def _say(self, text: str) -> Answer:
        asked = self._send("add_user_message", text=text)
        texts, errors = [], []
        for row in self._rows():
            assert "error" not in row or row.get("id") != asked, row
            said = row.get("params", {}).get("notification", {})
            if said.get("type") == "error":
                errors.append(said["message"])
            elif said.get("type") == "create_message" and said["message"]["role"] == "assistant":
                texts += [piece.get("text", "") for piece in said["message"]["content"]]
            elif said.get("type") == "agent_turn_completed":
                return Answer("".join(texts), " ".join(errors))
        raise AssertionError("droid ended before it had answered")

    def _call(self, method: str, **parameters: str) -> str:
        """Send a request, and read until it is answered; return why it was refused, if it was."""
        asked = self._send(method, **parameters)
        row = next(row for row in self._rows() if row.get("id") == asked)
        return str(row["error"]["message"]) if "error" in row else ""

    def _send(self, method: str, **parameters: str) -> str:
        self._sent += 1
        request = {
            "jsonrpc": "2.0",
            "factoryApiVersion": "1.0.0",
            "type": "request",
            "id": str(self._sent),
            "method": f"droid.{method}",
            "params": parameters,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return str(self._sent)

    def _rows(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout
        for line in self._process.stdout:
            yield json.loads(line)
