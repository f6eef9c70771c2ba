"""A lab exactly as the two usual guides describe it, with a stand-in for LiteLLM."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.listeners import LocalPorts
from bootstrap.domain.secret import Secret
from support.homes import environment
from support.labs import CliLab
from support.sessions import TOOLS
from support.waiting import until

KEY = "sk-litellm-local-your-master-key"
PROVIDER_KEY = "sk-test-your-provider-api-key-0123456789"
CONFIG = """\
general_settings:
  master_key: {key}
litellm_settings:
  drop_params: true
model_list:
- litellm_params:
    api_base: https://your-provider-endpoint.invalid/v1
    api_key: {provider}
    model: openai/qwen3p6-plus
    stream: true
  model_name: qwen3p6-plus
- litellm_params:
    api_base: https://your-provider-endpoint.invalid/v1
    api_key: {provider}
    model: openai/gemini-3.1-pro
  model_name: gemini-3.1-pro
- litellm_params:
    api_base: http://127.0.0.1:11434
    model: ollama_chat/qwen3-coder:480b-cloud
  model_name: "qwen3-coder:480b-cloud"
- litellm_params:
    api_key: none
    mock_response: the gateway works
    model: openai/canned
  model_name: canned
"""
_DECLARED = {".config/lab-secrets/litellm.env", ".factory/settings.json"}
# Not as json.dumps would write it: every byte outside our entries must stay.
SETTINGS = """\
{
  "enabledPlugins": {
    "core@factory-plugins": true
  },
  "customModels": [
    {
      "model": "qwen3p6-plus",
      "displayName": "Qwen 3 Plus (Local LiteLLM)",
      "baseUrl": "http://localhost:%d",
      "apiKey": "%s",
      "provider": "generic-chat-completion-api",
      "maxOutputTokens": 16384
    }
  ]
}
"""
BASHRC = """\
PS1='$ '
_claude_via_litellm() {
  local model_id="$1"
  shift
  env -u ANTHROPIC_API_KEY \\
  ANTHROPIC_BASE_URL=http://localhost:%d \\
  ANTHROPIC_AUTH_TOKEN=%s \\
  ANTHROPIC_MODEL="$model_id" \\
  CLAUDE_CODE_MAX_RETRIES=0 \\
  claude "$@"
}
alias claude-canned='_claude_via_litellm canned'
"""
CLAUDE_SETTINGS = '{"theme": "dark", "env": {"ANTHROPIC_AUTH_TOKEN": "%s"}}\n'


@dataclass
class HandMade:
    """What somebody built with the guides open.

    Attributes:
        home: Their home.
        lab: The folder with the .envrc.
        port: The gateway's.
        process: The gateway, started with nohup.
        elsewhere: The config, where it is not at the usual place.
    """

    home: Path
    lab: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None
    elsewhere: Path | None = None

    @property
    def config(self) -> Path:
        """LiteLLM's config."""
        return self.elsewhere or self.home / ".config" / "litellm" / "config.yaml"

    @property
    def bashrc(self) -> Path:
        """The shell's file with the function for Claude Code."""
        return self.home / ".bashrc"

    @property
    def gateway(self) -> HttpGateway:
        """It, asked from outside."""
        return HttpGateway(f"http://127.0.0.1:{self.port}")

    def write(self) -> None:
        """Write every file as the guides say, key and all."""
        url = f"http://127.0.0.1:{self.port}/v1/"
        legacy = {
            "model_display_name": "qwen3-coder (LiteLLM)",
            "model": "qwen3-coder:480b-cloud",
            "base_url": url,
            "api_key": "env:LITELLM_MASTER_KEY",
            "provider": "generic-chat-completion-api",
            "max_tokens": 128000,
        }
        overlay = {"customModels": [{"model": "canned", "baseUrl": url, "apiKey": KEY}]}
        for path, text in (
            (self.config, CONFIG.format(key=KEY, provider=PROVIDER_KEY)),
            (self.home / ".factory/settings.json", SETTINGS % (self.port, KEY)),
            (self.home / ".factory/config.json", json.dumps({"custom_models": [legacy]})),
            (self.home / ".factory/config.d/mine.json", json.dumps(overlay)),
            (self.home / ".config/lab-secrets/litellm.env", f"LITELLM_MASTER_KEY={KEY}\n"),
            (self.lab / ".envrc", f"export LITELLM_MASTER_KEY='{KEY}'\nexport MINE=1\n"),
            (self.bashrc, BASHRC % (self.port, KEY)),
            (self.home / ".claude/settings.json", CLAUDE_SETTINGS % KEY),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def nohup(self, *program: object) -> None:
        """Start the gateway as the guide does, and wait until it answers."""
        words = program or (sys.executable, TOOLS / "mini-gateway")
        with (self.home.parent / "litellm.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*map(str, words), "--config", str(self.config), "--port", str(self.port)],
                env=environment(self.home, LITELLM_MASTER_KEY=KEY),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert until(lambda: self.gateway.models(Secret(KEY)).status == 200, limit_s=60)

    def assert_adopted_by(self, lab: CliLab) -> None:
        """Insist that keyturn serves what it served, with the same keys, and that they moved."""
        assert lab.key == KEY
        assert lab.value("YOUR_PROVIDER_ENDPOINT_API_KEY") == PROVIDER_KEY
        answer = self.gateway.models(Secret(KEY))
        assert answer.status == 200
        assert {"qwen3p6-plus", "qwen3-coder:480b-cloud", "canned"} <= set(answer.model_ids)
        assert self.gateway.models(None).status == 401
        assert lab.pid is not None
        # No literal outside the declared files but in the copies.
        assert {n for n in self.holders(KEY) if "/adopted/" not in n} == _DECLARED

    def stop_first(self) -> None:
        """End what was started by hand."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    def stop(self) -> None:
        """End what was started by hand, also where adopting has started it again."""
        self.stop_first()
        again = LocalPorts().listener(self.port)
        if again is not None and again.pid is not None:
            os.kill(again.pid, signal.SIGTERM)
            until(lambda: LocalPorts().listener(self.port) is None)

    def holders(self, secret: str) -> set[str]:
        """Return the files of the home and the lab in which a secret stands."""
        found = set()
        for root in (self.home, self.lab):
            for path in root.rglob("*"):
                parts = path.relative_to(root).parts
                if "venv" in parts or path.is_symlink() or not path.is_file():
                    continue
                if secret.encode() in path.read_bytes():
                    found.add(str(path.relative_to(self.home)) if root == self.home else path.name)
        return found


@contextmanager
def hand_made(lab: CliLab, config: Path | None = None) -> Iterator[HandMade]:
    """Give a hand-made lab in the folder and the home of `lab`, with its gateway running.

    Args:
        lab: Where.
        config: Its config, where that is not to be at the usual place.
    """
    made = HandMade(lab.home, lab.root, lab.port, elsewhere=config)
    made.write()
    try:
        made.nohup()
        yield made
    finally:
        lab.service.stop()
        made.stop()
