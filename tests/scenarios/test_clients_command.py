"""`keyturn clients`: which client is set up how, with which key, and whether it answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.adapters.client_probe import ProbeMemory, ask, keys_in
from bootstrap.domain.clients.claude import SETUP as CLAUDE_SETUP
from bootstrap.domain.clients.openwebui import SETUP as OPENWEBUI_SETUP
from bootstrap.domain.secret import Secret
from bootstrap.domain.sighting import Sighting
from support.labs import CliLab, make, stopped_after

(CLAUDE,), (OPENWEBUI,) = CLAUDE_SETUP.files, OPENWEBUI_SETUP.files
# They answer where they are asked as the real ones have to be.
DROID = """#!/bin/sh
test -z "$UPSTREAM_KEY$LITELLM_MASTER_KEY" || exit 4
test -r "$HOME/.factory/settings.json" && test "$3" = custom:lab-echo && echo the gateway works
"""
CLAUDE_PROGRAM = """#!/bin/sh
if test -n "$ANTHROPIC_AUTH_TOKEN"; then key=$ANTHROPIC_AUTH_TOKEN
else key=$(grep -c apiKeyHelper "$HOME/.claude/settings.json")
fi
test -n "$key" && test -z "$ANTHROPIC_API_KEY" && test $CLAUDE_CODE_MAX_RETRIES = 0 &&
  echo the gateway works
"""


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[CliLab]:
    """A lab whose files are written, without a gateway."""
    made = make(tmp_path, home)
    made.ok("init")
    made.ok("apply", "--no-start")
    with stopped_after(made):
        yield made


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.mark.integration
def test_clients_are_listed_probed_and_remembered(lab: CliLab, tmp_path: Path) -> None:
    rows = {row["client"]: row for row in lab.ok("clients", "--json").json["clients"]}
    mark = Secret(lab.key).fingerprint()
    assert (rows["droid"]["way"], rows["droid"]["fingerprints"]) == ("literal", [mark])
    assert (rows["claude"]["way"], rows["claude"]["seen"]) == ("variable", None)
    assert rows["openwebui"]["way"] is None

    folder = tmp_path / "programs"
    program(folder, "droid", DROID)
    program(folder, "claude", CLAUDE_PROGRAM)
    env = {"PATH": f"{folder}:/usr/bin:/bin", "ANTHROPIC_API_KEY": "sk-test-other"}
    env |= {"UPSTREAM_KEY": "sk-test-upstream", "LITELLM_MASTER_KEY": "sk-test-of-yesterday"}
    lab.write(more="[secrets.UPSTREAM_KEY]")
    probed = lab.call("clients", "--probe", env=env)
    assert probed.code == 0, probed.out
    assert probed.out.count(f"with key {mark}") == 2
    assert "working on" in lab.ok("clients").out
    assert lab.key not in probed.out

    # Another way: the file follows, and a client that does not answer is a failure.
    lab.write(more='[clients.claude]\nhand_over = "helper"\n[targets]\nopenwebui_env = true')
    assert "pinned under [clients.claude]" in lab.ok("plan").out
    assert "not written yet" in lab.ok("clients").out
    lab.ok("apply", "--no-start")
    helper = json.loads((lab.home / ".claude/settings.json").read_text())["apiKeyHelper"]
    assert helper.endswith(f"get LITELLM_MASTER_KEY --lab {lab.root}")
    program(folder, "claude", "#!/bin/sh\necho no; exit 3\n")
    failed = lab.call("clients", "--probe", env=env)
    assert failed.code == 1
    assert "NOT working" in failed.out
    assert "it ended with 3" in failed.out

    # Another key in a file is seen.
    text = lab.settings.read_text().replace(lab.key, "sk-test-stale-0123456789abcdef0123456789")
    lab.settings.write_text(text)
    assert "not the key in force" in lab.call("clients").out

    lab.write(top="echo = false")
    assert "no lab-echo to ask" in lab.call("clients", "--probe").error["error"]


def test_keys_are_found_in_each_clients_file(tmp_path: Path) -> None:
    claude, webui = tmp_path / "settings.json", tmp_path / "webui.env"
    url = "http://127.0.0.1:4000"
    assert keys_in(CLAUDE, claude, url) is None
    claude.write_text('{"env": {"ANTHROPIC_AUTH_TOKEN": "sk-test"}}')
    assert keys_in(CLAUDE, claude, url) == (Secret("sk-test"),)
    claude.write_text('{"env": []}')
    assert keys_in(CLAUDE, claude, url) == ()
    webui.write_text("OPENAI_API_KEY=sk-test\n")
    assert keys_in(OPENWEBUI, webui, url) == (Secret("sk-test"),)
    webui.write_text("OPENAI_API_KEY=\n")
    assert keys_in(OPENWEBUI, webui, url) == ()
    webui.write_text("nonsense\n")
    assert keys_in(OPENWEBUI, webui, url) == ()


@pytest.mark.integration
def test_a_client_that_does_not_run_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask((str(tmp_path / "none"),), {}, None) == "it cannot be run (FileNotFoundError)"
    monkeypatch.setattr("bootstrap.adapters.client_probe._LIMIT_S", 0.1)
    assert ask(("/bin/sleep", "30"), {}, None) == "no answer within 0 s"
    monkeypatch.setattr("bootstrap.adapters.client_probe._LIMIT_S", 60)
    monkeypatch.setattr("bootstrap.adapters.spawn._MOST_BYTES", 1_000_000)
    assert ask(("/usr/bin/yes",), {}, None) == "it prints without an end"


def test_a_damaged_memory_is_an_empty_one(tmp_path: Path) -> None:
    memory = ProbeMemory(tmp_path)
    assert memory.load() == {}
    memory.save({"droid": Sighting(1.0, True, "aa")})
    assert memory.load() == {"droid": Sighting(1.0, True, "aa")}
    for text in ("{", "[]", '{"droid": {"x": 1}}', '{"droid": 1}'):
        (tmp_path / "clients.json").write_text(text)
        assert memory.load() == {}
