"""`keyturn rotate NAME` on a whole lab: real sops, age, Redis; the gateway is a stand-in."""

import os
import signal
from collections.abc import Iterator

import pytest

from bootstrap.adapters.entropy import new_key
from bootstrap.domain.secret import Secret
from support import crash, leaks
from support.named_crash import NamedCrash
from support.named_labs import MODEL, OTHER, PROVIDER, REDIS, NamedLab, named_lab
from support.rotations import PROMOTING, paused

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

INTERNAL = "KEYTURN_INTERNAL_KEY"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamedLab]:
    folder = tmp_path_factory.mktemp("named")
    home = folder / "home"
    home.mkdir(mode=0o700)
    with named_lab(folder, home) as made:
        yield made


def test_a_provider_key_is_proven_by_its_model_or_undone(named: NamedLab) -> None:
    lab, old, good = named.lab, named.lab.value(PROVIDER), new_key().reveal()
    ran = named.call("rotate", PROVIDER, "--value-stdin", stdin=new_key().reveal())
    assert ran.code == 5, ran.out + ran.err
    assert f"{MODEL} does not answer with the new {PROVIDER}: HTTP 401" in ran.err
    assert f"{PROVIDER} {Secret(old).fingerprint()} is in force, proven" in ran.err
    assert lab.value(PROVIDER) == old
    assert old in named.gateway_env
    assert named.agrees()

    named.keys.write_text(f"{old}\n{good}\n")
    pid = lab.pid
    done = named.call("rotate", PROVIDER, "--value-stdin", "--json", stdin=good + "\n").json
    assert [row["name"] for row in done["secrets"]] == [PROVIDER]
    assert done["restarted"]
    assert lab.pid != pid
    assert lab.value(PROVIDER) == good
    assert good in named.gateway_env
    assert old not in named.gateway_env
    assert named.upstream.requests(MODEL)[-1]["authorization"] == f"Bearer {good}"
    assert named.agrees()
    assert f"{PROVIDER} {Secret(old).fingerprint()}" in lab.ok("rotate", "--status").out
    assert good not in "".join(lab.said)


def test_a_redis_password_is_changed_in_redis_too(named: NamedLab) -> None:
    lab, old = named.lab, named.lab.value(REDIS)
    preview = lab.ok("rotate", REDIS, "--dry-run")
    assert "overlapping" in preview.out
    assert "the gateway restarts" in preview.out
    with paused(lab, PROMOTING, REDIS) as running:
        env = dict(line.split("=", 1) for line in named.gateway_env.splitlines() if "=" in line)
        new = env[REDIS].strip("'\"")
        assert new != old
        assert named.opens_redis(old)
        assert named.opens_redis(new)
        ran = running.finish()
    assert ran.code == 0, ran.err
    assert "Redis takes the old" in ran.out
    assert lab.value(REDIS) == new
    assert named.opens_redis(new)
    assert not named.opens_redis(old)
    assert named.agrees()
    assert leaks.find(old, (lab.root, lab.home), texts={"said": ran.out + ran.err}) == []


def test_all_go_together_and_a_killed_run_takes_all_back(named: NamedLab) -> None:
    lab = named.lab
    names = ("LITELLM_MASTER_KEY", INTERNAL, REDIS)
    before = {name: lab.value(name) for name in names}
    with paused(lab, PROMOTING, "--all") as running:
        os.kill(running.process.pid, signal.SIGKILL)
        running.finish()
    lab.ok("recover", "-q")
    assert {name: lab.value(name) for name in names} == before
    assert named.opens_redis(before[REDIS])
    assert named.agrees()

    ran = lab.ok("rotate", "--all")
    after = {name: lab.value(name) for name in names}
    assert all(after[name] != before[name] for name in names)
    assert named.opens_redis(after[REDIS])
    assert not named.opens_redis(before[REDIS])
    assert f"left out {PROVIDER}" in ran.out
    assert f"keyturn rotate {OTHER} --value-stdin" in ran.out
    assert named.agrees()


def test_a_secret_of_unknown_use_is_stored_and_nothing_restarts(named: NamedLab) -> None:
    lab, pid = named.lab, named.lab.pid
    ran = lab.call("rotate", OTHER)
    assert ran.code == 2
    assert "--generate" in ran.error["fix"]
    old = lab.value(OTHER)
    assert "proven" not in lab.ok("rotate", OTHER, "--generate").out
    assert lab.value(OTHER) != old
    assert lab.value(OTHER) not in named.gateway_env
    assert lab.pid == pid
    assert named.agrees()


def test_what_is_asked_for_wrongly_or_for_a_look_changes_nothing(named: NamedLab) -> None:
    lab = named.lab
    before = lab.snapshot()
    assert "from its provider" in lab.call("rotate", PROVIDER).error["error"]
    assert "is never rotated" in lab.call("rotate", "LITELLM_SALT_KEY").error["error"]
    ran = named.call("rotate", PROVIDER, "--value-stdin", "--grace", "10m", stdin="x")
    assert (ran.code, "no grace time" in ran.err) == (2, True)
    assert "stays as it is" in lab.call("rotate", "--re-encrypt").error["cause"]
    found = lab.ok("rotate", "--all", "--dry-run", "--json").json
    assert list(found["secrets"]) == ["LITELLM_MASTER_KEY", INTERNAL, REDIS]
    assert set(found["left_out"]) == {PROVIDER, OTHER}
    assert found["restarts"]
    assert f"left out {PROVIDER}" in lab.ok("rotate", "--all", "--dry-run").out
    assert f"completion of: {MODEL}" in lab.ok("rotate", PROVIDER, "--dry-run").out
    assert lab.snapshot() == before


def test_both_passwords_are_good_within_the_grace_time(named: NamedLab) -> None:
    lab, old = named.lab, named.lab.value(REDIS)
    assert "accepted for" in lab.ok("rotate", REDIS, "--grace", "1h").out
    new = lab.value(REDIS)
    assert named.opens_redis(old)
    assert f"{REDIS} {Secret(old).fingerprint()} is accepted until" in lab.call("plan").err
    assert lab.ok("rotate", "--resume").out.startswith("finished")
    assert (named.opens_redis(old), named.opens_redis(new)) == (False, True)
    assert named.agrees()


@pytest.mark.faults
def test_all_of_them_survive_a_kill_and_a_failing_disk_at_any_system_call(
    named: NamedLab,
) -> None:
    lab = NamedCrash(named)
    calls = lab.calls()
    assert len(calls) > 80
    try:
        kills = list(crash.signals(calls, "KILL"))
        assert {lab.survive(point) for point in kills[7 :: len(kills) // 4]} == {"-9"}
        disk = list(crash.failures(calls))
        assert {lab.survive(point) for point in disk[11 :: len(disk) // 2]} <= {"0", "1", "5", "6"}
    finally:
        lab.close()
