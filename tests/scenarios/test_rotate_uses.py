"""Who still uses the old key, clients' own keys, the record and the hook: on a whole lab.

Real sops, age and supervisor; the gateway is a stand-in, so the counts are written here.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.domain.keyset import Keyset
from bootstrap.domain.secret import Secret
from bootstrap.domain.uses import USES_FILE
from support import labs
from support.rotations import RETIRING, paused
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

HOOK = """#!/bin/sh
printf '%s\\n' "$KEYTURN_SECRETS" "$KEYTURN_OLD" "$KEYTURN_NEW" "$1" >hooked
env >>hooked
echo "a secret: $LITELLM_MASTER_KEY"
exit 4
"""


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[labs.CliLab]:
    with labs.stopped_after(labs.bootstrapped(tmp_path, home)) as made:
        yield made


def counted(lab: labs.CliLab, key: str, **programs: float) -> None:
    """Have a guard count a use by each program, so many seconds ago."""
    now = int(time.time())
    rows = {name.replace("_", "-"): [3, int(now - ago)] for name, ago in programs.items()}
    use = {"count": 3, "last_seen": now, "refused": 0, "last_refused": 0, "programs": rows}
    path = Path(lab.places.litellm) / USES_FILE
    path.write_text(json.dumps({"version": 1, "keys": {Secret(key).fingerprint(): use}}))
    path.chmod(0o600)


def test_who_holds_the_old_key_is_named_until_it_is_retired(lab: labs.CliLab) -> None:
    old = lab.key
    mark = Secret(old).fingerprint()
    hook = lab.root / "hook.sh"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    lab.file.write_text(lab.file.read_text() + '[rotate]\nafter = ["./hook.sh", "an argument"]\n')
    lab.ok("apply")
    counted(lab, old, claude_cli=60, factory_cli=5, keyturn=1)
    assert "held by  claude-cli" in lab.ok("rotate", "--dry-run").out

    ran = lab.ok("rotate")
    assert "held by  claude-cli (3 requests in all" in ran.out
    assert f"grace    {mark} is accepted for " in ran.out
    assert "droid             nothing     it reads settings.json again" in ran.out
    assert "warning: the program that [rotate] after names failed: its exit status is 4" in ran.err
    hooked = (lab.root / "hooked").read_text()
    new = Secret(lab.key).fingerprint()
    assert hooked.startswith(f"LITELLM_MASTER_KEY\n{mark}\n{new}\nan argument\n")
    assert not any(key in text for key in (old, lab.key) for text in (hooked, ran.out, ran.err))

    counted(lab, old, claude_cli=-30)
    assert "used by  claude-cli" in lab.ok("rotate", "--status").out
    (used,) = lab.ok("rotate", "--status", "--json").json["old"]
    assert used["fingerprint"] == mark
    assert [row["program"] for row in used["used"]["programs"]] == ["claude-cli"]
    assert "still used by claude-cli" in lab.call("check").out
    assert lab.accepts(old)

    _age_journal(lab, 700)
    counted(lab, old, claude_cli=650)
    status = lab.call("rotate", "--status")
    assert status.code == 3
    assert "nobody uses" in status.out
    assert "An earlier rotation was finished" in lab.ok("apply").err
    assert not lab.accepts(old)
    assert lab.call("rotate", "--status").code == 0
    log = lab.ok("rotate", "--log").out.splitlines()
    assert [line.split()[2] for line in log] == ["overlap", "rotated"]
    entries = lab.ok("rotate", "--log", "--json").json["rotations"]
    assert [row["event"] for row in entries] == ["overlap", "rotated"]
    assert (lab.state / "rotations.jsonl").stat().st_mode & 0o777 == 0o600


def test_whoever_asks_for_it_waits_until_the_old_key_is_refused(lab: labs.CliLab) -> None:
    old = lab.key
    ran = lab.ok("rotate", "--grace", "until-unused:2s")
    mark = Secret(old).fingerprint()
    assert f"wait until {mark} is unused for 2 s, at most until" in ran.err
    assert ran.out.endswith(f"retired  {mark} is refused, proven\n")
    assert not lab.accepts(old)
    assert lab.ok("rotate", "--status", "--json").json["open"] is False


def test_one_who_waits_can_be_stopped_and_another_goes_on(lab: labs.CliLab) -> None:
    old = lab.key
    counted(lab, old, claude_cli=-30)
    words = ("rotate", "--grace", "until-unused:20m", "--json", "--verbose")
    log = lab.root.parent / "said"
    with log.open("w") as said:
        waiting = subprocess.Popen(
            [*labs.MODULE, *words],
            cwd=lab.root,
            env=lab.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        until(lambda: "used by  claude-cli" in log.read_text(), "who uses it")
        lab.ok("apply", "-q")  # nobody is kept from working
        waiting.send_signal(signal.SIGINT)
        out, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert json.loads(out)["retire_at"]
    mark = Secret(old).fingerprint()
    assert f"{mark} is accepted until the grace time ends" in log.read_text()
    assert lab.accepts(old)
    for mode in ("--abort", "--status", "--log", "--dry-run"):
        assert lab.call("rotate", mode, "--wait").code == 2
    _age_journal(lab, 700)
    counted(lab, old, claude_cli=650)
    assert "finished" in lab.ok("rotate", "--resume", "--wait").out
    assert not lab.accepts(old)


def test_one_who_wants_no_waiting_gets_none(lab: labs.CliLab) -> None:
    old = lab.key
    assert "retired" not in lab.ok("rotate", "--grace", "until-unused", "--no-wait").out
    assert lab.accepts(old)


# The first time it takes the keyturn along that runs it.
DEADLY = """#!/bin/sh
echo "$KEYTURN_NEW" >>hooked
[ -e once ] && exit
touch once
kill -9 $PPID
"""


def test_a_hook_is_run_once_at_least_whoever_finishes_the_rotation(lab: labs.CliLab) -> None:
    hook = lab.root / "hook.sh"
    hook.write_text(DEADLY)
    hook.chmod(0o755)
    lab.file.write_text(lab.file.read_text() + '[rotate]\nafter = ["./hook.sh"]\n')
    lab.ok("apply", "-q")

    with paused(lab, RETIRING) as running:
        os.kill(running.process.pid, signal.SIGKILL)
        running.finish()
    hooked = lab.root / "hooked"
    assert not hooked.exists()
    assert lab.run("recover", "-q").code == -signal.SIGKILL
    new = Secret(lab.key).fingerprint()
    assert hooked.read_text().split() == [new]
    lab.ok("apply", "-q")
    lab.ok("apply", "-q")
    assert hooked.read_text().split() == [new, new]

    with paused(lab, RETIRING) as running:
        os.kill(running.process.pid, signal.SIGKILL)
        running.finish()
    third = Secret(lab.key).fingerprint()
    lab.ok("rotate", "-q", "--grace", "10m")  # which may fail yet, and be undone
    fourth = Secret(lab.key).fingerprint()
    assert hooked.read_text().split() == [new, new, third, fourth]
    lab.ok("rotate", "--abort")
    assert hooked.read_text().split() == [new, new, third, fourth, third]


def _age_journal(lab: labs.CliLab, seconds: float) -> None:
    """Make the rotation so much older; its end stays."""
    path = lab.state / "rotation.journal"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**r, "at": r["at"] - seconds}) + "\n" for r in rows))


def test_a_client_gets_a_key_of_its_own_and_back(lab: labs.CliLab) -> None:
    text = lab.file.read_text()
    lab.file.write_text(text + "[clients.droid]\nclient_keys = true\n")
    plan = lab.call("plan", "--exit-code")
    assert plan.code == 3
    assert "new key" in plan.out
    assert "KEYTURN_CLIENT_KEY_DROID" in plan.out
    assert "KEYTURN_CLIENT_KEY_DROID" not in lab.store.read_text()
    lab.ok("apply")
    own = lab.value("KEYTURN_CLIENT_KEY_DROID")
    assert own in lab.settings.read_text()
    assert lab.key not in lab.settings.read_text()
    assert lab.accepts(own)
    assert lab.accepts(lab.key)
    assert lab.call("plan", "--exit-code").code == 0
    listed = lab.ok("key", "list").out
    assert listed.startswith(f"droid  {Secret(own).fingerprint()}  never used  lab-echo")
    revoked = lab.call("key", "revoke", "droid")
    assert revoked.code == 2
    assert "key rotate --now droid" in revoked.error["fix"]

    ran = lab.ok("key", "rotate", "droid")
    new = lab.value("KEYTURN_CLIENT_KEY_DROID")
    assert new not in (own, lab.key)
    assert (lab.accepts(own), lab.accepts(new)) == (False, True)
    assert new in lab.settings.read_text()
    assert not any(key in ran.out + ran.err for key in (own, new))
    master = lab.key
    lab.ok("rotate", "--all", "-q")
    both = lab.value("KEYTURN_CLIENT_KEY_DROID")
    assert both != new
    assert lab.key != master
    assert [lab.accepts(key) for key in (new, master, both, lab.key)] == [False, False, True, True]
    assert lab.call("key", "rotate", "droid", "--ttl", "8h").code == 2
    assert lab.call("key", "rotate").code == 2

    lab.file.write_text(text)
    lab.ok("apply")
    assert lab.key in lab.settings.read_text()
    assert lab.accepts(both), "whoever still holds it has time to follow"
    assert lab.call("plan", "--exit-code").code == 0
    keys = Keyset.parse((Path(lab.places.litellm) / "keyturn-keyset.json").read_bytes())
    assert [entry.id for entry in keys.clients()] == ["lab-droid-previous"]
    assert lab.call("key", "rotate", "--all").code == 2
