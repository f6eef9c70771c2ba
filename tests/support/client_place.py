"""A home with a lab whose gateway really runs, in which faults are planted for real clients."""

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import claude
from support.doctor import SETTINGS, Patient, by_hand, patient
from support.droid_talk import Answer, Conversation
from support.homes import machine_environment
from support.labs import port_of_our_own, write_wrapper
from support.litellm import Upstream, requests_in
from support.sessions import TOOLS

PONG = Answer("pong from mock", "")
# Becomes a server that speaks droid's and Claude Code's languages, as LiteLLM does.
_GATEWAY = """\
while [ "$1" != --port ]; do shift; done
exec {python} {mock} "$2" --log {log} --key-file {keys} --only {models}
"""


@dataclass
class Place:
    """A home with a lab whose gateway runs.

    Attributes:
        sick: The home, in which a test plants its faults.
        log: What the gateway was asked.
        thief: Somebody else's server, which takes the same key.
    """

    sick: Patient
    log: Path
    thief: Upstream

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.sick.port}"

    def entry(self, alias: str, **changes: object) -> dict[str, object]:
        """Return a model as somebody wrote it by hand, with its alias as its name."""
        fields: dict[str, object] = {"model": alias, "displayName": alias, "baseUrl": "{url}/v1"}
        made = by_hand(**{**fields, **changes})
        if "baseUrl" in made:
            made["baseUrl"] = str(made["baseUrl"]).format(url=self.url)
        return made

    def got(self, alias: str) -> dict[str, Any] | None:
        """Return the gateway's last request for a model, with the members of its body."""
        found = _in_turns(requests_in(self.log, alias))
        return {**found[-1], **found[-1]["body"]} if found else None

    def stolen(self, alias: str) -> list[str | None]:
        """Return with which keys the other server was asked for a model."""
        return [request["authorization"] for request in _in_turns(self.thief.requests(alias))]

    def talk(self, **env: str | None) -> Conversation:
        """Start droid as the user would: in his folder, with his variables."""
        mine = {n: v for n, v in self.sick.environment.items() if n != "PATH"}
        folder = self.sick.cwd if self.sick.cwd != self.sick.home.parent / "elsewhere" else None
        return Conversation(self.sick.home, {**mine, **env}, cwd=folder)

    def models(self) -> list[dict[str, Any]]:
        """Return droid's models as the user's file has them."""
        listed: list[dict[str, Any]] = json.loads(self.settings.read_text())["customModels"]
        return listed

    @property
    def settings(self) -> Path:
        """The user's settings of droid."""
        return self.sick.home / SETTINGS

    def bad(self, *codes: str) -> dict[str, list[dict[str, Any]]]:
        """Return what doctor warns of."""
        found = self.sick.findings(*codes).items()
        worse = {c: [row for row in rows if row["severity"] != "note"] for c, rows in found}
        return {c: rows for c, rows in worse.items() if rows}

    def follow(self, *codes: str) -> None:
        """Do what doctor says, command by command, until it names none."""
        for _ in range(10):
            rows = [row for rows in self.bad(*codes).values() for row in rows]
            commands = [row["command"] for row in rows if row["command"]]
            if not commands:
                return
            self.sick.follow(commands[0])
        raise AssertionError(rows)

    def claude(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        """Start Claude Code as the user would; or `argv`, which finds it on PATH."""
        path = f"{claude.binary().parent}:{machine_environment()['PATH']}"
        base = {"HOME": str(self.sick.home), "LANG": "C.UTF-8", "CLAUDE_CODE_MAX_RETRIES": "0"}
        return subprocess.run(
            argv or ["claude", "-p", "hi"],
            env=base | self.sick.environment | {"PATH": path},
            cwd=self.sick.cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def fresh(self) -> None:
        """Make the home what `keyturn apply` made of it, and forget all requests."""
        home = self.sick.home
        for name in (".factory", ".claude", "project"):
            shutil.rmtree(home / name, ignore_errors=True)
        shutil.copytree(home.parent / "factory", home / ".factory")
        for log in (self.log, self.thief.log):
            log.write_text("")
        self.sick.cwd = home.parent / "elsewhere"
        self.sick.environment = {"PATH": self.sick.environment["PATH"]}


@contextlib.contextmanager
def open_place(base: Path, aliases: Sequence[str]) -> Iterator[Place]:
    """Make a lab of these models in an empty folder, and have its gateway run until the block ends.

    Args:
        base: Where.
        aliases: Those that the gateway knows besides lab-echo.
    """
    home = base / "home"
    home.mkdir(mode=0o700)
    sick = patient(home)
    sick.port, sick.command = port_of_our_own(), _gateway(home, aliases)
    secrets = "".join(
        f'[secrets.{name}]\nsources = ["file:{sick.write(f"lab/{name}", f"sk-test-{name}")}"]\n'
        for name in ("LITELLM_SALT_KEY", "KEYTURN_INTERNAL_KEY")
    )
    models = "".join(
        f'[[models]]\nalias = "{alias}"\nbackend = "mock"\noutput_tokens = 4096\n'
        for alias in aliases
        if alias != "qwen"
    )
    sick.write_lab(secrets + models)
    thief = Upstream(base, keys=home / "lab/key")
    try:
        done = sick.run("apply")
        assert done.code == 0, done
        shutil.copytree(home / ".factory", base / "factory")
        yield Place(sick, base / "gateway.jsonl", thief)
    finally:
        thief.stop()
        sick.run("service", "stop")


def _in_turns(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what an agent asks; without tools droid asks for the title of a session."""
    return [request for request in requests if request["body"].get("tools")]


def _gateway(home: Path, aliases: Sequence[str]) -> str:
    """Write a script that lab.toml names as LiteLLM; return its path."""
    body = _GATEWAY.format(
        python=sys.executable,
        mock=TOOLS / "mock_upstream.py",
        log=home.parent / "gateway.jsonl",
        keys=home / "lab/key",
        models=" ".join(f"--model {alias}" for alias in ("lab-echo", *aliases)),
    )
    return str(write_wrapper(home.parent / "bin/litellm", body.strip()))
