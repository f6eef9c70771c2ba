"""The gateway restarts under load, with the stand-in: nobody is refused, nothing is cut off."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.adapters import memory
from support.homes import snapshot
from support.labs import CliLab, make, stopped_after, write_wrapper
from support.load import Retired, key_in, load_on
from support.unit_labs import UnitLab, in_session
from support.waiting import until

pytestmark = pytest.mark.faults

MODEL = "lab-echo"
ALWAYS = 'socket = "always"'
MORE = """
[[models]]
alias = "{name}"
backend = "echo"
"""
# Half a second to start, so that there is a gap to fall into; a broken config ends it.
BODY = """
for word; do case $word in *config.yaml) config=$word;; esac; done
if grep -q refused-by-the-stand-in "$config"
then echo "bad config: the reason"; sleep 0.3; exit 3; fi
export MINI_START_S=0.5
$MINI"""


# One lab for each manager, and one worker for its tests, which leave it as they found it.
MANAGERS = [
    pytest.param(kind, marks=pytest.mark.xdist_group(f"restarts under {kind}"))
    for kind in ("supervisor", "systemd")
]


@pytest.fixture(scope="module", params=MANAGERS)
def lab(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CliLab]:
    """A running lab whose manager holds the port."""
    folder, home = tmp_path_factory.mktemp("labs"), tmp_path_factory.mktemp("home")
    home.chmod(0o700)
    made = make(folder, home, write=False)
    write_wrapper(made.wrapper, BODY)
    with contextlib.ExitStack() as stack:
        if request.param == "systemd":
            made = stack.enter_context(in_session(made))
        made.write(gateway=ALWAYS)
        stack.enter_context(stopped_after(made))
        made.ok("bootstrap", str(made.root))
        yield made


def back_to_normal(lab: CliLab) -> None:
    lab.write(gateway=ALWAYS)
    lab.ok("apply")
    assert processes(lab) == 1


def processes(lab: CliLab) -> int:
    """Return how many processes serve this lab."""
    asked = ["pgrep", "--count", "-f", f"mini-gateway.*--port {lab.port}"]
    return int(subprocess.run(asked, capture_output=True, text=True).stdout)


def test_nothing_is_lost_across_applies_and_restarts(lab: CliLab) -> None:
    pids = {lab.pid}
    with load_on(lab.port, lab.key, MODEL, stream_s=1.5) as load:
        lab.write(gateway=ALWAYS, more=MORE.format(name="another"))
        for command in (("apply",), ("service", "restart")):
            ran = lab.ok(*command)
            assert "a second one serves meanwhile" in ran.err
            pids.add(lab.pid)
        until(lambda: load.fresh.sent > 50 and load.streams.sent > 2)
    assert load.lost == 0, load.problems()
    assert load.kept.resets == 0
    assert len(pids) == 3
    back_to_normal(lab)
    lab.ok("check")


def test_nothing_is_lost_across_rotations_and_no_old_key_lives_on(lab: CliLab) -> None:
    clients = key_in(lab.settings)
    with Retired(lab.port) as retired, load_on(lab.port, clients, MODEL, stream_s=1.0) as load:
        for options, restarts in (((), False), (("--restart",), True)):
            pid, old = lab.pid, lab.key
            ran = lab.ok("rotate", *options)
            retired.add(old)
            assert (lab.pid != pid) == ("fresh" in ran.out) == restarts
            assert ("a second one serves meanwhile" in ran.err) == restarts
        until(lambda: retired.refused > 4 and load.fresh.sent > 50)
    assert load.lost == 0, load.problems()
    assert load.kept.resets == 0
    assert (retired.accepted, retired.problems) == (0, [])
    assert processes(lab) == 1
    lab.ok("plan", "--exit-code")


@pytest.mark.parametrize("lab", ["supervisor"], indirect=True)
def test_a_lab_file_can_have_every_rotation_restart(lab: CliLab) -> None:
    lab.write(gateway=ALWAYS, more='[rotate]\nrestart = "always"\n')
    lab.ok("apply")
    pid = lab.pid
    assert lab.ok("rotate", "--dry-run", "--json").json["restarts"]
    assert lab.ok("rotate", "--json").json["restarted"]
    assert lab.pid != pid
    back_to_normal(lab)


@pytest.mark.parametrize("lab", ["supervisor"], indirect=True)
def test_a_gateway_that_does_not_come_up_undoes_a_rotation(lab: CliLab) -> None:
    pid, old = lab.pid, lab.key
    lab.wrapper.write_text(lab.wrapper.read_text().replace("if grep", "if true || grep"))
    try:
        with load_on(lab.port, key_in(lab.settings), MODEL, streams=1, stream_s=0.5) as load:
            ran = lab.run("rotate", "--restart")
    finally:
        write_wrapper(lab.wrapper, BODY)
    assert ran.code == 5, ran.err
    assert "bad config: the reason" in ran.err
    assert load.lost == 0, load.problems()
    assert (lab.pid, lab.key) == (pid, old)
    assert processes(lab) == 1


@pytest.mark.parametrize("lab", ["supervisor"], indirect=True)
def test_a_lab_without_the_guard_loses_nothing_of_clients_that_ask_again(lab: CliLab) -> None:
    lab.write(gateway=f'{ALWAYS}\nauth = "master-key"')
    lab.ok("apply")
    pid, old = lab.pid, lab.key
    clients = key_in(lab.settings)
    with (
        Retired(lab.port) as retired,
        load_on(lab.port, clients, MODEL, stream_s=1.0, patient=True) as load,
    ):
        lab.ok("rotate", "--now")
        retired.add(old)
        until(lambda: retired.refused > 4)
    assert lab.pid != pid
    assert load.lost == 0, load.problems()
    assert (retired.accepted, retired.problems) == (0, [])
    back_to_normal(lab)


def test_a_gateway_that_does_not_come_up_leaves_the_old_one_and_the_old_files(lab: CliLab) -> None:
    pid, before = lab.pid, snapshot(Path(lab.places.litellm))
    lab.write(gateway=ALWAYS, more=MORE.format(name="refused-by-the-stand-in"))
    with load_on(lab.port, lab.key, MODEL, streams=1, stream_s=0.5) as load:
        ran = lab.run("apply")
    assert load.lost == 0, load.problems()
    assert ran.code == 1
    assert "the gateway goes on as it was, and every file is as before" in ran.error["cause"]
    assert "bad config: the reason" in ran.err
    assert lab.key not in ran.err
    assert lab.pid == pid
    assert processes(lab) == 1
    assert snapshot(Path(lab.places.litellm)) == before
    lab.write(gateway=ALWAYS)
    lab.ok("plan")


def test_another_port_is_moved_to_and_the_old_one_closed(lab: CliLab, free_port: int) -> None:
    old, lab.port = lab.port, free_port
    lab.write(gateway=ALWAYS)
    lab.ok("apply")
    assert processes(lab) == 1
    with load_on(old, lab.key, MODEL, streams=0) as load:
        until(lambda: load.fresh.sent > 2)
    assert load.fresh.refused == load.fresh.sent


def test_a_layout_without_a_socket_is_left_and_come_back_to(lab: CliLab) -> None:
    for gateway in ('socket = "never"', ALWAYS):
        lab.write(gateway=gateway)
        ran = lab.ok("apply")
        assert "serves meanwhile" not in ran.err
        assert processes(lab) == 1
        if "never" in gateway:
            assert "requests are refused meanwhile" in lab.ok("service", "restart").err


def test_a_stopped_gateway_stays_stopped_and_its_port_closed(lab: CliLab) -> None:
    lab.ok("service", "stop")
    with load_on(lab.port, lab.key, MODEL, streams=0) as load:
        until(lambda: load.fresh.sent > 2)
    assert load.fresh.refused == load.fresh.sent
    assert processes(lab) == 0
    back_to_normal(lab)


@pytest.mark.parametrize("lab", ["supervisor"], indirect=True)
def test_without_memory_for_two_requests_wait_instead(
    lab: CliLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 512 * memory.MEBIBYTE)
    with load_on(lab.port, lab.key, MODEL, streams=1, stream_s=0.5) as load:
        ran = lab.ok("service", "restart")
    assert "only 512 MiB of memory are free" in ran.err
    assert "requests wait meanwhile" in ran.err
    assert load.lost == 0, load.problems()


@pytest.mark.parametrize("lab", ["systemd"], indirect=True)
class TestUnits:
    def test_a_restart_by_hand_refuses_nobody(self, lab: UnitLab) -> None:
        with load_on(lab.port, lab.key, MODEL, streams=1, stream_s=0.5) as load:
            lab.systemd.systemctl("restart", "litellm.service", check=True)
        assert load.lost == 0, load.problems()

    def test_a_spare_that_a_killed_apply_left_behind_is_ended(self, lab: UnitLab) -> None:
        lab.systemd.systemctl("start", "litellm-spare.service", check=True)
        assert processes(lab) == 2
        lab.ok("service", "restart")
        assert processes(lab) == 1

    def test_a_spare_takes_over_where_the_unit_itself_fails(self, lab: UnitLab) -> None:
        folder = Path(lab.home, ".config/systemd/user/litellm.service.d")
        folder.mkdir()
        (folder / "broken.conf").write_text("[Service]\nExecStartPre=/bin/false\n")
        with load_on(lab.port, lab.key, MODEL, streams=1, stream_s=0.5) as load:
            ran = lab.run("service", "restart")
            assert ran.code == 1
            assert "litellm-spare.service serves in its place" in ran.error["cause"]
            shutil.rmtree(folder)
            lab.ok("apply")
        assert load.lost == 0, load.problems()
        assert processes(lab) == 1

    def test_its_units_have_no_complaint_from_systemd(self, lab: UnitLab) -> None:
        folder = Path(lab.home, ".config/systemd/user")
        units = ["litellm.socket", "litellm.service", "litellm-spare.service"]
        paths = [folder / unit for unit in units]
        verified = lab.systemd.run("systemd-analyze", "--user", "verify", *paths)
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")

    def test_after_a_login_the_port_is_open_before_the_gateway_is_up(self, lab: UnitLab) -> None:
        states = [
            lab.systemd.show(unit, "UnitFileState")
            for unit in ("litellm.socket", "litellm.service", "litellm-spare.service")
        ]
        assert states == ["enabled", "enabled", "static"]


def test_another_program_on_the_port_is_refused_and_nothing_changes(lab: CliLab) -> None:
    port, pid = lab.port, lab.pid
    with socket.create_server(("127.0.0.1", 0)) as other:
        lab.port = other.getsockname()[1]
        lab.write(gateway=ALWAYS)
        error = lab.run("apply").error
    assert error["error"] == f"port {lab.port} is taken"
    lab.port = port
    assert lab.pid == pid
    back_to_normal(lab)
