"""doctor in a lab that keyturn made: nothing to say about it, and in one mind with `apply`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import labs
from support.labs import CliLab, stopped_after

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]
STALE = "sk-test-of-yesterday-0123456789abcdef0123456789"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliLab]:
    base = tmp_path_factory.mktemp("doctor")
    home = base / "home"
    home.mkdir(mode=0o700)
    made = labs.make(base, home)
    with stopped_after(made):
        made.ok("bootstrap", str(made.root))
        yield made


@pytest.fixture
def settings(lab: CliLab) -> Iterator[Path]:
    """droid's settings, put back after the test."""
    kept = lab.settings.read_bytes()
    yield lab.settings
    lab.settings.write_bytes(kept)


def test_a_fresh_lab_has_nothing_worse_than_a_note(lab: CliLab) -> None:
    found = lab.call("doctor", "--json")
    bad = [row for row in found.json["findings"] if row["severity"] in ("warning", "error")]
    assert (found.code, bad) == (0, [])
    assert lab.key not in "".join(lab.said)


def test_what_doctor_mends_is_what_apply_would_have_written(lab: CliLab, settings: Path) -> None:
    wanted = settings.read_text()
    text = wanted.replace("generic-chat-completion-api", "Generic").replace(lab.key, STALE)
    settings.write_text(text.replace(f":{lab.port}/v1", ":4999"))
    assert lab.call("plan", "--exit-code").code == 3
    assert lab.call("doctor").code == 1
    assert lab.call("doctor", "--fix").code == 0
    assert settings.read_text() == wanted
    assert lab.call("plan", "--exit-code").code == 0
    assert STALE not in "".join(lab.said)
    assert lab.key not in "".join(lab.said)


def test_another_keyturn_at_work_keeps_a_fix_waiting_for_its_turn(
    lab: CliLab, settings: Path
) -> None:
    from bootstrap.adapters.lock import lab_lock

    settings.write_text(settings.read_text().replace(lab.key, STALE))
    with lab_lock(lab.state):
        assert lab.call("doctor", "--fix").code == 7
        assert lab.call("doctor").code == 1
    assert STALE in settings.read_text()


def test_following_what_doctor_says_leads_back_to_a_well_lab(lab: CliLab, settings: Path) -> None:
    settings.write_text('{"customModels": []}')
    found = {row["code"]: row for row in lab.call("doctor", "--json").json["findings"]}
    assert (found["KT133"]["severity"], found["KT133"]["mend"]) == ("warning", "keyturn apply")
    lab.ok("apply")
    assert "KT133" not in {
        row["code"]
        for row in lab.call("doctor", "--json").json["findings"]
        if row["severity"] == "warning"
    }


def test_what_was_edited_beside_a_running_gateway_is_named_and_mended(lab: CliLab) -> None:
    config = Path(lab.places.litellm, "config.yaml")
    kept, stat = config.read_bytes(), config.stat()
    config.write_bytes(kept + b"extra: os.environ/NOBODY\n")
    os.utime(config, (4e9, 4e9))
    lab.env_file.chmod(0o644)
    try:
        found = {row["code"]: row for row in lab.call("doctor", "--json").json["findings"]}
        lab.call("doctor", "--fix", "KT405")
    finally:
        config.write_bytes(kept)
        os.utime(config, (stat.st_atime, stat.st_mtime))
    assert "config.yaml was written" in found["KT306"]["seen"]
    assert found["KT311"]["seen"] == "os.environ/NOBODY is not set for the gateway"
    assert found["KT405"]["severity"] == "error"
    assert lab.env_file.stat().st_mode & 0o777 == 0o600
    assert lab.key not in "".join(lab.said)
