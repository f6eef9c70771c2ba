"""The lab's .envrc under the real direnv, and sourced by hand in bash and zsh.

A stub stands in for keyturn: it logs how it was called and prints what the file `exports` holds,
or fails where there is none, as the real one does when nothing can be decrypted.
"""

import os
import pty
import shlex
import subprocess
from pathlib import Path

import pytest

from bootstrap.domain.template import render
from support import leaks
from support.homes import REPOSITORY

pytestmark = pytest.mark.integration

VALUE = 'sk-test-it\'s $HOME `id` "x" \\n #!'
NAMES = ["LITELLM_MASTER_KEY", "OPENAI_API_KEY"]
# direnv compares whole seconds.
TOUCH = "touch -d 2040-01-01 secrets/global.enc.env"
ROTATE = f"echo export LITELLM_MASTER_KEY=sk-test-rotated > exports; {TOUCH}"
STUB = """#!/bin/sh
[ "$1" = --lab ] && cd -- "$2" && shift 2 && printf '%s|%s\\n' "$PWD" "$*" >> {lab}/calls
exec cat {lab}/exports
"""


class Lab:
    """A folder with a rendered .envrc and a stub of keyturn.

    Args:
        root: The folder; made here.
        names: Secrets that the .envrc asks for.
    """

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root = root
        self.program = root / "bin dir" / "keyturn"
        self.program.parent.mkdir(parents=True)
        self.program.write_text(STUB.format(lab=shlex.quote(str(root))))
        self.program.chmod(0o700)
        self.store = root / "secrets" / "global.enc.env"
        self.store.parent.mkdir()
        self.store.write_text("first\n")
        self.answer(VALUE)
        self.envrc = root / ".envrc"
        source = (REPOSITORY / "templates" / "direnv" / "envrc.j2").read_text()
        watch = ["secrets/global.enc.env", "lab.toml"]
        values = {"keyturn": str(self.program), "names": names, "watch": watch}
        self.envrc.write_bytes(render(source, values, name="direnv/envrc.j2").data)

    def answer(self, value: str | None) -> None:
        """Let the stub hand out `value` for every name, or fail."""
        exports = self.root / "exports"
        exports.unlink(missing_ok=True)
        if value is not None:
            exports.write_text("".join(f"export {n}={shlex.quote(value)}\n" for n in NAMES))

    def calls(self) -> list[tuple[Path, str]]:
        """Return the lab and the other arguments for each time the stub was called."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(Path(line.partition("|")[0]), line.partition("|")[2]) for line in lines]

    def run(self, *argv: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in argv],
            cwd=cwd or self.root,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=30,
        )

    def direnv_exec(self, script: str) -> subprocess.CompletedProcess[str]:
        self.run("direnv", "allow").check_returncode()
        return self.run("direnv", "exec", self.root, "sh", "-c", script)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "my lab", NAMES)


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_first_line_says_who_writes_the_file(lab: Lab) -> None:
    first, *_ = lab.envrc.read_text().splitlines()
    assert first.startswith("# Written by keyturn")


class TestUnderDirenv:
    def test_the_secrets_are_in_the_environment_exactly(self, lab: Lab) -> None:
        done = lab.direnv_exec('printf %s "$LITELLM_MASTER_KEY"; printf %s "$OPENAI_API_KEY"')
        assert done.stdout == VALUE + VALUE
        assert done.returncode == 0

    def test_one_process_reads_all_of_them_from_this_lab(self, lab: Lab) -> None:
        lab.direnv_exec("true")
        assert lab.calls() == [(lab.root, "get --shell LITELLM_MASTER_KEY OPENAI_API_KEY")]

    def test_the_program_does_not_run_when_the_secrets_cannot_be_read(self, lab: Lab) -> None:
        lab.answer(None)
        done = lab.direnv_exec("echo it ran")
        assert done.returncode != 0
        assert "it ran" not in done.stdout
        assert "could not be read" in done.stderr

    def test_a_rotation_is_noticed_at_the_next_prompt(self, lab: Lab) -> None:
        assert self.at_prompts(lab, ROTATE) == f"{VALUE}|sk-test-rotated|"

    def test_a_store_that_breaks_takes_the_secrets_away(self, lab: Lab) -> None:
        assert self.at_prompts(lab, f"rm exports; {TOUCH}") == f"{VALUE}||"

    def test_a_mended_store_is_loaded_by_direnv_reload_as_the_message_says(self, lab: Lab) -> None:
        lab.answer(None)
        os.utime(lab.envrc, (0, 0))  # reload is noticed by the whole second, too
        assert "run: direnv reload" in lab.direnv_exec("true").stderr
        assert self.at_prompts(lab, f"{ROTATE}; direnv reload") == "|sk-test-rotated|"

    def at_prompts(self, lab: Lab, between: str) -> str:
        """Return the key at two prompts of a shell with direnv's hook, each followed by `|`."""
        lab.run("direnv", "allow").check_returncode()
        prompt = 'eval "$(direnv export bash)"; printf "%s|" "$LITELLM_MASTER_KEY"'
        return lab.run("bash", "-c", f"{prompt}; {between}; {prompt}").stdout

    def test_no_helper_of_ours_stays_in_the_environment(self, lab: Lab) -> None:
        assert "_keyturn" not in lab.direnv_exec("env").stdout


class TestSourced:
    def source(
        self, lab: Lab, shell: str, before: str = "", after: str = "", cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        options = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}[shell]
        target = "./.envrc" if cwd is None else shlex.quote(str(lab.envrc))
        script = f"{before}\nsource {target}\n{after}"
        return lab.run(shell, *options, "-c", script, cwd=cwd)

    def test_the_secrets_are_exported_exactly(self, lab: Lab, shell: str) -> None:
        after = 'echo "status $?"; sh -c \'printf %s "$OPENAI_API_KEY"\''
        done = self.source(lab, shell, after=after)
        assert done.stdout == f"status 0\n{VALUE}"
        assert done.stderr == ""

    def test_it_works_from_another_folder(self, lab: Lab, shell: str, tmp_path: Path) -> None:
        done = self.source(lab, shell, after='printf %s "$OPENAI_API_KEY"', cwd=tmp_path)
        assert done.stdout == VALUE
        assert [folder for folder, _ in lab.calls()] == [lab.root]

    def test_it_works_by_its_bare_name(self, lab: Lab) -> None:
        # Only bash finds a file without a slash in the current folder.
        done = lab.run("bash", "-c", 'source .envrc; printf %s "$OPENAI_API_KEY"')
        assert done.stdout == VALUE

    def test_a_failure_returns_non_zero_keeps_the_shell_and_leaves_nothing_set(
        self, lab: Lab, shell: str
    ) -> None:
        lab.answer(None)
        done = self.source(
            lab,
            shell,
            before="export LITELLM_MASTER_KEY=sk-test-stale",
            after='echo "status $?, key ${LITELLM_MASTER_KEY-unset}, $(set | grep -c ^_keyturn_)"',
        )
        assert done.stdout == "status 1, key unset, 0\n"
        assert "could not be read" in done.stderr

    def test_it_works_in_a_strict_shell(self, lab: Lab, shell: str) -> None:
        done = self.source(lab, shell, before="set -euo pipefail", after="echo still here")
        assert done.stdout == "still here\n"
        assert done.stderr == ""

    def test_a_strict_shell_stops_where_the_secrets_cannot_be_read(
        self, lab: Lab, shell: str
    ) -> None:
        lab.answer(None)
        done = self.source(lab, shell, before="set -eu", after="echo still here")
        assert done.returncode == 1
        assert done.stdout == ""

    def test_a_trace_shows_no_value_and_goes_on_afterwards(self, lab: Lab, shell: str) -> None:
        lab.answer("sk-test-traced")
        done = self.source(lab, shell, before="set -x", after="echo afterwards")
        assert (
            leaks.find("sk-test-traced", texts={"stdout": done.stdout, "trace": done.stderr}) == []
        )
        assert "echo afterwards" in done.stderr

    def test_a_keyturn_that_moved_is_found_on_the_path(
        self, lab: Lab, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        lab.program.parent.rename(elsewhere)
        monkeypatch.setenv("PATH", str(elsewhere), prepend=":")
        done = self.source(lab, shell, after='printf %s "$OPENAI_API_KEY"')
        assert done.stdout == VALUE

    def test_without_any_keyturn_it_says_so(self, lab: Lab, shell: str) -> None:
        lab.program.unlink()
        done = self.source(lab, shell, after="echo $?")
        assert done.stdout == "1\n"
        assert "could not be read" in done.stderr
        assert "keyturn" in done.stderr

    def test_an_interactive_shell_stays_open_after_a_failure(self, lab: Lab, shell: str) -> None:
        lab.answer(None)
        options = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}[shell]
        screen = type_into(
            [shell, *options, "-i"], ["source ./.envrc", "echo alive-$((40+2))"], lab
        )
        assert "alive-42" in screen


def type_into(argv: list[str], lines: list[str], lab: Lab) -> str:
    """Type lines and `exit` into a program on a terminal of its own; return what it showed."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        argv, stdin=child, stdout=child, stderr=child, cwd=lab.root, start_new_session=True
    )
    os.close(child)
    os.write(parent, "".join(f"{line}\n" for line in [*lines, "exit"]).encode())
    screen = b""
    while True:
        try:
            part = os.read(parent, 4096)
        except OSError:  # Linux says EIO when the last program has closed the terminal
            break
        screen += part
    os.close(parent)
    process.wait(30)
    return screen.decode(errors="replace")
