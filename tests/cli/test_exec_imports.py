"""What `keyturn exec` loads, since every module is time that a person waits."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootstrap.lean import NEEDED, NEEDED_FIRST
from support.exec_runs import environment
from support.homes import REPOSITORY
from support.sops_lab import fake_sops
from support.waiting import until

pytestmark = pytest.mark.integration

CODE = """\
import posix, sys
def instead(*words):
    sys.stdout.write("\\n".join(sorted(sys.modules)))
    sys.stdout.flush()
    posix._exit(0)
posix.execve = instead
from _frozen_importlib_external import SourceFileLoader
lean = "bootstrap.lean"
exec(SourceFileLoader(lean, sys.argv[1] + "/bootstrap/lean.py").get_code(lean))
main()
"""
OF_THE_INTERPRETER = {"abc", "codecs", "encodings", "io", "posix", "sys", "time", "zipimport"}
HEAVY = {
    "asyncio",
    "cryptography",
    "ctypes",
    "dataclasses",
    "enum",
    "functools",
    "importlib.metadata",
    "jinja2",
    "json",
    "keyring",
    "logging",
    "pathlib",
    "pydantic",
    "pyrage",
    "re",
    "rich",
    "site",
    "subprocess",
    "threading",
    "tomllib",
    "typer",
    "typing",
    "yaml",
}


def loaded(*words: str, cwd: Path, **more: str) -> set[str]:
    """Return the modules that are loaded when the program takes over."""
    root = str(REPOSITORY)
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", CODE, root, root, "", "exec", *words],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(ended.stdout.split("\n"))


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, str]:
    """Stand-ins for sops and secret-tool; return the variables that lead to them."""
    (tmp_path / "a.enc.env").write_text("K=ENC[x,type:str]\nsops_mac=x\nsops_version=3.11.0\n")
    fake_sops(tmp_path / "sops", 'echo \'{"K": "sk-test-x"}\'')
    shown = "[/1]\\nlabel = x\\nsecret = sk-test-x\\ncreated = now\\n"
    fake_sops(tmp_path / "secret-tool", f"printf '{shown}'")
    return {
        "CI_KEY": "sk-test-x",
        "KEYTURN_SOPS": f"{tmp_path}/sops",
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/none",
    }


def test_from_a_variable_it_loads_these_modules_and_no_others(
    tmp_path: Path, parts: dict[str, str]
) -> None:
    modules = loaded("--secret", "K=env:CI_KEY", "--", "true", cwd=tmp_path, **parts)
    ours = {name for name in modules if name.startswith("bootstrap.")}
    assert ours == {*NEEDED, "bootstrap.adapters.environ"} - {"bootstrap"}
    others = {name for name in modules if not name.startswith(("_", "bootstrap", "encodings."))}
    assert others <= OF_THE_INTERPRETER | {"builtins", "gc", "marshal"}


@pytest.mark.parametrize("source", ["env:CI_KEY", "keyring:a#K", "sops:{}/a.enc.env#K"])
def test_no_source_loads_anything_heavy(tmp_path: Path, parts: dict[str, str], source: str) -> None:
    words = ("--secret", f"K={source.format(tmp_path)}", "--", "true")
    assert loaded(*words, cwd=Path("/"), **parts) & HEAVY == set()


def test_a_lab_file_is_parsed_once(tmp_path: Path, parts: dict[str, str]) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('[exec]\nsecrets = ["K"]\n[secrets.K]\nsources = ["sops:a.enc.env#K"]\n')
    until(lambda: time.time() - file.stat().st_ctime > 2.1)
    assert "tomllib" in loaded("--", "true", cwd=tmp_path, **parts)
    for _ in range(2):  # the second time sops is started early
        modules = loaded("--", "true", cwd=tmp_path, **parts)
        assert modules & HEAVY == set()
    assert {*NEEDED_FIRST, *NEEDED} <= modules
