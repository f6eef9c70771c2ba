"""A gateway that was set up by hand, as the usual guides say, becomes keyturn's in one command."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from bootstrap.domain.secret import Secret
from support import homes
from support.hand_made import KEY, PROVIDER_KEY, HandMade, hand_made
from support.labs import MODULE, CliLab, make, stopped_after
from support.sessions import TOOLS
from support.unit_labs import in_session
from support.waiting import until

pytestmark = pytest.mark.integration


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> CliLab:
    """A folder with a lab.toml that only says which program is the gateway."""
    return make(tmp_path, home)


@pytest.fixture
def by_hand(lab: CliLab) -> Iterator[HandMade]:
    """The lab that the guides make, running."""
    with hand_made(lab) as made:
        yield made


def rows(plan: list[dict[str, str]], verb: str) -> list[str]:
    return [row["what"] for row in plan if row["verb"] == verb]


def test_the_plan_says_everything_and_changes_nothing(lab: CliLab, by_hand: HandMade) -> None:
    before = lab.snapshot()
    ran = lab.call("adopt", str(lab.root), "--json")
    plan = ran.json["plan"]
    assert (ran.code, ran.json["adopted"]) == (3, False)
    assert rows(plan, "keep") == rows(plan, "weak") == ["LITELLM_MASTER_KEY"]
    assert rows(plan, "import") == [
        "qwen3p6-plus",
        "gemini-3.1-pro",
        "qwen3-coder:480b-cloud",
        "canned",
    ]
    assert rows(plan, "secret") == ["YOUR_PROVIDER_ENDPOINT_API_KEY"]
    assert "started by hand" in rows(plan, "stop")[0]
    edited = {Path(path).name for path in rows(plan, "edit")}
    assert edited == {".bashrc", ".envrc", "mine.json", "Claude Code's settings.json"}
    assert {Path(path).name for path in rows(plan, "copy")} >= {"config.yaml", "settings.json"}
    text = lab.ok("adopt", str(lab.root), "--dry-run")
    assert "keyturn rotate" in text.out
    assert KEY not in ran.out + text.out + text.err
    assert PROVIDER_KEY not in ran.out + text.out + text.err
    assert lab.snapshot() == before


def test_one_command_takes_it_over_and_loses_nothing(lab: CliLab, by_hand: HandMade) -> None:
    settings = lab.settings.read_text()
    ran = lab.ok("adopt", str(lab.root), "--yes")
    assert by_hand.process is not None
    assert by_hand.process.wait(10) != 0

    by_hand.assert_adopted_by(lab)
    provider = {name for name in by_hand.holders(PROVIDER_KEY) if "/adopted/" not in name}
    assert provider == {".config/lab-secrets/gateway.env"}
    copies = {name for name in by_hand.holders(KEY) if "/adopted/" in name}
    assert homes.readable_by_others(lab.state) == []
    assert any(name.endswith("config.yaml") for name in copies)

    # droid: the chosen entry keeps its place and name, the legacy file goes.
    assert '"displayName": "Qwen 3 Plus (Local LiteLLM)"' in lab.settings.read_text()
    assert settings.partition('"customModels"')[0] in lab.settings.read_text()
    assert not (lab.home / ".factory/config.json").exists()
    assert "${LITELLM_MASTER_KEY}" in (lab.home / ".factory/config.d/mine.json").read_text()

    claude = json.loads((lab.home / ".claude/settings.json").read_text())
    assert claude["theme"] == "dark"
    assert "ANTHROPIC_AUTH_TOKEN" not in claude["env"]
    assert claude["apiKeyHelper"].endswith(f"--lab {lab.root}")

    # Shells get the key by asking for it.
    script = f"""
        . "{lab.root}/.envrc"; printf '%s\\n' "$LITELLM_MASTER_KEY" "$MINE"
        mkdir bin; printf '#!/bin/sh\\nprintenv ANTHROPIC_AUTH_TOKEN\\n' >bin/claude
        chmod +x bin/claude; PATH=$PWD/bin:$PATH
        . "{by_hand.bashrc}"; _claude_via_litellm canned"""
    done = subprocess.run(
        ["bash", "-c", script],
        env=lab.environment(PYTHONPATH=str(homes.REPOSITORY)),
        cwd=lab.home,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [KEY, "1", KEY], done.stderr
    assert "keyturn rotate" in ran.out
    assert KEY not in "".join(lab.said)

    # A second time there is nothing to do, and the lab is well.
    before = lab.snapshot()
    assert "Nothing to adopt" in lab.ok("adopt", str(lab.root), "--yes").out
    assert "Nothing to change" in lab.ok("plan").out
    assert lab.snapshot() == before


# A gateway that takes as long to start as a file is there.
SLOW = (
    "import pathlib, runpy, sys, time; hold, program = map(pathlib.Path, sys.argv[1:3])\n"
    "while hold.exists(): time.sleep(0.05)\n"
    "del sys.argv[1:3]; runpy.run_path(str(program), run_name='__main__')\n"
)


def test_where_the_new_gateway_does_not_come_up_everything_is_as_before_and_a_retry_waits(
    lab: CliLab, by_hand: HandMade
) -> None:
    hold, works = lab.home / "hold", lab.wrapper.read_text()
    by_hand.stop_first()
    by_hand.nohup(sys.executable, "-c", SLOW, hold, TOOLS / "mini-gateway")
    hold.touch()
    lab.wrapper.write_text("#!/bin/sh\nexit 3\n")
    files = [by_hand.config, lab.settings, by_hand.bashrc, lab.root / ".envrc", lab.env_file]
    before = [path.read_bytes() for path in files]
    ran = lab.call("adopt", str(lab.root), "--yes")
    assert ran.code == 1
    assert [path.read_bytes() for path in files] == before
    assert (lab.home / ".factory/config.json").exists()
    assert not (lab.home / ".config/litellm/keyturn-keyset.json").exists()
    assert by_hand.gateway.models(Secret(KEY)).status is None, "it is still starting"

    lab.wrapper.write_text(works)
    with subprocess.Popen(
        [*MODULE, "adopt", str(lab.root), "--yes"],
        env=lab.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as retry:
        assert retry.stderr is not None
        assert "wait for the old gateway" in retry.stderr.readline()
        hold.unlink()
        assert retry.wait(60) == 0, retry.stderr.read()
    by_hand.assert_adopted_by(lab)


def test_what_cannot_be_adopted_is_said(lab: CliLab, by_hand: HandMade) -> None:
    text = by_hand.config.read_text()
    by_hand.config.write_text(text + "  database_url: postgresql://u:pw@h/db\n")
    ran = lab.call("adopt", str(lab.root))
    assert "has a database" not in ran.err  # it stands under another section
    by_hand.config.write_text(
        text.replace("  master_key", "  database_url: postgresql://u:pw@h/db\n  master_key")
    )
    refused = lab.call("adopt", str(lab.root), "--yes")
    assert (refused.code, "has a database" in refused.error["error"]) == (1, True)
    assert "pw" not in refused.err
    for nowhere in ("nowhere.yaml", "~nobody-has-this-name/config.yaml"):
        gone = lab.call("adopt", str(lab.root), "--config", nowhere)
        assert "there is no file" in gone.error["error"]


def test_without_a_running_gateway_the_files_are_taken_over(tmp_path: Path, home: Path) -> None:
    lab = make(tmp_path, home, write=False)
    nothing = lab.call("adopt", str(lab.root), "--yes", "--json")
    assert (nothing.code, nothing.json) == (0, {"adopted": False, "plan": []})

    by_hand = HandMade(home, lab.root, lab.port)
    by_hand.write()
    there = home / ".config/litellm/config.yaml"
    elsewhere = tmp_path / "unified.yaml"
    elsewhere.write_text(there.read_text())
    there.unlink()
    words = ("adopt", str(lab.root), "--config", str(elsewhere), "--port", str(lab.port))
    plan = lab.call(*words, "--json").json["plan"]
    assert rows(plan, "import")[-1] == "canned"
    assert str(elsewhere) in rows(plan, "edit")
    assert rows(plan, "stop") == []

    # Another key in the store: somebody has to say which one counts.
    lab.write()
    lab.ok("init")
    refused = lab.call(*words, "--yes")
    assert refused.code == 1
    assert "two keys claim to be LITELLM_MASTER_KEY" in refused.error["error"]
    lab.store.unlink()
    lab.ok(*words, "--yes")
    lab.service.stop()
    assert "master_key: os.environ/LITELLM_MASTER_KEY" in elsewhere.read_text()
    assert "api_key: os.environ/YOUR_PROVIDER_ENDPOINT_API_KEY" in elsewhere.read_text()
    assert PROVIDER_KEY not in elsewhere.read_text()
    assert lab.key == KEY

    # keyturn's own gateway is not adopted, but a key that came back into a shell's file is.
    by_hand.bashrc.write_text(f"export LITELLM_MASTER_KEY={KEY}\n")
    plan = lab.call("adopt", str(lab.root), "--json").json["plan"]
    assert rows(plan, "edit") == [str(by_hand.bashrc)]


def test_a_gateway_is_not_replaced_by_one_that_serves_nothing(lab: CliLab) -> None:
    by_hand = HandMade(lab.home, lab.root, lab.port)
    by_hand.write()
    text = by_hand.config.read_text()
    head = text.partition("model_list:")[0]
    by_hand.config.write_text(
        head + "model_list:\n- {litellm_params: {model: cohere/rerank}, model_name: rank}\n"
    )
    before = lab.snapshot()
    refused = lab.call("adopt", str(lab.root), "--yes")
    assert "none of the models in" in refused.error["error"]
    assert "rank: keyturn has no kind of backend" in refused.error["cause"]
    assert lab.snapshot() == before
    # What only doctor mends (KT205, KT416) is named at least.
    for name in ("fish/config.fish", "environment.d/lab.conf"):
        other = lab.home / ".config" / name
        other.parent.mkdir()
        other.write_text(f"set -gx LITELLM_MASTER_KEY {KEY}\n")
    with stopped_after(lab):
        ran = lab.ok("adopt", str(lab.root), "--yes", "--without-models")
        assert lab.key == KEY
    assert ran.out.count("holds the key still") == 2, ran.out


def test_a_gateway_without_a_key_gets_one_and_another_program_is_left_alone(lab: CliLab) -> None:
    by_hand = HandMade(lab.home, lab.root, lab.port)
    by_hand.config.parent.mkdir(parents=True)
    by_hand.config.write_text("model_list: []\n")
    plan = lab.call("adopt", str(lab.root), "--json").json["plan"]
    assert rows(plan, "make") == ["LITELLM_MASTER_KEY"]
    with HTTPServer(("127.0.0.1", lab.port), BaseHTTPRequestHandler) as other:
        answering = threading.Thread(target=other.handle_request)
        answering.start()
        taken = lab.call("adopt", str(lab.root))
        answering.join()
    assert "does not answer like LiteLLM" in taken.error["cause"]


UNIT = """\
[Service]
ExecStart={python} {mini} --config %h/.config/litellm/config.yaml --port {port}
Environment="LITELLM_MASTER_KEY={key}"
[Install]
WantedBy=default.target
"""


def test_a_unit_under_another_name_gives_way_to_keyturns(lab: CliLab) -> None:
    by_hand = HandMade(lab.home, lab.root, lab.port)
    by_hand.write()
    text = by_hand.config.read_text().replace(KEY, "os.environ/LITELLM_MASTER_KEY")
    by_hand.config.write_text(text)
    unit = lab.home / ".config/systemd/user/proxy.service"
    unit.parent.mkdir(parents=True)
    values = {"python": sys.executable, "mini": TOOLS / "mini-gateway", "port": lab.port}
    unit.write_text(UNIT.format(key=KEY, **values))
    (lab.root / "notes.txt").write_text(KEY)
    with in_session(lab) as there:
        there.write(more="[targets]\nenvrc = false")
        there.systemd.systemctl("enable", "--now", "proxy.service", check=True)
        assert until(lambda: by_hand.gateway.alive().status == 200)
        plan = there.call("adopt", str(lab.root), "--dry-run", "--json").json["plan"]
        assert "unit proxy.service" in rows(plan, "stop")[0]
        ran = there.call("adopt", str(lab.root), "--yes")
        assert ran.code == 0, ran.err
        assert "notes.txt  holds the key still" in ran.out
        assert "settings.json  holds the key still" in ran.out  # lab.toml has its own [targets]
        assert there.systemd.show("proxy.service", "ActiveState") == "inactive"
        assert there.systemd.show("proxy.service", "UnitFileState") == "disabled"
        assert there.pid is not None
        assert by_hand.gateway.models(Secret(KEY)).status == 200
        assert KEY not in unit.read_text()
        assert lab.key == KEY
