"""Plant a fault in a real home, and see what `keyturn doctor` says and mends."""

import contextlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bootstrap.cli import doctor_show
from bootstrap.domain.doctor.finding import Finding
from bootstrap.wiring import doctor as wired
from bootstrap.workflows import doctor as workflow
from support import labs
from support.labs import Ran

KEY = "sk-test-doctor-in-force-0123456789abcdefghij"
OLD_KEY = "sk-test-doctor-of-yesterday-0123456789abcdef"
# Low, so that no gateway of the machine, and no test, listens there by chance.
PORT = 1021
URL = f"http://127.0.0.1:{PORT}"
# A path, a variable or option, an address, a process: where to look.
_PLACE = re.compile(r"[~/]/?\w|[A-Z_]{4,}|\w+\.\w+|process \d")
SETTINGS = ".factory/settings.json"
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
        port: The gateway's, as lab.toml says.
        command: What lab.toml has run as LiteLLM; none for a gateway that nobody starts.
        said: All that every run printed.
    """

    home: Path
    cwd: Path
    environment: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    port: int = PORT
    command: str = ""

    @property
    def lab(self) -> Path:
        """The lab's folder."""
        return self.home / "lab"

    def write_lab(self, more: str = "", key: str = KEY) -> None:
        """Write lab.toml and the file with the key."""
        self.lab.mkdir(exist_ok=True)
        source = self.write("lab/key", key)
        text = LAB.format(port=self.port, key=source, more=more)
        if self.command:
            text = text.replace("[gateway]", f"[gateway]\ncommand = {json.dumps(self.command)}")
        (self.lab / "lab.toml").write_text(text)

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

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be this user, where doctor is started."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.cwd)
            patch.setenv("HOME", str(self.home))
            patch.setenv("KEYTURN_LAB", str(self.lab))
            for name, value in self.environment.items():
                patch.setenv(name, value)
            yield

    def findings(self, *words: str) -> dict[str, list[dict[str, Any]]]:
        """Return what `keyturn doctor` finds that is neither well nor out of place, by code."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.all_findings(*words):
            if row["severity"] not in ("ok", "not applicable"):
                found.setdefault(row["code"], []).append(row)
        return found

    def all_findings(self, *words: str) -> list[dict[str, Any]]:
        """Return every verdict, as `keyturn doctor --json` prints it."""
        with self.inside():
            found = workflow.examine(wired.tools(None), list(words))
        return self._rows(found)

    def _rows(self, found: Sequence[Finding]) -> list[dict[str, Any]]:
        document = doctor_show.findings_data(found, workflow.exit_code(found))
        self.said.append(json.dumps(document))
        rows: list[dict[str, Any]] = document["findings"]
        assert document["exit_code"] == any(row["severity"] == "error" for row in rows)
        assert not [row for row in rows if "check itself failed" in row["seen"]], rows
        return rows

    def follow(self, command: str) -> None:
        """Do what a person does who types the command that a finding names, in this shell."""
        for part in command.split(" && "):
            words = shlex.split(part)
            name, _, value = words[1].partition("=")
            if words[0] == "unset":
                for variable in words[1:]:
                    self.environment.pop(variable, None)
            elif words[0] == "export":
                self.environment[name] = self._expanded(value)
            elif words[0] == "keyturn":
                done = self.run(*words[1:])
                assert done.code in (0, 1), done  # 1: something else is not well
            else:
                variables = {**os.environ, "HOME": str(self.home), **self.environment}
                subprocess.run(["sh", "-c", command], check=True, env=variables, cwd=self.cwd)
                return

    def _expanded(self, value: str) -> str:
        asked = value.removeprefix("$(keyturn ").removesuffix(")")
        if asked == value:
            return value
        with self.inside():
            done = labs.call(*asked.split(), cwd=self.cwd)
        assert done.code == 0, done
        return done.out.strip()

    def leads_back(self, code: str) -> bool:
        """Follow what doctor says until it finds the code no more; False where it is no command.

        A command that does not help is a failure. What only a gateway can do, which this home has
        not, is none here. What is said in words names a file, a variable or an address.
        """
        for _ in range(4):
            rows = self.findings(code).get(code, [])
            commands = [row["command"] for row in rows if row["command"] and _is_for(row)]
            if not commands:
                break
            self.follow(commands[0])
        else:
            raise AssertionError(rows)
        assert not [row for row in rows if not _PLACE.search(f"{row['seen']} {row['mend']}")], rows
        return not rows

    def severity(self, code: str) -> str:
        """Return the worst severity that doctor gives for a code."""
        order = ("not applicable", "ok", "note", "warning", "error")
        return max((str(row["severity"]) for row in self.all_findings(code)), key=order.index)

    def settings(self, *entries: object, **more: object) -> Path:
        """Write droid's settings.json with these models, quiet ones for an interactive start."""
        quiet: dict[str, object] = {"trustedFolders": {}, "logoAnimation": "off"}
        return self.write(SETTINGS, {**quiet, **more, "customModels": list(entries)})

    def mends(self, code: str) -> list[Path]:
        """Have doctor mend a code; return the files that changed.

        Sees that --dry-run changes nothing, that the finding is gone afterwards, that a second
        time does nothing, and that --undo gives every byte and mode back.
        """
        before = self._files()
        with self.inside():
            shown = workflow.preview(wired.tools(None), [code])
        assert {code} == {c for mend in shown.mending.files for c in mend.codes}
        assert before == self._files()
        document = self.fix(code)
        assert document["changes"][0]["files"], document
        assert code not in {row["code"] for row in document["bad"]}
        after = self._files()
        assert self.fix(code)["changes"] == []
        with self.inside():
            workflow.undo(wired.tools(None))
        restored = self._files()
        assert before.items() <= restored.items()
        return [path for path, state in before.items() if after.get(path) != state]

    def _files(self) -> dict[Path, tuple[bytes, int]]:
        found = (path for path in self.home.rglob("*") if path.is_file())
        return {path: (path.read_bytes(), path.stat().st_mode) for path in found}

    def fix(self, *codes: str) -> dict[str, Any]:
        """Do what `keyturn doctor --fix` does; `bad` is what is left that is not well."""
        steps: list[dict[str, Any]] = []

        def show(shown: workflow.ShownMending) -> None:
            steps.append(doctor_show.mending_data(shown))

        with self.inside():
            found, failed = workflow.fix(wired.tools(None), list(codes), show)
        rows = self._rows(found)
        self.said.append(json.dumps(steps))
        bad = [row for row in rows if row["severity"] not in ("ok", "not applicable")]
        code = workflow.exit_code(found)
        return {"exit_code": code, "changes": steps, "failed": list(failed), "bad": bad}


def _is_for(row: dict[str, Any]) -> bool:
    """Tell whether the command of a finding needs no gateway."""
    return not row["command"].startswith(("keyturn apply", "keyturn rotate", "keyturn service"))


def droid_entry(**changes: object) -> dict[str, object]:
    """Return a model entry as keyturn makes it, with some fields changed; None takes one out."""
    fields = {
        "model": "qwen",
        "id": "custom:keyturn-qwen",
        "displayName": "Qwen (keyturn)",
        "baseUrl": f"{URL}/v1",
        "apiKey": KEY,
        "provider": "generic-chat-completion-api",
        "maxOutputTokens": 4096,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def by_hand(**changes: object) -> dict[str, object]:
    """Return an entry as the usual guide has it, made by hand."""
    return droid_entry(**{"id": None, "displayName": "Qwen 3 Plus (Local LiteLLM)", **changes})


def legacy_entry(**changes: object) -> dict[str, object]:
    """Return an entry of the old format, as the other guide has it."""
    fields = {
        "model_display_name": "qwen (LiteLLM)",
        "model": "qwen",
        "base_url": f"{URL}/v1/",
        "api_key": KEY,
        "provider": "generic-chat-completion-api",
        "max_tokens": 4096,
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def patient(home: Path) -> Patient:
    """Return a home with a lab and nothing wrong."""
    cwd = home.parent / "elsewhere"
    cwd.mkdir(exist_ok=True)
    made = Patient(home, cwd, {"PATH": os.environ["PATH"]})
    made.write_lab()
    return made
