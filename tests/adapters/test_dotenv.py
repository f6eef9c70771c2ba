"""Reading our own env files."""

from pathlib import Path

import pytest

from bootstrap.adapters.dotenv import read_env_file
from bootstrap.domain.envfile import quote
from bootstrap.domain.errors import TargetError
from bootstrap.domain.secret import Secret


def env_file(folder: Path, data: str | bytes) -> Path:
    path = folder / "litellm.env"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_values_come_as_secrets_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = env_file(tmp_path, f"# Written by keyturn\nB={quote('two words')}\n\nA=sk-test-1\nC=\n")
    values = read_env_file(path)
    assert list(values) == ["B", "A", "C"]
    assert values == {"B": Secret("two words"), "A": Secret("sk-test-1"), "C": ""}
    assert "two words" not in repr(values)


def test_a_reference_to_a_variable_is_not_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", "expanded")
    values = read_env_file(env_file(tmp_path, "A=x${OTHER}\n"))
    assert values == {"A": Secret("x${OTHER}")}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("A=sk-test-1\n\nA=sk-test-2\n", "line 3 sets again what line 1 has set"),
        ("A=sk-test-1\nsk-test-2\n", "line 2 is no assignment"),
        ("A=sk-test-1\n\nB='sk-test-2\n", "line 3 is no assignment"),
        (b"A=sk-test-\xff\n", "not UTF-8"),
    ],
)
def test_a_malformed_file_is_refused_by_line_without_its_text(
    tmp_path: Path, data: str | bytes, why: str
) -> None:
    path = env_file(tmp_path, data)
    with pytest.raises(TargetError) as caught:
        read_env_file(path)
    error = caught.value
    assert why in error.why
    assert str(path) in error.what
    assert "sk-test" not in f"{error} {error.fix}"


def test_a_missing_file_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="there is no env file") as caught:
        read_env_file(tmp_path / "none.env")
    assert "keyturn apply" in caught.value.fix


def test_a_folder_in_its_place_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="cannot read the env file"):
        read_env_file(tmp_path)
