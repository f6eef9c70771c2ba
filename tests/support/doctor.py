"""Plant a fault in a real home, and see what `keyturn doctor` says and mends."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import labs
from support.labs import Ran

KEY = "sk-test-doctor-in-force-0123456789abcdefghij"
OLD_KEY = "sk-test-doctor-of-yesterday-0123456789abcdef"
PORT = 4321
URL = f"http://127.0.0.1:{PORT}"
LAB = """\
version = 1
[gateway]
port = {port}
service = "supervisor"
[secrets.LITELLM_MASTER_KEY]
sources = ["file:{key}"]
[backends.mock]
kind = "openai-compatible"
url = "http://127.0.0.1:9/v1"
[[models]]
alias = "qwen"
backend = "mock"
output_tokens = 4096
{more}
"""


@dataclass
class Patient:
    """A home with a lab whose key stands in a file, so that nothing needs to be decrypted.

    Attributes:
        home: HOME.
        cwd: Where doctor is started; a folder of no project.
        environment: Variables beside the isolated ones.
        said: All that every run printed.
    """

    home: Path
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def lab(self) -> Path:
        """The lab's folder."""
        return self.home / "lab"

    def write_lab(self, more: str = "", key: str = KEY) -> None:
        """Write lab.toml and the file with the key."""
        self.lab.mkdir(exist_ok=True)
        source = self.write("lab/key", key)
        (self.lab / "lab.toml").write_text(LAB.format(port=PORT, key=source, more=more))

    def write(self, path: str, content: object, mode: int = 0o600) -> Path:
        """Write a file below the home: a text, bytes, or anything else as JSON."""
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
        file.chmod(mode)
        return file

    def run(self, *words: str) -> Ran:
        """Run keyturn on the lab."""
        variables = {"KEYTURN_LAB": str(self.lab), "HOME": str(self.home), **self.environment}
        done = labs.call(*words, cwd=self.cwd, env=variables)
        self.said += [done.out, done.err]
        return done

    def findings(self, *words: str) -> dict[str, list[dict[str, Any]]]:
        """Return what `keyturn doctor` finds that is neither well nor out of place, by code."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.all_findings(*words):
            if row["severity"] not in ("ok", "not applicable"):
                found.setdefault(row["code"], []).append(row)
        return found

    def all_findings(self, *words: str) -> list[dict[str, Any]]:
        """Return every verdict."""
        done = self.run("doctor", "--json", *words)
        assert "Traceback" not in done.err, done.err
        rows: list[dict[str, Any]] = done.json["findings"]
        assert done.code == any(row["severity"] == "error" for row in rows)
        assert not [row for row in rows if "check itself failed" in row["seen"]], rows
        return rows

    def severity(self, code: str) -> str:
        """Return the worst severity that doctor gives for a code."""
        order = ("not applicable", "ok", "note", "warning", "error")
        return max((str(row["severity"]) for row in self.all_findings(code)), key=order.index)

    def fix(self, *codes: str) -> dict[str, Any]:
        """Run `keyturn doctor --fix`, and return its document."""
        done = self.run("doctor", "--fix", "--json", *codes)
        assert "Traceback" not in done.err, done.err
        document: dict[str, Any] = done.json
        return document


def patient(home: Path) -> Patient:
    """Return a home with a lab and nothing wrong."""
    cwd = home.parent / "elsewhere"
    cwd.mkdir(exist_ok=True)
    made = Patient(home, cwd, {"PATH": os.environ["PATH"]})
    made.write_lab()
    return made
