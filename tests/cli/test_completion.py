"""What a shell offers after the words of a command line."""

from pathlib import Path

import pytest

from bootstrap.cli.app import run

LAB = """
version = 1
[secrets.OPENAI_API_KEY]
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "lab.toml").write_text(LAB)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_KEYTURN_COMPLETE", "complete_bash")
    return folder


def offered(
    line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    assert run([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("keyturn rot", {"rotate"}),
        ("keyturn -q key ", {"issue", "list", "revoke", "rotate"}),
        ("keyturn service ", {"status", "start", "stop", "restart", "log"}),
        ("keyturn shell-init ", {"bash", "zsh", "fish"}),
        ("keyturn explain KT105", {"KT105"}),
        ("keyturn check --d", {"--deep"}),
        ("keyturn exec --c", {"--clean", "--client"}),
        ("keyturn exec --lab x --mas", {"--mask", "--master"}),
        ("keyturn get LITELLM_M", set()),
    ],
)
def test_words_that_fit_are_offered(
    line: str,
    words: set[str],
    lab: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(offered(line, capsys, monkeypatch)) == words


@pytest.mark.parametrize("line", ["keyturn get O", "keyturn rotate O", "keyturn get --reveal O"])
def test_the_names_of_a_lab_s_secrets_are_offered(
    line: str, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lab)
    assert offered(line, capsys, monkeypatch) == ["OPENAI_API_KEY"]


@pytest.mark.parametrize("line", ["keyturn --lab {} get O", "keyturn get --lab {} O"])
def test_they_are_those_of_the_lab_that_the_line_names(
    line: str, lab: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offered(line.format(lab), capsys, monkeypatch) == ["OPENAI_API_KEY"]
