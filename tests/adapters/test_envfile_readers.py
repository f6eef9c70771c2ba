"""What `quote` writes is read alike by the real programs that read env files.

Each reader gets two loads: every text of one or two printable characters, and every text of
three of those that some reader treats specially (exhaustive, in one file); and longer texts that
hypothesis makes up.
"""

import io
import itertools
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bootstrap.domain.envfile import quote
from bootstrap.domain.errors import TargetError
from support.sessions import UserSystemd

pytestmark = pytest.mark.integration

PRINTABLE = [chr(code) for code in range(32, 127)]
SPECIAL = [c for c in PRINTABLE if not c.isalnum()] + ["a"]
TRICKY = "".join(c for c in SPECIAL if c != "'")

Reader = Callable[[Path], Mapping[str, str]]


def accepted(texts: list[str]) -> dict[str, str]:
    """Return variables V0, V1 … for the texts that `quote` does not refuse."""
    values = {}
    for number, text in enumerate(texts):
        try:
            quote(text)
        except TargetError:
            continue
        values[f"V{number}"] = text
    return values


def write(path: Path, values: Mapping[str, str]) -> Path:
    path.write_text("".join(f"{name}={quote(text)}\n" for name, text in values.items()))
    return path


def environment_of(output: str) -> dict[str, str]:
    """Parse the output of `env -0`, our variables only."""
    pairs = (entry.partition("=") for entry in output.split("\0") if entry)
    return {name: text for name, _, text in pairs if name[0] == "V" and name[1:].isdigit()}


def shell(program: str) -> Reader:
    def read(path: Path) -> Mapping[str, str]:
        script = 'set -a; . "$1"; set +a; exec env -0'
        done = subprocess.run(
            [program, "-c", script, program, path],
            capture_output=True,
            text=True,
            check=True,
            cwd=path.parent,
        )
        assert done.stderr == ""
        return environment_of(done.stdout)

    return read


def direnv(path: Path) -> Mapping[str, str]:
    done = subprocess.run(
        ["direnv", "dotenv", "json", path], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout))


def python_dotenv(path: Path, *, interpolate: bool) -> Mapping[str, str]:
    lines = path.read_text().splitlines(keepends=True)
    found: dict[str, str] = {}
    for first in range(0, len(lines), 200):  # its time grows with the square of their number
        text = io.StringIO("".join(lines[first : first + 200]))
        values = dotenv_values(stream=text, interpolate=interpolate)
        found |= {name: value or "" for name, value in values.items()}
    return found


READERS: dict[str, Reader] = {
    "bash": shell("bash"),
    "dash": shell("dash"),
    "zsh": shell("zsh"),
    "direnv": direnv,
    "python-dotenv": lambda path: python_dotenv(path, interpolate=True),
    "python-dotenv without interpolation": lambda path: python_dotenv(path, interpolate=False),
}


@pytest.fixture(params=list(READERS))
def reader(request: pytest.FixtureRequest) -> Reader:
    return READERS[request.param]


@pytest.fixture(scope="module")
def every_short_text() -> dict[str, str]:
    short = (itertools.product(PRINTABLE, repeat=length) for length in (0, 1, 2))
    triples = itertools.product(SPECIAL, repeat=3)
    return accepted(["".join(letters) for letters in itertools.chain(*short, triples)])


def chunks(values: dict[str, str], size: int = 4000) -> list[dict[str, str]]:
    """Split `values`: the environment of a process holds some 100,000 variables at most."""
    names = iter(values)
    parts = iter(lambda: {n: values[n] for n in itertools.islice(names, size)}, {})
    return list(parts)


@pytest.mark.faults
def test_every_short_text_is_read_back(
    reader: Reader, every_short_text: dict[str, str], tmp_path: Path
) -> None:
    assert len(every_short_text) > 9000
    for part in chunks(every_short_text):
        assert reader(write(tmp_path / "short.env", part)) == part


@settings(
    max_examples=15,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.text(alphabet=TRICKY + "bZ0", max_size=40), min_size=20, max_size=60))
def test_long_texts_are_read_back(reader: Reader, tmp_path: Path, texts: list[str]) -> None:
    values = accepted(texts)
    assert reader(write(tmp_path / "long.env", values)) == values


@pytest.mark.faults
def test_systemd_reads_every_short_text_back(
    user_systemd: Callable[..., UserSystemd], every_short_text: dict[str, str], tmp_path: Path
) -> None:
    session = user_systemd(journal=False)
    output = tmp_path / "environment"
    for part in chunks(every_short_text):
        path = write(tmp_path / "short.env", part)
        session.check(
            *("systemd-run", "--user", "--quiet", "--wait", "--collect"),
            *("-p", f"EnvironmentFile={path}", "-p", f"StandardOutput=truncate:{output}"),
            *("env", "-0"),
        )
        assert environment_of(output.read_text()) == part
