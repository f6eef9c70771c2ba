"""`keyturn rotate` on a whole lab: real sops, age, supervisor; the gateway is a stand-in."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bootstrap.adapters.entropy import new_key
from bootstrap.domain.secret import Secret
from support import crash, forked, homes, labs
from support.rotations import CREATING, PROMOTING, RETIRING, paused
from support.sops_lab import REAL_SOPS
from support.waiting import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

SOMEBODY = 65534
KEYSET = "keyturn-keyset.json"


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[labs.CliLab]:
    with labs.stopped_after(crash.make(tmp_path, home)) as made:
        yield made


def alone_in_force(lab: labs.CliLab, key: str, other: str) -> bool:
    """Tell whether `key` is in force everywhere and `other` nowhere."""
    texts = [lab.env_file.read_text(), lab.settings.read_text()]
    return (
        lab.key == key
        and lab.accepts(key)
        and not lab.accepts(other)
        and all(key in text and other not in text for text in texts)
        and lab.call("plan", "--exit-code").code == 0
    )


def keyset(lab: labs.CliLab) -> Path:
    return Path(lab.places.litellm) / KEYSET


def journal(lab: labs.CliLab) -> Path:
    return lab.state / "rotation.journal"


@contextmanager
def immutable(file: Path) -> Iterator[None]:
    """Let nobody replace a file in the block, root included: by a mount where chattr is refused."""
    done = subprocess.run(["chattr", "+i", file], capture_output=True)
    undo: list[str | Path] = ["chattr", "-i", file]
    if done.returncode != 0:
        subprocess.run(["mount", "--bind", file, file], check=True)
        undo = ["umount", file]
    try:
        yield
    finally:
        subprocess.run(undo, check=True)


def test_a_rotation_says_what_it_did_and_nothing_secret(lab: labs.CliLab) -> None:
    old = lab.key
    ran = lab.ok("rotate")
    new = lab.key
    assert alone_in_force(lab, new, old)
    steps = [line.partition(":")[0] for line in ran.err.splitlines()]
    assert steps == ["preflight", "create", "overlap", "switch", "promote", "prove", "retire"]
    assert "proven at" in ran.out
    assert Secret(new).fingerprint() in ran.out
    assert new not in ran.out + ran.err
    assert lab.ok("rotate", "--status").out.count("closed") == 1
    assert lab.ok("rotate", "--status", "--json").json["open"] is False


def test_the_process_of_the_gateway_stays(lab: labs.CliLab) -> None:
    pid = lab.pid
    lab.ok("rotate")
    assert lab.pid == pid


def test_a_rotation_runs_sops_no_more_often_than_it_must(lab: labs.CliLab) -> None:
    """Each run takes 20 ms: read, pending key, both keys in their places, and each proven."""
    log = lab.root.parent / "runs"
    script = lab.root.parent / "counting-sops"
    script.write_text(f'#!/bin/sh\necho "$1" >>{log}\nexec {REAL_SOPS} "$@"\n')
    script.chmod(0o755)
    old, before = lab.key, lab.store.read_text().splitlines()
    assert lab.call("rotate", "-q", env={"KEYTURN_SOPS": str(script)}).code == 0
    assert log.read_text().split() == ["decrypt", "set", "decrypt", "set", "set", "decrypt"]
    assert alone_in_force(lab, lab.key, old)
    after = lab.store.read_text().splitlines()
    changed = [a.partition("=")[0] for a, b in zip(after, before, strict=True) if a != b]
    assert changed == ["LITELLM_MASTER_KEY", "sops_lastmodified", "sops_mac"]


def test_a_dry_run_shows_the_protocol_and_changes_nothing(lab: labs.CliLab) -> None:
    before = lab.snapshot()
    ran = lab.ok("rotate", "--dry-run")
    assert [word for word in ("begun", "overlapping", "closed") if word in ran.out] == [
        "begun",
        "overlapping",
        "closed",
    ]
    assert str(lab.settings) in ran.out
    assert lab.ok("rotate", "--dry-run", "--json").json["restarts"] is False
    assert lab.snapshot() == before


def test_before_the_first_rotation_there_is_no_status_and_nothing_to_recover(
    lab: labs.CliLab,
) -> None:
    assert "No rotation yet" in lab.ok("rotate", "--status").out
    assert "No rotation is open" in lab.ok("recover").out


class TestOneAtATime:
    def test_a_second_rotation_and_an_apply_are_refused_meanwhile(self, lab: labs.CliLab) -> None:
        old = lab.key
        with paused(lab, CREATING) as first:
            for words in (("rotate",), ("apply",), ("recover",), ("rotate", "--abort")):
                ran = lab.call(*words)
                assert ran.code == 7
                assert "another keyturn works on this lab" in ran.error["error"]
            assert first.finish().code == 0
        assert alone_in_force(lab, lab.key, old)

    def test_a_rotation_is_refused_while_apply_works_and_nothing_is_lost(
        self, lab: labs.CliLab
    ) -> None:
        old = lab.key
        lab.file.write_text(lab.file.read_text() + "# so that there is something to look at\n")
        with paused(lab, 1, command="apply") as first:
            for words in (("rotate",), ("rotate", "--now"), ("rotate", "--resume")):
                ran = lab.run(*words)
                assert ran.code == 7
                assert "another keyturn works on this lab" in ran.error["error"]
            assert first.finish().code == 0
        assert alone_in_force(lab, old, new_key().reveal())
        lab.ok("rotate", "-q")
        assert alone_in_force(lab, lab.key, old)

    def test_reading_commands_say_that_a_rotation_is_open(self, lab: labs.CliLab) -> None:
        with paused(lab, PROMOTING) as first:
            assert "left open after: switched" in lab.call("plan").err
            assert lab.ok("rotate", "--status").out.count("switched") == 1
            first.finish()


@pytest.mark.faults
class TestSignals:
    @pytest.mark.parametrize("at", [CREATING, PROMOTING])
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_an_interrupted_rotation_is_undone_and_says_so(
        self, lab: labs.CliLab, number: signal.Signals, code: int, at: int
    ) -> None:
        old = lab.key
        with paused(lab, at) as running:
            running.process.send_signal(number)
            ran = running.finish()
        assert ran.code == code
        assert f"undone: {Secret(old).fingerprint()} is in force, proven" in ran.err
        assert lab.key == old
        assert lab.call("plan", "--exit-code").code == 0

    def test_after_the_proof_it_is_finished_first(self, lab: labs.CliLab) -> None:
        old = lab.key
        with paused(lab, RETIRING) as running:
            running.process.send_signal(signal.SIGTERM)
            ran = running.finish()
        assert ran.code == 143
        assert "is complete" in ran.err
        assert alone_in_force(lab, lab.key, old)
        assert lab.key != old


@pytest.mark.faults
class TestTheWorldChanges:
    def test_a_gateway_that_is_down_at_first_stops_everything(self, lab: labs.CliLab) -> None:
        lab.service.stop()
        before = lab.snapshot()
        ran = lab.call("rotate")
        assert ran.code == 1
        assert "not running" in ran.error["cause"]
        assert lab.snapshot() == before
        old = lab.key
        lab.ok("rotate", "--gateway-down")
        assert alone_in_force(lab, lab.key, old)

    @pytest.mark.parametrize("at", [CREATING, PROMOTING, RETIRING])
    def test_a_gateway_that_is_killed_in_the_middle_comes_back(
        self, lab: labs.CliLab, at: int
    ) -> None:
        old = lab.key
        with paused(lab, at) as running:
            assert lab.pid
            os.kill(lab.pid, signal.SIGKILL)
            ran = running.finish()
        assert ran.code in (0, 5, 6), ran.err
        lab.ok("recover", "-q")
        until(lambda: lab.accepts(lab.key), "the gateway")
        assert (lab.key == old) == (ran.code == 5)
        assert lab.call("plan", "--exit-code").code == 0

    def test_a_gateway_that_cannot_come_back_needs_recovery(self, lab: labs.CliLab) -> None:
        old, program = lab.key, lab.wrapper.read_text()
        with paused(lab, CREATING) as running:
            lab.wrapper.write_text("#!/bin/sh\nexit 1\n")
            assert lab.pid
            os.kill(lab.pid, signal.SIGKILL)
            ran = running.finish()
        assert ran.code == 6, ran.err
        assert "keyturn recover" in ran.err
        lab.wrapper.write_text(program)
        lab.ok("recover", "-q")
        assert lab.key == old
        assert lab.accepts(old)

    def test_a_settings_file_that_becomes_read_only_is_told(self, lab: labs.CliLab) -> None:
        old = lab.key
        with paused(lab, CREATING) as running:
            lab.settings.chmod(0o400)
            ran = running.finish()
        assert ran.code == 5, ran.err
        assert "chmod u+w" in ran.err
        lab.settings.chmod(0o600)
        assert lab.key == old
        assert lab.call("plan", "--exit-code").code == 0

    def test_a_settings_file_that_becomes_immutable_is_told(self, lab: labs.CliLab) -> None:
        old = lab.key
        with paused(lab, CREATING) as running, immutable(lab.settings):
            ran = running.finish()
        assert ran.code == 5, ran.err
        assert str(lab.settings) in ran.err
        assert alone_in_force(lab, old, new_key().reveal())

    @pytest.mark.parametrize("at", [CREATING, PROMOTING])
    def test_a_settings_file_that_another_user_takes_is_not_written(
        self, lab: labs.CliLab, at: int
    ) -> None:
        old = lab.key
        with paused(lab, at) as running:
            os.chown(lab.settings, SOMEBODY, -1)
            ran = running.finish()
        assert ran.code == 6, ran.err
        assert f"belongs to another user (uid {SOMEBODY})" in ran.err
        os.chown(lab.settings, os.geteuid(), -1)
        lab.ok("recover", "-q")
        assert (lab.key == old) == (at == CREATING)
        assert alone_in_force(lab, lab.key, old if lab.key != old else new_key().reveal())

    def test_a_disk_that_is_full_or_read_only_in_the_middle_recovers_later(
        self, tmp_path: Path
    ) -> None:
        ended = subprocess.run(
            ["unshare", "-m", sys.executable, "-m", "support.troubled_home", tmp_path / "small"],
            env=homes.machine_environment()
            | {"PYTHONPATH": f"{homes.REPOSITORY}:{homes.REPOSITORY / 'tests'}"},
            capture_output=True,
            text=True,
        )
        assert ended.stdout == "survived\n", ended.stderr

    @pytest.mark.parametrize("at", [CREATING, PROMOTING])
    def test_a_folder_that_anybody_may_write_in_is_not_written_in(
        self, lab: labs.CliLab, at: int
    ) -> None:
        old, factory = lab.key, lab.settings.parent
        with paused(lab, at) as running:
            factory.chmod(0o777)
            ran = running.finish()
        assert ran.code == 6, ran.err
        factory.chmod(0o700)
        lab.ok("recover", "-q")
        assert (lab.key == old) == (at == CREATING)
        assert alone_in_force(lab, lab.key, old if lab.key != old else new_key().reveal())

    def test_what_droid_writes_all_the_time_survives(self, lab: labs.CliLab) -> None:
        old = lab.key
        order = [entry["id"] for entry in _models(lab)]
        lab.settings.write_text(
            lab.settings.read_text()
            .replace("// my settings: do not touch\n", "")
            .replace(" // mine", "")
        )
        lab.ok("apply")
        count = lab.root.parent / "edits"
        writer = subprocess.Popen([sys.executable, "-c", DROID, str(lab.settings), str(count)])
        until(lambda: count.exists() and int(count.read_text() or 0) > 5, "the first edits")
        codes = [lab.run("rotate", "-q").code for _ in range(3)]
        count.with_suffix(".stop").touch()
        assert writer.wait(20) == 0
        assert codes == [0, 0, 0]
        edits = json.loads(lab.settings.read_text())["edits"]
        assert edits == list(range(int(count.read_text())))
        assert [entry["id"] for entry in _models(lab)] == order
        assert alone_in_force(lab, lab.key, old)


# As droid does: read, change its own part, write beside, rename; far more often than it does.
DROID = """
import json, os, sys, time
path, count = sys.argv[1:]
made = 0
while not os.path.exists(count + ".stop"):
    with open(path) as file:
        settings = json.load(file)
    settings.setdefault("edits", []).append(made)
    with open(path + ".droid", "w") as file:
        json.dump(settings, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(path + ".droid", 0o600)
    os.rename(path + ".droid", path)
    made += 1
    with open(count + ".new", "w") as file:
        file.write(str(made))
    os.rename(count + ".new", count)
    time.sleep(0.1)
"""


def _models(lab: labs.CliLab) -> list[dict[str, str]]:
    text = "\n".join(line.partition(" //")[0] for line in lab.settings.read_text().splitlines())
    found = json.loads(text.removeprefix("// my settings: do not touch"))["customModels"]
    assert isinstance(found, list)
    return found


class TestValue:
    def rotate(self, lab: labs.CliLab, text: str) -> labs.Ran:
        words = ("rotate", "--value-stdin")
        return labs.Ran(
            *forked.run(labs.COPIES, words, cwd=lab.root, env=lab.environment(), stdin=text)
        )

    def test_a_value_of_ones_own_is_taken(self, lab: labs.CliLab) -> None:
        old, new = lab.key, new_key().reveal()
        assert self.rotate(lab, f"{new}\n").code == 0
        assert alone_in_force(lab, new, old)

    def test_what_is_no_good_key_is_refused_and_changes_nothing(self, lab: labs.CliLab) -> None:
        before, good = lab.snapshot(), new_key().reveal()
        bad = {
            "sk-1234": 1,
            f"sk-your-key-{good}": 1,
            f"{good}\n{good}": 1,
            f"{good} x": 1,
            lab.key: 1,
            "": 2,
        }
        for text, code in bad.items():
            ran = self.rotate(lab, text)
            assert ran.code == code, ran.err
            assert "Traceback" not in ran.err
            assert good not in ran.err
        assert lab.snapshot() == before


class TestGrace:
    def test_it_can_be_seen_and_ended(self, lab: labs.CliLab) -> None:
        old = lab.key
        assert "grace" in lab.ok("rotate", "--grace", "10m").out
        assert lab.accepts(old)
        assert lab.accepts(lab.key)
        assert "accepted until" in lab.ok("rotate", "--status").out
        assert "accepted until" in lab.call("plan").err
        assert "is accepted until" in lab.ok("recover").out
        assert lab.call("plan", "--exit-code").code == 0
        assert not lab.ok("apply", "--json").json.get("changes")
        assert "finished" in lab.ok("rotate", "--resume").out
        assert alone_in_force(lab, lab.key, old)

    def test_it_can_be_aborted(self, lab: labs.CliLab) -> None:
        old = lab.key
        lab.ok("rotate", "--grace", "10m")
        new = lab.key
        assert "undone" in lab.ok("rotate", "--abort").out
        assert alone_in_force(lab, old, new)

    def test_it_ends_by_itself(self, lab: labs.CliLab) -> None:
        old = lab.key
        lab.ok("rotate", "--grace", "1s")
        until(lambda: not lab.accepts(old), "the end of the grace time")
        assert lab.accepts(lab.key)
        assert "An earlier rotation was finished" in lab.ok("apply").err
        assert alone_in_force(lab, lab.key, old)

    def test_the_next_rotation_waits_for_it_or_is_told_not_to(self, lab: labs.CliLab) -> None:
        old = lab.key
        lab.ok("rotate", "--grace", "10m")
        ran = lab.call("rotate")
        assert ran.code == 2
        assert "--resume" in ran.error["fix"]
        assert lab.accepts(old)
        lab.ok("rotate", "--now")
        assert alone_in_force(lab, lab.key, old)

    def test_a_word_that_is_no_time_is_refused(self, lab: labs.CliLab) -> None:
        assert lab.call("rotate", "--grace", "soon").code == 2
        assert lab.call("rotate", "--grace", "1m", "--now").code == 2


class TestMasterKeyCheck:
    """`auth = "master-key"`: LiteLLM's own check of one key, and a restart."""

    @pytest.fixture
    def plain(self, tmp_path: Path, home: Path) -> Iterator[labs.CliLab]:
        made = labs.make(tmp_path, home, write=False)
        made.write(gateway='auth = "master-key"', more=crash.SOURCES)
        made.ok("bootstrap", str(made.root))
        with labs.stopped_after(made) as lab:
            yield lab

    def test_it_restarts_and_the_old_key_is_refused(self, plain: labs.CliLab) -> None:
        old, pid = plain.key, plain.pid
        plain.ok("rotate")
        assert plain.pid != pid
        assert alone_in_force(plain, plain.key, old)
        assert plain.key != old

    def test_a_failure_restarts_it_with_the_old_key(self, plain: labs.CliLab) -> None:
        old = plain.key
        with paused(plain, PROMOTING) as running:
            plain.store.write_text(plain.store.read_text() + "\n# mine\n")
            ran = running.finish()
        assert ran.code in (5, 6), ran.err
        if ran.code == 6:
            plain.ok("recover", "-q")
        assert plain.key == old
        assert plain.accepts(old)

    def test_there_is_no_grace(self, plain: labs.CliLab) -> None:
        assert plain.call("rotate", "--grace", "1m").code == 1


class TestByHand:
    def set(self, lab: labs.CliLab, value: str) -> None:
        subprocess.run(
            [REAL_SOPS, "set", "--value-stdin", str(lab.store), '["LITELLM_MASTER_KEY"]'],
            input=json.dumps(value).encode(),
            env=lab.environment(),
            cwd=lab.root,
            check=True,
        )

    def test_apply_puts_it_in_force_without_a_restart(self, lab: labs.CliLab) -> None:
        old, new, pid = lab.key, new_key().reveal(), lab.pid
        self.set(lab, new)
        ran = lab.ok("apply")
        assert "overlap" in ran.err
        assert lab.pid == pid
        assert alone_in_force(lab, new, old)

    def test_rotate_asks_for_apply_first(self, lab: labs.CliLab) -> None:
        self.set(lab, new_key().reveal())
        ran = lab.call("rotate")
        assert ran.code == 1
        assert "keyturn apply" in ran.error["fix"]


class TestLost:
    @pytest.mark.parametrize("mode", ["gone", "corrupt", "writable"])
    def test_apply_makes_the_keyset_anew(self, lab: labs.CliLab, mode: str) -> None:
        if mode == "gone":
            keyset(lab).unlink()
        elif mode == "corrupt":
            keyset(lab).write_text("{")
        else:
            keyset(lab).chmod(0o666)
        assert lab.call("rotate").code == 1
        lab.ok("apply")
        assert lab.accepts(lab.key)
        lab.ok("rotate")

    def test_a_lost_state_needs_an_apply_first(self, lab: labs.CliLab) -> None:
        (lab.state / "state.json").unlink()
        assert lab.call("rotate").code == 1
        lab.ok("apply")
        lab.ok("rotate")

    def test_a_torn_journal_is_no_obstacle(self, lab: labs.CliLab) -> None:
        lab.ok("rotate")
        with journal(lab).open("a") as file:
            file.write('{"step": "beg')
        lab.ok("rotate")

    def test_a_damaged_journal_is_told_with_a_way_out(self, lab: labs.CliLab) -> None:
        lab.ok("rotate")
        journal(lab).write_text("no JSON\n")
        for words in (("rotate",), ("recover",), ("apply",), ("rotate", "--status")):
            ran = lab.call(*words)
            assert ran.code == 6
            assert "cannot be read" in ran.error["error"]
        assert "cannot be read" in lab.call("plan").err
        journal(lab).rename(journal(lab).with_suffix(".damaged"))
        lab.ok("apply")
        lab.ok("rotate")


class TestNames:
    def test_the_salt_key_is_never_rotated(self, lab: labs.CliLab) -> None:
        ran = lab.call("rotate", "LITELLM_SALT_KEY")
        assert ran.code == 2
        assert "could never read that again" in ran.error["cause"]

    def test_another_secret_is_not_rotated(self, lab: labs.CliLab) -> None:
        assert lab.call("rotate", "OPENAI_API_KEY").code == 2

    def test_modes_exclude_each_other(self, lab: labs.CliLab) -> None:
        assert lab.call("rotate", "--status", "--abort").code == 2

    def test_what_belongs_to_a_new_rotation_says_nothing_of_an_open_one(
        self, lab: labs.CliLab
    ) -> None:
        for words in (("--resume", "--grace", "10m"), ("--abort", "LITELLM_MASTER_KEY")):
            ran = lab.call("rotate", *words)
            assert ran.code == 2
            assert words[0] in ran.error["cause"]


def test_nothing_but_the_key_changes_in_what_is_shared(lab: labs.CliLab) -> None:
    before = {path: what for path, what in homes.snapshot(lab.home).items() if "factory" in path}
    text = lab.settings.read_text().replace(lab.key, "<key>")
    lab.ok("rotate")
    assert lab.settings.read_text().replace(lab.key, "<key>") == text
    after = {path: what for path, what in homes.snapshot(lab.home).items() if "factory" in path}
    assert [p for p in after if after[p] != before.get(p)] == [".factory/settings.json"]
    assert after.keys() == before.keys()
