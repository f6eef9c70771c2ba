"""Faults of a real unit, in a real `systemd --user` with a real logind: found and mended."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import labs
from support.logind import start_logind
from support.unit_labs import UNIT, UnitLab, in_session

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
STALE = "sk-test-of-yesterday-0123456789abcdef0123456789"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UnitLab]:
    base = tmp_path_factory.mktemp("units")
    home = base / "home"
    home.mkdir(mode=0o700)
    with in_session(labs.make(base, home)) as made:
        made.write()
        start_logind(made.systemd, base)
        made.ok("bootstrap", str(made.root))
        yield made


def found(lab: UnitLab, *codes: str) -> dict[str, dict[str, Any]]:
    """Return what doctor finds that is not well, by code, in the session."""
    rows = lab.call("doctor", "--json", *codes).json["findings"]
    assert lab.key not in "".join(lab.said)
    return {row["code"]: row for row in rows if row["severity"] not in ("ok", "not applicable")}


def follow(lab: UnitLab, command: str) -> None:
    """Type the command in the session, where `keyturn` is this one."""
    for part in command.split(" && "):
        program, *words = part.split()
        if program == "keyturn":
            lab.ok(*words)
        else:
            lab.systemd.check(program, *words)


def unit_file(lab: UnitLab) -> Path:
    return lab.home / ".config/systemd/user" / UNIT


def test_what_surrounds_a_unit_is_found_and_mended(lab: UnitLab) -> None:
    systemctl = ("systemctl", "--user")
    lab.systemd.check(*systemctl, "set-environment", f"LITELLM_MASTER_KEY={STALE}")
    config = Path(lab.places.litellm, "config.yaml")
    later = config.stat().st_mtime + 60
    os.utime(config, (later, later))
    seen = found(lab)
    commands = {code: seen[code]["command"] for code in ("KT306", "KT310", "KT409")}
    assert commands == {
        "KT306": "keyturn service restart",
        "KT310": "loginctl enable-linger root",
        "KT409": "systemctl --user unset-environment LITELLM_MASTER_KEY",
    }
    assert "not in force" in seen["KT409"]["seen"]
    assert STALE not in "".join(lab.said)
    later = config.stat().st_mtime - 120
    os.utime(config, (later, later))
    for command in commands.values():
        follow(lab, command)
    assert found(lab).keys() <= {"KT108", "KT404", "KT413"}  # no one is logged in to a desktop


def test_a_unit_that_was_edited_with_what_changes_litellm_is_named(lab: UnitLab) -> None:
    drop_in = unit_file(lab).with_name(f"{UNIT}.d") / "mine.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Service]\nUnsetEnvironment=\nEnvironment=DETAILED_DEBUG=True PORT=4100\n")
    stale = found(lab, "KT309")["KT309"]
    assert stale["command"] == "systemctl --user daemon-reload", stale
    follow(lab, stale["command"])
    lab.ok("service", "restart")
    seen = found(lab, "KT309", "KT321")
    assert "mine.conf changes litellm.service" in seen["KT309"]["seen"]
    assert seen["KT321"]["seen"] == "the gateway has DETAILED_DEBUG, PORT"
    drop_in.unlink()
    lab.systemd.check("systemctl", "--user", "daemon-reload")
    lab.ok("service", "restart")
    assert found(lab, "KT309", "KT321") == {}


def test_a_masked_unit_is_unmasked_and_started(lab: UnitLab) -> None:
    unit_file(lab).unlink()
    lab.systemd.check("systemctl", "--user", "mask", "--now", UNIT)
    row = found(lab, "KT308")["KT308"]
    assert (row["severity"], "masked" in row["seen"]) == ("error", True)
    follow(lab, row["command"])
    assert found(lab, "KT308", "KT304") == {}


def test_a_unit_that_systemd_does_not_take_is_written_anew(lab: UnitLab) -> None:
    text = unit_file(lab).read_text()
    unit_file(lab).write_text(text.replace("ExecStart=", "ExecStart=relative/"))
    lab.systemd.check("systemctl", "--user", "daemon-reload")
    row = found(lab, "KT308")["KT308"]
    assert "a setting that systemd does not take" in row["seen"]
    follow(lab, row["command"])
    assert found(lab, "KT308", "KT309") == {}


def test_a_unit_that_failed_too_often_is_started_again(lab: UnitLab) -> None:
    drop_in = unit_file(lab).with_name(f"{UNIT}.d") / "limit.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text("[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=1\n")
    lab.systemd.check("systemctl", "--user", "daemon-reload")
    for _ in range(2):
        lab.systemd.run("systemctl", "--user", "restart", UNIT)
    row = found(lab, "KT308")["KT308"]
    assert row["severity"] == "error", row
    follow(lab, row["command"])
    assert found(lab, "KT308", "KT304") == {}
