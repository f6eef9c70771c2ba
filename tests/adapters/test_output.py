"""The secret's way out to a pipe."""

import os
import subprocess
import sys

import pytest

from bootstrap.adapters import output
from bootstrap.domain.secret import Secret
from support.homes import REPOSITORY

AWKWARD = "sk-test 'it''s' $HOME `id` \\ \" ü\nsecond line"


def test_a_value_is_written_raw_and_ends_in_one_newline(capfd: pytest.CaptureFixture[str]) -> None:
    output.write_secret(Secret(AWKWARD))
    assert capfd.readouterr().out == AWKWARD + "\n"


@pytest.mark.integration
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_that_evaluates_the_exports_has_the_exact_values(
    capfd: pytest.CaptureFixture[str], shell: str
) -> None:
    output.write_exports({"ONE": Secret(AWKWARD), "TWO": Secret("plain")})
    script = capfd.readouterr().out + 'printf "%s|" "$ONE" "$TWO"'
    ran = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == f"{AWKWARD}|plain|"


def test_bytes_that_are_no_text_pass_unchanged(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output.write_secret(Secret(os.fsdecode(b"sk-test-\xff")))
    assert capfdbinary.readouterr().out == b"sk-test-\xff\n"


def test_a_pipe_is_no_terminal_and_a_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    controller, terminal = os.openpty()
    monkeypatch.setattr(output, "_STDOUT", writing)
    assert not output.is_terminal()
    monkeypatch.setattr(output, "_STDOUT", terminal)
    assert output.is_terminal()
    for handle in (reading, writing, controller, terminal):
        os.close(handle)


@pytest.mark.integration
def test_a_pipe_that_takes_little_at_a_time_gets_everything() -> None:
    program = (
        "from bootstrap.adapters.output import *\n"
        "from bootstrap.domain.secret import Secret\n"
        "write_secret(Secret('s' * 300_000))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as child:
        assert child.stdout is not None
        assert child.stdout.read() == b"s" * 300_000 + b"\n"
    assert child.returncode == 0
