"""Real droid, real Claude Code and the real OpenAI SDK through the real LiteLLM.

Nothing but `keyturn exec --client …` stands before them, in a home without any configuration of
theirs; and afterwards nothing of the run is left.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from support import claude, droid
from support.homes import REPOSITORY, is_foreign, machine_environment, pick_free_port
from support.litellm import Upstream, real_litellm
from support.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LAB = """
version = 1
[gateway]
port = {port}
service = "supervisor"
command = {command}
[targets]
droid_settings = false
droid_overlay = false
droid_legacy = false
[backends.mock]
kind = "openai-compatible"
url = "http://127.0.0.1:{upstream}/v1"
[[models]]
alias = "qwen"
backend = "mock"
[[models]]
alias = "other"
backend = "mock"
"""
# Shows the key to the test as an agent's shell could, then becomes the client.
SPY = 'printenv "$1" >"$2"; shift 2; exec "$@"'


@dataclass
class Life:
    """A home with a lab whose gateway runs.

    Attributes:
        home: HOME; no client was ever configured in it.
        project: Where clients are started.
        gateway: The real LiteLLM.
        master: The lab's key.
        upstream: What stands behind the models.
    """

    home: Path
    project: Path
    gateway: HttpGateway
    master: Secret
    upstream: Upstream

    def run(self, *words: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run keyturn."""
        return run_keyturn(self.home, cwd or self.project, *words)

    def exec(self, variable: str, *words: object) -> tuple[str, Secret]:
        """Run a client; return what it said and the key that it had."""
        options, command = words[: words.index("--")], words[words.index("--") + 1 :]
        note = self.home.parent / "key"
        spied = ["sh", "-euc", SPY, "sh", variable, note, *command]
        done = self.run("exec", *options, "--", *spied)
        assert done.returncode == 0, done.stderr
        key = Secret(note.read_text().strip())
        note.unlink()
        return done.stdout, key

    def client_keys(self) -> list[object]:
        """Return the client keys in force."""
        listed: list[object] = json.loads(self.run("key", "list", "--json").stdout)["keys"]
        return listed


def keyturn_environment(home: Path) -> dict[str, str]:
    clean = {n: v for n, v in machine_environment().items() if not is_foreign(n)}
    runtime = home.parent / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(REPOSITORY)}
    return clean | own


def run_keyturn(home: Path, cwd: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "bootstrap", *map(str, words)],
        env=keyturn_environment(home),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    base = tmp_path_factory.mktemp("life")
    home, lab, project = base / "home", base / "lab", base / "project"
    for folder in (home, project):
        folder.mkdir()
    upstream, port = Upstream(base), pick_free_port()

    def run(*words: object) -> str:
        done = run_keyturn(home, project, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        run("init", lab)
        command = json.dumps(str(real_litellm()))
        (lab / "lab.toml").write_text(
            LAB.format(port=port, command=command, upstream=upstream.port)
        )
        (home / ".config" / "keyturn").mkdir(exist_ok=True)
        (home / ".config" / "keyturn" / "default-lab").write_text(f"{lab}\n")
        run("apply")
        master = Secret(run("get", "LITELLM_MASTER_KEY").strip())
        yield Life(home, project, HttpGateway(f"http://127.0.0.1:{port}"), master, upstream)
    finally:
        upstream.stop()
        _stop(home)


def _stop(home: Path) -> None:
    """End the gateway: the one process group whose leader runs from this home."""
    state = home / ".local" / "state" / "keyturn"
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from bootstrap.adapters.supervisor import SupervisorService;"
        "f = Path(sys.argv[2]); SupervisorService(f / 'service.json', f).stop()"
    )
    for folder in state.glob("lab-*"):
        subprocess.run([sys.executable, "-c", script, REPOSITORY, folder], check=True)


def assert_gone(life: Life, key: Secret, leaks: ModuleType) -> None:
    """The key is refused, in no list and in no file; the private file is gone."""
    assert key != life.master
    assert life.client_keys() == []
    assert verdict(life.gateway.models(key), with_key=True) is Verdict.REFUSED
    assert list((life.home.parent / "run").rglob("*.json")) == []
    for secret in (key, life.master):
        env_file = life.home / ".config" / "lab-secrets" / "litellm.env"
        allowed = [env_file] if secret == life.master else []
        places = [life.home, life.project, life.home.parent / "run"]
        assert leaks.find(secret.reveal(), places, allowed=allowed) == []


def test_droid_exec_works_in_a_home_without_factory_settings(life: Life, leaks: ModuleType) -> None:
    out, key = life.exec(
        "KEYTURN_CLIENT_KEY", "--client", "droid", "--", droid.binary(), "exec", "hi"
    )
    assert "pong from mock" in out
    assert not (life.home / ".factory" / "settings.json").exists()
    assert_gone(life, key, leaks)


def test_droid_uses_the_model_that_is_chosen(life: Life, leaks: ModuleType) -> None:
    words = ["--client", "droid", "--model", "other", "--", droid.binary(), "exec", "hi"]
    _, key = life.exec("KEYTURN_CLIENT_KEY", *words)
    assert life.upstream.requests("other")
    assert_gone(life, key, leaks)
    listed = life.run(
        "exec", "--client", "droid", "--", droid.binary(), "exec", "-m", "custom:none", "x"
    )
    assert "custom:keyturn-qwen" in listed.stderr
    assert "custom:keyturn-lab-echo" in listed.stderr


def test_claude_works_in_a_home_without_its_settings(life: Life, leaks: ModuleType) -> None:
    out, key = life.exec(
        "ANTHROPIC_AUTH_TOKEN", "--client", "claude", "--", claude.binary(), "-p", "hi"
    )
    assert "pong from mock" in out
    assert_gone(life, key, leaks)


def test_claude_gets_the_master_key_where_that_is_asked_for(life: Life) -> None:
    words = ["--client", "claude", "--model", "lab-echo", "--master", "--", claude.binary()]
    out, key = life.exec("ANTHROPIC_AUTH_TOKEN", *words, "-p", "hi")
    assert out == "the gateway works\n"
    assert key == life.master


def test_the_openai_sdk_needs_nothing_else(life: Life) -> None:
    script = (
        "import os; from openai import OpenAI; made = OpenAI().chat.completions.create("
        "model=os.environ['OPENAI_MODEL'], messages=[{'role': 'user', 'content': 'hi'}]);"
        "print(made.choices[0].message.content)"
    )
    python = real_litellm().with_name("python")
    words = ["exec", "--client", "openai", "--model", "qwen", "--ephemeral", "--", python]
    done = life.run(*words, "-c", script)
    assert (done.returncode, done.stdout) == (0, "pong from mock\n"), done.stderr
    assert life.client_keys() == []


def test_a_key_of_one_run_opens_its_model_alone_and_dies_with_a_kill(
    life: Life, leaks: ModuleType
) -> None:
    note = life.home.parent / "key-of-run"
    show = f"printenv OPENAI_API_KEY >{note}.new; mv {note}.new {note}; while :; do sleep 0.1; done"
    options = ["--client", "openai", "--model", "qwen", "--ephemeral"]
    process = subprocess.Popen(
        [sys.executable, "-m", "bootstrap", "exec", *options, "--", "sh", "-c", show],
        env=keyturn_environment(life.home),
        cwd=life.project,
        start_new_session=True,
    )
    until(note.exists, "the program's start")
    key = Secret(note.read_text().strip())
    note.unlink()
    assert life.gateway.complete(key, "qwen").status == 200
    assert life.gateway.complete(key, "other").status == 403
    assert life.gateway.complete(life.master, "other").status == 200
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)
    until(lambda: life.client_keys() == [], "the key's end")
    assert_gone(life, key, leaks)


@pytest.mark.parametrize("options", [(), ("--master",)])
def test_what_an_agent_prints_of_its_environment_is_masked(
    life: Life, options: tuple[str, ...]
) -> None:
    show = 'env; printenv KEYTURN_CLIENT_KEY | base64; cat "$FACTORY_RUNTIME_SETTINGS_PATH"'
    words = ["--mask", "--client", "droid", *options, "--", "sh", "-c", show]
    done = life.run("exec", *words)
    assert done.returncode == 0, done.stderr
    assert "KEYTURN_CLIENT_KEY=<" in done.stdout
    assert "sk-" not in done.stdout
    assert "LITELLM_MASTER_KEY" not in done.stdout
    assert "${KEYTURN_CLIENT_KEY}" in done.stdout
    assert life.client_keys() == []


@pytest.mark.parametrize(
    ("client", "name", "text", "where"),
    [
        (
            "droid",
            ".factory/settings.json",
            '{"customModels": [{"model": "qwen", "id": "custom:keyturn-qwen", '
            '"baseUrl": "http://127.0.0.1:9/v1", "apiKey": "${KEYTURN_CLIENT_KEY}", '
            '"provider": "generic-chat-completion-api"}]}',
            "customModels[0].baseUrl",
        ),
        (
            "claude",
            ".claude/settings.json",
            '{"env": {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}}',
            "env.ANTHROPIC_BASE_URL",
        ),
    ],
)
def test_a_project_that_leads_the_key_away_starts_no_client(
    life: Life, tmp_path: Path, client: str, name: str, text: str, where: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir()
    path.write_text(text)
    done = life.run("exec", "--client", client, "--", "touch", tmp_path / "ran", cwd=tmp_path)
    assert done.returncode == 125
    assert f"{path}: {where}" in done.stderr
    assert not (tmp_path / "ran").exists()
    trusted = ["exec", "--client", client, "--trust-project", "--", "touch", tmp_path / "ran"]
    assert life.run(*trusted, cwd=tmp_path).returncode == 0
    assert (tmp_path / "ran").exists()
    assert list((life.home.parent / "run" / "keyturn" / "run").iterdir()) == []
