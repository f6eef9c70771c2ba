"""Which version of a client is installed, and that it is asked once."""

import os
from pathlib import Path

import pytest

from bootstrap.adapters.client_version import ClientVersions

pytestmark = pytest.mark.integration

SAYS = """#!/bin/sh
echo x >>"$(dirname "$0")/../asked"
env >"$(dirname "$0")/../saw"
echo "{words}"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def program(folder: Path, words: str, name: str = "client-x") -> Path:
    path = folder / name
    path.write_text(SAYS.format(words=words))
    path.chmod(0o755)
    return path


def asked(folder: Path) -> int:
    file = folder.parent / "asked"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_the_package_beside_a_program_says_it_and_the_program_is_not_run(
    programs: Path, tmp_path: Path
) -> None:
    program(programs, "9.9.9")
    (programs.parent / "package.json").write_text('{"version": "2.1.197"}')
    assert ClientVersions(tmp_path)("client-x") == "2.1.197"
    assert asked(programs) == 0


def test_the_name_of_its_file_says_it_too(programs: Path, tmp_path: Path) -> None:
    program(programs, "9.9.9", "2.1.4")
    (programs / "client-x").symlink_to("2.1.4")
    assert ClientVersions(tmp_path)("client-x") == "2.1.4"
    assert asked(programs) == 0


def test_a_program_is_asked_once_until_it_changes_and_sees_nothing_of_ours(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk-test-exported")
    path = program(programs, "client 0.20.0 (x)")
    folder = tmp_path / "cache"
    versions = ClientVersions(folder)
    assert [versions("client-x"), versions("client-x")] == ["0.20.0"] * 2
    assert ClientVersions(folder)("client-x") == "0.20.0"
    assert asked(programs) == 1
    saw = (programs.parent / "saw").read_text()
    assert "sk-test-exported" not in saw
    assert f"HOME={os.environ['HOME']}\n" not in saw
    program(programs, "client v0.21.0")
    os.utime(path, (1, 1))
    assert ClientVersions(folder)("client-x") == "0.21.0"
    for text in ("{", "[]", '{"a": 1}', f'{{"{path}": ["x"]}}'):
        (folder / "client-versions.json").write_text(text)
        assert ClientVersions(folder)("client-x") == "0.21.0"


@pytest.mark.parametrize("words", ["no version", "1", "", "12345678901.2"])
def test_what_is_no_version_is_none(programs: Path, tmp_path: Path, words: str) -> None:
    program(programs, words)
    assert ClientVersions(tmp_path)("client-x") == ""


def test_a_program_that_is_missing_fails_or_hangs_has_none(programs: Path, tmp_path: Path) -> None:
    versions, hasty = ClientVersions(tmp_path), ClientVersions(tmp_path, 0.2)
    assert versions("no-such-client") == ""
    (programs / "fails").write_text("#!/bin/sh\necho 1.2.3; exit 3\n")
    (programs / "hangs").write_text("#!/bin/sh\nexec sleep 60\n")
    (programs / "empty").write_bytes(b"\x00")
    for name in ("fails", "hangs", "empty"):
        (programs / name).chmod(0o755)
        assert (hasty if name == "hangs" else versions)(name) == ""


def test_a_place_that_cannot_be_written_costs_only_the_next_question(
    programs: Path, tmp_path: Path
) -> None:
    program(programs, "1.2.3")
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert ClientVersions(tmp_path / "file" / "folder")("client-x") == "1.2.3"
    assert asked(programs) == 2
