"""What is put together for which lab: the service manager, the default lab, `keyturn exec`."""

import os
from pathlib import Path, PurePath

import pytest

from bootstrap.adapters.supervisor import SupervisorService
from bootstrap.adapters.systemd import SystemdService
from bootstrap.domain.errors import ConfigError, ServiceError, UsageError
from bootstrap.domain.labfile import parse_lab
from bootstrap.ports import Service, ServiceStatus
from bootstrap.wiring import execution, found_lab, labs
from support.fakes import make_places
from support.labs import call

ROOT = PurePath("/labs/mine")


def chosen(
    monkeypatch: pytest.MonkeyPatch, home: Path, wanted: str, why_not: str | None, running: bool
) -> Service:
    status = ServiceStatus(running, 4711 if running else None, "")
    monkeypatch.setattr(SystemdService, "available", lambda: why_not)
    monkeypatch.setattr(SupervisorService, "status", lambda self: status)
    lab = parse_lab(f'[gateway]\nservice = "{wanted}"\n', ROOT)
    return labs.service(lab, make_places(home))


@pytest.mark.parametrize(
    ("wanted", "why_not", "running", "kind"),
    [
        ("auto", None, False, "systemd"),
        ("auto", None, True, "supervisor"),  # it is not moved to systemd behind the user's back
        ("auto", "no bus", False, "supervisor"),
        ("systemd", None, True, "systemd"),
        ("supervisor", None, False, "supervisor"),
    ],
)
def test_the_service_manager_that_fits_is_taken(
    monkeypatch: pytest.MonkeyPatch,
    home: Path,
    wanted: str,
    why_not: str | None,
    running: bool,
    kind: str,
) -> None:
    assert chosen(monkeypatch, home, wanted, why_not, running).kind == kind


def test_systemd_is_not_replaced_where_the_lab_insists_on_it(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    with pytest.raises(ServiceError, match="no bus"):
        chosen(monkeypatch, home, "systemd", "no bus", False)


def test_the_default_lab_is_replaced_only_when_it_is_gone(tmp_path: Path, home: Path) -> None:
    registered = home / ".config/keyturn/default-lab"
    first, second = PurePath(tmp_path / "first"), PurePath(tmp_path / "second")
    for folder in (first, second):
        Path(folder).mkdir()
        (Path(folder) / "lab.toml").write_text("")
    assert labs.register_default(first)
    assert not labs.register_default(first)
    assert not labs.register_default(second)
    assert registered.read_text() == f"{first}\n"
    (Path(first) / "lab.toml").unlink()
    assert labs.register_default(second)
    assert found_lab.locate(None) == second
    registered.write_bytes(b"\0\xff")
    assert labs.register_default(first)


def test_a_path_that_leads_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    for name in (str(tmp_path / "a"), "~no-such-user/lab", "nul\0"):
        with pytest.raises(ConfigError, match="no folder for a lab"):
            found_lab.absolute(Path(name))


def test_a_working_directory_that_is_gone_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert found_lab.working_directory() == tmp_path.resolve()
    monkeypatch.setattr(os, "getcwd", lambda: (_ for _ in ()).throw(FileNotFoundError()))
    with pytest.raises(ConfigError, match="this folder is gone"):
        found_lab.working_directory()


def test_exec_asks_for_a_program_that_is_there(tmp_path: Path) -> None:
    env = {"CI_KEY": "sk-test-0123456789", "OPENAI_API_KEY": "sk-test-9876543210"}
    words = ("exec", "-q", "--secret=N=env:CI_KEY", "--secret", "OPENAI_API_KEY", "no-such-program")
    ran = call(*words, cwd=tmp_path, env=env)
    assert (ran.code, ran.error["error"]) == (127, "no-such-program cannot be run")
    assert "sk-test" not in ran.err


def test_exec_wants_a_lab_or_a_named_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    bad = execution.ExecOptions()
    bad.pairs.append("sk-1=x")
    with pytest.raises(ConfigError, match="there is no lab here"):
        execution.run_program(["true"], execution.ExecOptions())
    with pytest.raises(UsageError, match="NAME or NAME=REF"):
        execution.run_program(["true"], bad)


def test_exec_reports_its_own_usage_in_three_lines(tmp_path: Path) -> None:
    ran = call("exec", "--verbose", "--no-color", cwd=tmp_path)
    assert (ran.code, ran.error["fix"]) == (125, "keyturn exec --help")
