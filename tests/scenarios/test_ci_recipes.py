"""The recipes of docs/ci.md for other systems, run as they stand there, as the systems run them."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest

from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret
from support import droid
from support.ci_runners import run
from support.exec_runs import KEYTURN
from support.homes import REPOSITORY
from support.litellm import Upstream
from support.sessions import UserSystemd
from support.waiting import until

pytestmark = pytest.mark.integration

KEY = "sk-test-ci-" + "recipe-0123456789abcdef"
MASTER = Secret("sk-test-ci-" + "master-0123456789abcdef")
SEEN = "I found <KEYTURN_CLIENT_KEY> <KEYTURN_CLIENT_KEY>"
LAB = """
version = 1
[gateway]
port = {port}
[backends.local]
kind = "ollama"
[[models]]
alias = "qwen"
backend = "local"
"""


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    server = Upstream(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with `keyturn` and a stand-in for droid in it."""
    folder = tmp_path / "programs"
    droid.write_stand_in(folder / "droid")
    (folder / "keyturn").symlink_to(KEYTURN)
    return folder


def recipe(heading: str, fence: str) -> str:
    """Return the block of docs/ci.md below a heading."""
    text = (REPOSITORY / "docs" / "ci.md").read_text()
    return text.split(f"\n## {heading}\n")[1].split(f"```{fence}\n")[1].split("```")[0]


def addressed(script: str, upstream: Upstream) -> str:
    """Return a script that asks our upstream."""
    assert "https://llm.example.com" in script
    return script.replace("https://llm.example.com", f"http://127.0.0.1:{upstream.port}")


def run_in(
    environment: Mapping[str, str], folder: Path, *words: str
) -> "subprocess.CompletedProcess[str]":
    return run(words, environment, folder, limit_s=60)


def keys_sent(upstream: Upstream, model: str) -> list[str]:
    return [str(r["authorization"]).removeprefix("Bearer ") for r in upstream.requests(model)]


def test_the_step_for_jenkins(
    home: Path, programs: Path, upstream: Upstream, leaks: ModuleType
) -> None:
    block = recipe("Jenkins", "groovy")
    script = home / "script.sh"
    script.write_text(addressed(block.split("sh '''\n")[1].split("'''")[0], upstream))
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "JENKINS_URL": "https://ci.example.com/",
        "BUILD_NUMBER": "1",
        "WORKSPACE": str(home),
        "LITELLM_MASTER_KEY": KEY,  # the binding sets it
    }
    done = run_in(environment, home, "sh", "-xe", str(script))  # as its sh step does
    assert done.returncode == 0, done.stdout
    assert SEEN in done.stdout
    assert keys_sent(upstream, "qwen") == [KEY]
    assert leaks.find(KEY, [home], texts={"log": done.stdout}) == []
    said = run_in(environment, home, "keyturn", "ci", "mask", "LITELLM_MASTER_KEY")
    assert said.returncode == 0
    assert KEY not in said.stdout


def test_the_step_for_buildkite(
    home: Path, tmp_path: Path, programs: Path, upstream: Upstream, leaks: ModuleType
) -> None:
    lines = recipe("Buildkite", "yaml").split("command: |\n")[1]
    command = addressed(lines, upstream).replace("$$", "$")  # as an upload of the pipeline does
    agent = programs / "buildkite-agent"
    agent.write_text(
        f'#!/bin/sh\nif [ "$1" = secret ]; then echo {KEY}; else cat >>{tmp_path}/redacted; fi\n'
    )
    agent.chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home)}
    environment |= {"BUILDKITE": "true", "CI": "true"}
    done = run_in(environment, home, "bash", "-e", "-c", command)
    assert done.returncode == 0, done.stdout
    assert SEEN in done.stdout
    assert keys_sent(upstream, "qwen") == [KEY]
    assert KEY in (tmp_path / "redacted").read_text()
    assert leaks.find(KEY, [home], texts={"log": done.stdout}) == []


def test_the_timer_starts_the_service_with_its_credential(
    user_systemd: Callable[..., UserSystemd], upstream: Upstream, leaks: ModuleType
) -> None:
    session = user_systemd()
    units = recipe("systemd timers", "ini").split("# ~/")
    for unit in filter(None, units):
        name, _, text = unit.partition("\n")
        path = session.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("http://127.0.0.1:4000", f"http://127.0.0.1:{upstream.port}"))
    now = session.home / ".config/systemd/user/review.timer.d/now.conf"
    now.parent.mkdir()
    now.write_text("[Timer]\nOnActiveSec=0\nAccuracySec=1ms\n")
    credential = session.home / ".config/lab-secrets/ci-key"
    credential.parent.mkdir(parents=True)
    credential.write_text(KEY)
    credential.chmod(0o600)
    droid.write_stand_in(session.home / ".local/bin/droid")
    (session.home / ".local/bin/keyturn").symlink_to(KEYTURN)
    session.systemctl("daemon-reload")
    verified = session.run("systemd-analyze", "--user", "verify", "review.timer")
    assert (verified.returncode, verified.stderr) == (0, "")
    assert session.systemctl("start", "review.timer").returncode == 0
    until(lambda: session.show("review.service", "ExecMainExitTimestampMonotonic") != "0")
    log = session.journal("review.service")
    assert session.show("review.service", "Result") == "success", log
    assert session.show("review.timer", "NextElapseUSecRealtime"), "tomorrow again"
    assert keys_sent(upstream, "qwen") == [KEY]
    assert "daily report" in str(upstream.requests("qwen")[0]["body"])
    until(lambda: SEEN in session.journal("review.service"))
    texts = {"journal": session.journal("review.service")}
    assert leaks.find(KEY, [session.home], texts=texts, allowed=[credential]) == []


def test_the_line_for_cron_runs_with_the_little_that_cron_gives(
    home: Path, upstream: Upstream, leaks: ModuleType
) -> None:
    block = recipe("cron", "text")
    command = block.split(None, 5)[5].rstrip("\n")
    assert "%" not in command, "cron would take it for the end of the line"
    lab, keyset = home / "lab", home / ".config" / "litellm" / "keyturn-keyset.json"
    lab.mkdir()
    (lab / "lab.toml").write_text(LAB.format(port=upstream.port))
    keyset.parent.mkdir(parents=True)
    keyset.write_bytes(Keyset().with_current(MASTER).to_bytes())
    droid.write_stand_in(home / ".local/bin/droid")
    (home / ".local/bin/keyturn").symlink_to(KEYTURN)
    given = {"HOME": str(home), "LOGNAME": "lab", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
    done = run_in(given, home, "sh", "-c", command)
    report = (home / "report.log").read_text()
    assert (done.returncode, done.stdout) == (0, ""), report
    assert "I found <CLIENT_KEY> <CLIENT_KEY>" in report
    (key,) = keys_sent(upstream, "lab-echo")  # the stand-in takes the first model of the list
    assert Secret(key) != MASTER
    assert not Keyset.parse(keyset.read_bytes()).clients(), "the key outlived its run"
    assert leaks.find(key, [home]) == []
