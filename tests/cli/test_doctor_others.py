"""Each fault of Open WebUI's connection, and of a client from a package, planted."""

import time
from dataclasses import replace
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.doctor_others import observe_others
from bootstrap.adapters.gathering import Scene
from bootstrap.domain.doctor.check import Group, diagnose
from bootstrap.domain.doctor.checks_others import OTHERS
from bootstrap.domain.doctor.facts import Problem
from bootstrap.domain.doctor.facts_others import (
    Connection,
    OthersFacts,
    PackageClient,
    StoredConnections,
)
from bootstrap.domain.doctor.finding import Severity
from bootstrap.domain.doctor.observations import Observations
from bootstrap.domain.keyset import Keyset
from bootstrap.domain.labfile import parse_lab
from bootstrap.domain.secret import Secret
from support.doctor import KEY, LAB, OLD_KEY, PORT, URL, Patient, patient
from support.fakes import make_places
from support.openwebui import database, kept

PATH = PurePath("/home/me/webui.db")
FILE = PurePath("/home/me/.config/example/settings.toml")
HERE = Connection(f"{URL}/v1", Secret(KEY))
GROUP = Group("KT5", "others", OTHERS)
EXAMPLE = PackageClient("example", "Example", FILE, True, (), "2.0.5", ("2.0.0", "2.1.0"))


def scene(found: OthersFacts, issued: Secret | None = None) -> Observations:
    lab = parse_lab(LAB.format(port=PORT, key="/key", more=""), PurePath("/lab"))
    digests = frozenset() if issued is None else frozenset((issued.digest(),))
    places = make_places(Path("/home/me"))
    return Observations(
        places, PurePath("/"), "keyturn", {}, lab, Secret(KEY), issued=digests, others=found
    )


def webui(*connections: tuple[str, str | None], enabled: bool = True) -> OthersFacts:
    found = tuple(Connection(url, Secret(key) if key else None) for url, key in connections)
    return OthersFacts((StoredConnections("openwebui", PATH, found, enabled),))


FAULTS = {
    "no file": (
        OthersFacts((StoredConnections("openwebui", PATH, problem="it is not there"),)),
        ("KT561", "warning", "~/webui.db: it is not there"),
    ),
    "another port": (
        webui(("http://127.0.0.1:4999/v1", KEY), ("https://api.openai.com/v1", None)),
        ("KT562", "error", "http://127.0.0.1:4999/v1, https://api.openai.com/v1; the gateway is"),
    ),
    "another path": (webui((f"{URL}/v1/v1", KEY)), ("KT562", "error", "/v1/v1; the gateway is")),
    "a slash": (webui((f"{URL}/v1/", KEY)), ("KT562", "error", "/v1/; the gateway is")),
    "turned off": (webui((f"{URL}/v1", KEY), enabled=False), ("KT562", "error", "turned off")),
    "an old key": (webui((f"{URL}/v1", OLD_KEY)), ("KT563", "error", "which is not in force")),
    "no key": (webui((f"{URL}/v1", None)), ("KT563", "error", "without a key")),
    "in a container": (
        webui((f"http://host.docker.internal:{PORT}/v1", OLD_KEY)),
        ("KT563", "error", "host.docker.internal"),
    ),
    "this one turned off": (
        OthersFacts((StoredConnections("openwebui", PATH, (replace(HERE, enabled=False),)),)),
        ("KT562", "error", f"{URL}/v1 is turned off"),
    ),
    "open to others": (
        OthersFacts((StoredConnections("openwebui", PATH, (HERE,), mode=0o644, folders=(0o755,)),)),
        ("KT564", "warning", "~/webui.db has mode 0644"),
    ),
    "a broken package": (
        OthersFacts(broken=(Problem("the client example cannot be used", "uninstall it"),)),
        ("KT571", "warning", "example"),
    ),
    "a file not written": (
        OthersFacts(packages=(replace(EXAMPLE, written=False),)),
        ("KT572", "warning", "Example: ~/.config/example/settings.toml is not there"),
    ),
    "a stale file": (
        OthersFacts(packages=(replace(EXAMPLE, keys=(Secret(OLD_KEY),)),)),
        ("KT572", "error", Secret(OLD_KEY).fingerprint()),
    ),
    "a new version": (
        OthersFacts(packages=(replace(EXAMPLE, version="3.0.0"),)),
        ("KT573", "note", "Example 3.0.0; tested are 2.0.0, 2.1.0"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_alone_and_said(fault: str) -> None:
    found, (code, severity, words) = FAULTS[fault]
    bad = [f for f in diagnose(scene(found), [GROUP]) if f.severity is not Severity.OK]
    assert [(f.code, f.severity.value) for f in bad] == [(code, severity)]
    assert words in bad[0].seen
    assert bad[0].mend
    assert not any(key in f"{bad[0]}" for key in (KEY, OLD_KEY))


@pytest.mark.parametrize(
    "found",
    [
        OthersFacts(),
        webui(),
        webui((f"{URL}/v1", KEY)),
        webui(("https://api.openai.com/v1", OLD_KEY), (f"http://localhost:{PORT}/v1", KEY)),
        webui((f"http://host.containers.internal:{PORT}", KEY)),
        OthersFacts(packages=(replace(EXAMPLE, keys=(Secret(KEY),)),)),
        OthersFacts(packages=(replace(EXAMPLE, path=None, version=""),)),
    ],
)
def test_what_is_well_or_not_known_is_left_alone(found: OthersFacts) -> None:
    assert {f.severity for f in diagnose(scene(found), [GROUP])} == {Severity.OK}


@pytest.mark.parametrize(
    ("connection", "mode", "folders"),
    [
        (HERE, 0o600, (0o755, 0o755)),
        (HERE, 0o644, (0o755, 0o700)),
        (Connection("http://127.0.0.1:9/v1"), 0o644, ()),
    ],
)
def test_a_file_that_others_cannot_reach_may_be_readable(
    connection: Connection, mode: int, folders: tuple[int, ...]
) -> None:
    stored = StoredConnections("openwebui", PATH, (connection,), mode=mode, folders=folders)
    found = {f.code: f.severity for f in diagnose(scene(OthersFacts((stored,))), [GROUP])}
    assert found["KT564"] is Severity.OK


def test_of_two_connections_to_the_gateway_one_may_be_turned_off() -> None:
    off = Connection(f"http://localhost:{PORT}/v1", Secret(OLD_KEY), enabled=False)
    found = OthersFacts((StoredConnections("openwebui", PATH, (off, HERE)),))
    assert {f.severity for f in diagnose(scene(found), [GROUP])} == {Severity.OK}


def test_a_key_of_its_own_is_in_force_too() -> None:
    found = webui((f"{URL}/v1", OLD_KEY))
    assert {f.severity for f in diagnose(scene(found, Secret(OLD_KEY)), [GROUP])} == {Severity.OK}


def test_a_replaced_key_is_a_warning_for_its_grace_time(sick: Patient) -> None:
    database(sick.home / "webui.db", kept(f"{URL}/v1", OLD_KEY))
    sick.write_lab('[clients.openwebui]\nconfig = "~/webui.db"\n')
    for ends, severity in ((time.time() + 3600, "warning"), (time.time() - 1, "error")):
        keyset = Keyset().with_overlap(Secret(OLD_KEY), Secret(KEY), ends)
        sick.write(".config/litellm/keyturn-keyset.json", keyset.to_bytes())
        (row,) = sick.findings("KT56")["KT563"]
        assert row["severity"] == severity
        assert ("accepted for its grace time only" in row["seen"]) == (severity == "warning")


@pytest.fixture
def sick(home: Path) -> Patient:
    return patient(home)


@pytest.mark.parametrize("place", ["~/data/webui.db", "../data/webui.db", "{home}/data/webui.db"])
def test_a_place_is_named_from_the_home_the_lab_or_the_root(tmp_path: Path, place: str) -> None:
    (tmp_path / "data").mkdir()
    database(tmp_path / "data" / "webui.db", kept(f"{URL}/v1", KEY))
    named = f'[clients.openwebui]\nconfig = "{place.format(home=tmp_path)}"\n'
    lab = parse_lab(LAB.format(port=PORT, key="/key", more=named), PurePath(tmp_path / "lab"))
    (tmp_path / "lab").mkdir()
    scene = Scene(make_places(tmp_path), PurePath("/"), {}, lab)
    (stored,) = observe_others(scene, lambda _: "", list).stored
    assert (stored.problem, stored.connections[0].url) == ("", f"{URL}/v1")


def test_the_file_that_lab_toml_names_is_read_and_nothing_else(sick: Patient) -> None:
    database(sick.home / "webui.db", kept(f"{URL}/v1", OLD_KEY))
    assert sick.findings("KT56") == {}
    sick.write_lab('[clients.openwebui]\nconfig = "~/webui.db"\n')
    found = sick.findings("KT56")
    assert set(found) == {"KT563"}
    assert Secret(OLD_KEY).fingerprint() in found["KT563"][0]["seen"]
    assert OLD_KEY not in "".join(sick.said)


def test_only_a_client_that_keeps_its_connection_has_a_file_to_name(sick: Patient) -> None:
    sick.write_lab('[clients.droid]\nconfig = "x"\n')
    assert "there is no such key" in sick.run("plan").err


def test_without_a_lab_only_packages_are_judged(sick: Patient) -> None:
    (sick.lab / "lab.toml").unlink()
    rows = {row["code"]: row["severity"] for row in sick.all_findings("KT56", "KT57")}
    assert (rows["KT562"], rows["KT571"]) == ("not applicable", "ok")
