"""A program gets its secrets in its environment, and keyturn's process becomes that program."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootstrap.adapters.become import child_environment
from bootstrap.domain.secret import Secret
from support.homes import REPOSITORY

pytestmark = pytest.mark.integration

BECOME = """
import json, os, sys
from bootstrap.adapters.become import become, child_environment
from bootstrap.domain.errors import LabError
from bootstrap.domain.secret import Secret
request = json.loads(sys.argv[1])
print(os.getpid(), "parent")
try:
    secrets = {name: Secret(text) for name, text in request["secrets"].items()}
    become(request["argv"], child_environment(os.environ, secrets))
except LabError as error:
    print(error.what, error.why, error.fix, sep="|")
    sys.exit(error.exit_code)
"""
CHILD = """
import json, os, signal
print(json.dumps({
    "pid": os.getpid(), "key": os.environ.get("KEY"), "arguments": __import__("sys").argv[1:],
    "ignored": open("/proc/self/status").read().split("SigIgn:")[1].split()[0],
}))
"""


def run(
    argv: list[str], secrets: dict[str, str] | None = None, **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Become `argv` in another process."""
    request = json.dumps({"argv": argv, "secrets": secrets or {}})
    return subprocess.run(
        [sys.executable, "-c", BECOME, request],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


class TestChildEnvironment:
    def test_it_is_the_parents_with_the_secrets(self) -> None:
        parent = {"PATH": "/bin", "KEY": "stale"}
        child = child_environment(parent, {"KEY": Secret("sk-test-1")})
        assert child == {"PATH": "/bin", "KEY": "sk-test-1"}
        assert parent["KEY"] == "stale"

    def test_what_could_decrypt_more_is_withheld(self) -> None:
        parent = {
            "SOPS_AGE_KEY": "1", "SOPS_AGE_KEY_FILE": "2", "DIRENV_DIFF": "3",
            "CREDENTIALS_DIRECTORY": "4", "CI_KEY": "5", "SOPS_EDITOR": "6", "HOME": "7",
        }  # fmt: skip
        child = child_environment(parent, {}, withheld=["CI_KEY"])
        assert child == {"SOPS_EDITOR": "6", "HOME": "7"}

    def test_what_is_kept_passes_and_a_secret_may_have_any_name(self) -> None:
        parent = {"SOPS_AGE_KEY": "1", "DIRENV_DIR": "2", "CI_KEY": "3"}
        child = child_environment(
            parent,
            {"CI_KEY": Secret("sk-test-1")},
            withheld=["CI_KEY"],
            keep=["SOPS_AGE_KEY"],
        )
        assert child == {"SOPS_AGE_KEY": "1", "CI_KEY": "sk-test-1"}


class TestBecome:
    def test_the_process_becomes_the_program_with_secrets_and_arguments(self) -> None:
        ran = run([sys.executable, "-c", CHILD, "a b", "--", ""], {"KEY": "sk-test-1"})
        parent, child = ran.stdout.splitlines()
        told = json.loads(child)
        assert f"{told['pid']} parent" == parent
        assert told["key"] == "sk-test-1"
        assert told["arguments"] == ["a b", "--", ""]

    def test_sigpipe_and_sigxfsz_end_the_program_as_they_usually_do(self) -> None:
        told = json.loads(run([sys.executable, "-ISc", CHILD]).stdout.splitlines()[1])
        # The child is Python too, which ignores both again: so ask one that is not.
        status = run(["grep", "SigIgn", "/proc/self/status"]).stdout.split()[-1]
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            assert int(told["ignored"], 16) & 1 << (number - 1)
            assert not int(status, 16) & 1 << (number - 1)

    @pytest.mark.parametrize("code", [0, 1, 77, 255])
    def test_the_exit_status_is_the_programs_own(self, code: int) -> None:
        assert run(["sh", "-c", f"exit {code}"]).returncode == code

    def test_a_signal_that_kills_the_program_is_seen_as_such(self) -> None:
        assert run(["sh", "-c", "kill -TERM $$"]).returncode == -signal.SIGTERM

    @pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", ""])
    def test_a_missing_program_is_127(self, program: str) -> None:
        ran = run([program], {"KEY": "sk-test-secret-1"})
        assert ran.returncode == 127
        assert f"{program} cannot be run|" in ran.stdout
        assert "sk-test-secret-1" not in ran.stdout + ran.stderr

    def test_a_path_through_a_file_is_a_missing_program(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert run([str(tmp_path / "file/program")]).returncode == 127
        on_path = {**os.environ, "PATH": f"{os.environ['PATH']}:{tmp_path}/file"}
        assert run(["no-such-program"], env=on_path).returncode == 127

    def test_a_program_whose_interpreter_is_missing_is_127(self, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("#!/no/such/interpreter\n")
        (tmp_path / "script").chmod(0o755)
        ran = run([str(tmp_path / "script")])
        assert ran.returncode == 127
        assert "the interpreter that it names" in ran.stdout

    def test_a_program_that_is_not_executable_is_126(self, tmp_path: Path) -> None:
        (tmp_path / "script").write_text("#!/bin/sh\n")
        ran = run([str(tmp_path / "script")])
        assert ran.returncode == 126
        assert ran.stdout.endswith(f"it is not executable|chmod +x {tmp_path / 'script'}\n")

    @pytest.mark.parametrize("folder", [".", "..", "/", "./"])
    def test_a_folder_is_126_and_not_said_to_lack_a_permission(self, folder: str) -> None:
        ran = run([folder])
        assert ran.returncode == 126
        assert ran.stdout.endswith("it is a folder|name a program in it\n")

    def test_a_file_that_is_no_program_is_126_and_not_said_to_lack_a_permission(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "data").write_bytes(b"\0\1\2 no program")
        (tmp_path / "data").chmod(0o755)
        ran = run([str(tmp_path / "data")])
        assert ran.returncode == 126
        assert f"exec format error|look at it: file {tmp_path / 'data'}" in ran.stdout

    @pytest.mark.parametrize("text", ["sk-test-\0-nul", "sk-test-\ud800-half"])
    def test_a_secret_that_no_environment_can_hold_is_125_and_not_shown(self, text: str) -> None:
        ran = run(["true"], {"KEY": text})
        assert ran.returncode == 125
        assert "a secret holds a NUL or is not Unicode" in ran.stdout
        assert "sk-test" not in ran.stdout + ran.stderr
