"""What all commands have in common: streams, errors, progress."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from bootstrap import main as entry
from bootstrap.cli import exec_command
from bootstrap.cli.app import run as run_app
from bootstrap.cli.exec_command import run_exec
from bootstrap.cli.progress import Plain, Quiet
from bootstrap.cli.session import Session, guarded
from bootstrap.cli.terminal import Spinner, Terminal
from bootstrap.domain.errors import ConfigError, Interrupted, LockedError, TargetError
from bootstrap.domain.secret import Secret
from bootstrap.wiring import execution, found_lab, output
from support.homes import environment
from support.labs import MODULE

KEY = "sk-test-0123456789abcdef"
MISSING = ConfigError("what\x1b[31m", why="why\nwith a second line", fix="fix")


def failing(error: BaseException) -> object:
    raise error


def ended(error: BaseException, session: Session | None = None) -> int:
    return guarded(session or Session(), lambda: failing(error))  # type: ignore[arg-type,return-value]


def test_an_error_is_three_lines_with_nothing_that_a_terminal_would_obey(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(MISSING) == 1
    assert capsys.readouterr().err == (
        "error: what\N{REPLACEMENT CHARACTER}[31m\ncause: why\nwith a second line\nfix:   fix\n"
    )


def test_an_error_brings_its_own_exit_code() -> None:
    assert ended(LockedError("locked", why="why", fix="fix")) == 7


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Interrupted(signal.SIGINT), 130),
        (Interrupted(signal.SIGTERM), 143),
        (Interrupted(signal.SIGHUP), 129),
    ],
)
def test_an_interruption_tells_which_signal(
    stop: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(stop) == code
    assert "as before or complete" in capsys.readouterr().err


def test_a_bug_shows_where_it_is_and_nothing_that_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(RuntimeError(f"cannot use {KEY}")) == 70
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert "test_session.py" in said
    assert KEY not in said


def test_a_bug_in_exec_shows_its_kind_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(execution, "run_program", lambda *_, **__: failing(RuntimeError(KEY)))
    assert run_exec(["--", "true"]) == 125
    said = capsys.readouterr().err
    assert "RuntimeError" in said
    assert KEY not in said
    monkeypatch.setattr(execution, "run_program", lambda *_, **__: failing(KeyboardInterrupt()))
    assert run_exec(["--", "true"]) == 130


def test_quiet_says_nothing_but_errors(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(quiet=True)
    session.print("nothing")
    with session.progress.step("nothing"):
        session.progress.note("nothing")
    assert capsys.readouterr() == ("", "")
    assert isinstance(session.progress, Quiet)


def test_json_goes_alone_unless_more_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(as_json=True)
    session.print("nothing")
    session.document({"name": "ü"})
    assert capsys.readouterr().out == '{\n  "name": "ü"\n}\n'
    assert isinstance(session.progress, Quiet)
    assert isinstance(Session(as_json=True, verbose=True).progress, Plain)


class Shown(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_spinner_and_colours_unless_it_wants_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for color, kind, escapes in ((True, Spinner, True), (False, Plain, False)):
        shown = Shown()
        monkeypatch.setattr(sys, "stderr", shown)
        session = Session(color=color)
        assert type(session.progress) is kind
        assert ended(MISSING, session) == 1
        assert "what" in shown.getvalue()
        assert ("\x1b[1;31m" in shown.getvalue()) == escapes


def test_there_is_one_document_though_something_fails_after_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = Session(as_json=True)
    session.document({"name": "value"})
    assert ended(MISSING, session) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {"name": "value"}
    assert said.err.startswith("error: what")


def test_a_full_disk_behind_standard_output_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        session = Session()
        assert guarded(session, lambda: session.print("text")) == 1
        asked = Session(as_json=True)
        assert guarded(asked, lambda: asked.document("x" * 100_000)) == 1
        with pytest.raises(OSError, match="space"):
            full.close()
    assert "no space left" in capsys.readouterr().err


class Gone(io.StringIO):
    """A reader that has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    flush = write  # type: ignore[assignment]


def test_a_reader_that_has_gone_is_for_main_to_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())
    session = Session()
    with pytest.raises(BrokenPipeError):
        guarded(session, lambda: session.print("text"))


def test_progress_goes_on_although_nobody_reads_it() -> None:
    done = []
    for kind in (Plain, Spinner):
        progress = kind(Terminal(file=Gone(), color_system=None, soft_wrap=True))
        with progress.step("one"):
            progress.note("two")
            done.append(kind)
    assert done == [Plain, Spinner]


def test_a_spinner_takes_brackets_for_what_they_are_and_keeps_long_steps() -> None:
    shown = io.StringIO()
    progress = Spinner(Terminal(file=shown, force_terminal=True, color_system=None))
    progress.WORTH_A_LINE_S = 0.0
    with progress.step("write [/lab] to /tmp/[red]"):
        progress.note("note [b]")
    assert "✓ write [/lab] to /tmp/[red] 0." in shown.getvalue()
    assert "note [b]" in shown.getvalue()


def test_a_short_step_leaves_no_line() -> None:
    shown = io.StringIO()
    with Spinner(Terminal(file=shown, force_terminal=True, color_system=None)).step("short"):
        pass
    assert "✓" not in shown.getvalue()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (BrokenPipeError(), 1, ""),
        (KeyboardInterrupt(), 130, ""),
        (OSError(28, "x"), 1, "error: the output is incomplete\ncause: no space left on device\n"),
    ],
)
def test_main_ends_quietly(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    kept = [os.dup(1), os.dup(2)]
    monkeypatch.setattr(entry, "_run", lambda words: failing(error))
    try:
        assert entry.main() == code
    finally:
        for descriptor, copy in enumerate(kept, 1):
            os.dup2(copy, descriptor)
            os.close(copy)
    assert capfd.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    "words", [["explain"], ["explain", "--json"], ["list", "--json", "--lab", "/nowhere"]]
)
def test_an_output_that_cannot_be_written_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    def silence(stream: TextIO) -> None:
        with Path(os.devnull).open("w") as null:
            os.dup2(null.fileno(), stream.fileno())

    monkeypatch.setattr(entry, "_silence", silence)
    monkeypatch.setattr(sys, "argv", ["keyturn", *words])
    with monkeypatch.context() as patched, Path("/dev/full").open("w") as full:
        patched.setattr(sys, "stdout", full)
        assert entry.main() == 1
    said = capsys.readouterr().err
    assert said.count("error: ") == 1
    if words[0] == "explain":
        assert said.startswith("error: standard output cannot be written\ncause: no space left")


@pytest.mark.integration
@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        (["--version"], "<&- >&-", 0),
        (["exec", "--help"], "2>&-", 0),
        (["exec", "--help"], ">/dev/full 2>/dev/full", 125),
        (["exec", "--nope"], "2>/dev/full", 125),
        (["exec", "--secret", "K=env:LANG", "--", "no-such"], "2>/dev/full", 127),
        (["exec", "--secret", "K=env:LANG", "--", "sh", "-c", "exit 9"], "2>/dev/full", 9),
        (["list"], "<&- >&- 2>&-", 1),
        (["list", "--lab", "/nowhere"], "2>/dev/full", 1),
    ],
)
def test_closed_or_full_standard_streams_do_no_harm(
    tmp_path: Path, words: list[str], closed: str, code: int
) -> None:
    ran = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {closed}', "sh", *MODULE, *words],
        env=environment(tmp_path, LANG="C.UTF-8"),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (code, "")


@pytest.mark.integration
def test_a_terminal_of_another_encoding_gets_escapes_instead_of_a_crash(tmp_path: Path) -> None:
    folder = tmp_path / "läb ☃"
    folder.mkdir()
    script = "import sys; from bootstrap.main import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", script, "--lab", str(folder), "plan", "--json"],
        env=environment(tmp_path, PYTHONIOENCODING="ascii"),
        capture_output=True,
    )
    assert ran.returncode == 1
    assert b"l\\xe4b \\u2603" in ran.stdout


def test_a_secret_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "write_secret", lambda secret: failing(OSError(28, KEY)))
    with pytest.raises(TargetError) as caught:
        output.write({"NAME": Secret(KEY)}, shell=False)
    assert KEY not in str(caught.value)
    monkeypatch.setattr(output, "write_exports", lambda secrets: failing(BrokenPipeError()))
    with pytest.raises(BrokenPipeError):
        output.write({"NAME": Secret(KEY)}, shell=True)  # noqa: S604 - no shell is run


def test_no_secret_is_looked_up_for_a_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdout__", None)
    with pytest.raises(TargetError, match="standard output is closed"):
        output.refuse_unless_possible(["NAME"], shell=False, reveal=False)


def test_the_keyturn_that_other_programs_call_is_the_one_beside_this_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert found_lab.keyturn_program() == str(Path(sys.executable).parent / "keyturn")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    found = tmp_path / "bin" / "keyturn"
    found.parent.mkdir()
    found.write_text("#!/bin/sh\n")
    found.chmod(0o755)
    monkeypatch.setenv("PATH", str(found.parent))
    assert found_lab.keyturn_program() == str(found)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "own")])
    assert found_lab.keyturn_program() == str(tmp_path / "own")


def test_what_stands_before_exec_reaches_it_and_what_follows_stays_as_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passed: list[str] = []

    def run_exec(words: list[str]) -> int:
        passed.extend(words)
        return 0

    monkeypatch.setattr(exec_command, "run_exec", run_exec)
    typed = ["--keep", "A", "git", "log", "-q", "--", "-x", "--"]
    assert run_app(["-q", "-v", "--lab", "/lab", "exec", *typed]) == 0
    assert passed == ["--lab", "/lab", "--quiet", *typed]
