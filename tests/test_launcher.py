"""The installed command finds its Python and its package, however it was installed."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from support.homes import REPOSITORY

pytestmark = pytest.mark.integration

LAUNCHER = REPOSITORY / "scripts" / "keyturn"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
WORDS = ("exec", "--secret", "K=env:CI_KEY", "--", "sh", "-c", 'printf "%s" "$K"')


def make(base: Path, *, editable: bool = False, packages: str = "site-packages") -> Path:
    """Lay out an environment as an installer would, and return the command in it."""
    venv.create(base, with_pip=False, symlinks=True)
    site = base / "lib" / VERSION / packages
    site.mkdir(exist_ok=True)
    if editable:
        (site / "_editable_impl_keyturn.pth").write_text(str(REPOSITORY))
    else:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / "bootstrap", site / "bootstrap", ignore=ignore)
    return Path(shutil.copy(LAUNCHER, base / "bin" / "keyturn"))


def run(command: object, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(command), *words],
        env={**os.environ, "CI_KEY": "sk-test-launcher", **more},
        capture_output=True,
        text=True,
        timeout=60,
    )


def gives_the_key(command: object, **more: str) -> bool:
    ended = run(command, *WORDS, **more)
    return (ended.returncode, ended.stdout, ended.stderr) == (0, "sk-test-launcher", "")


@pytest.mark.parametrize("editable", [False, True])
def test_it_works_from_site_packages_and_from_a_checkout(tmp_path: Path, editable: bool) -> None:
    assert gives_the_key(make(tmp_path / "env", editable=editable))


def test_spaces_in_its_path_do_no_harm(tmp_path: Path) -> None:
    assert gives_the_key(make(tmp_path / "my own 'env'"))


def test_it_works_through_links_and_by_any_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = make(tmp_path / "env")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/keyturn").symlink_to(command)
    (tmp_path / "second").symlink_to(tmp_path / "bin/keyturn")
    assert gives_the_key(tmp_path / "bin/keyturn")
    assert gives_the_key(tmp_path / "second")
    assert gives_the_key("keyturn", PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.chdir(command.parent)
    assert gives_the_key("./keyturn")
    ended = subprocess.run(
        ["/bin/sh", "keyturn", *WORDS],
        env={**os.environ, "CI_KEY": "x"},
        capture_output=True,
        text=True,
    )
    assert (ended.stdout, ended.stderr) == ("x", "")


@pytest.mark.parametrize("folder", ["uv/tools", "pipx/venvs"])
def test_where_uv_and_pipx_put_it_no_other_program_is_run(tmp_path: Path, folder: str) -> None:
    command = make(tmp_path / "data" / folder / "keyturn")
    (tmp_path / "keyturn").symlink_to(command)
    (tmp_path / "readlink").symlink_to("/bin/false")
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert gives_the_key(tmp_path / "keyturn", PATH=path, XDG_DATA_HOME=str(tmp_path / "data"))
    assert not gives_the_key(tmp_path / "keyturn", PATH=path)


def test_without_a_python_beside_it_the_one_on_path_is_taken(tmp_path: Path) -> None:
    command = make(tmp_path / "user", packages="dist-packages")
    for name in ("python", "python3", VERSION):
        (command.parent / name).unlink()
    (command.parents[1] / "pyvenv.cfg").unlink()  # pip install --user makes no environment
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / VERSION).symlink_to(sys.executable)
    assert gives_the_key(command, PATH=f"{tmp_path}/bin:/usr/bin:/bin")


def test_an_environment_whose_python_is_gone_is_called_so(tmp_path: Path) -> None:
    command = make(tmp_path / "env")
    for name in ("python", "python3", VERSION):
        (command.parent / name).unlink()
    for words, code in ((("check",), 127), (WORDS, 125)):
        ended = run(command, *words)
        assert ended.returncode == code
        assert ended.stderr.startswith("error: the Python of keyturn's environment is gone\n")
        assert "scripts/bootstrap.sh" in ended.stderr


def test_where_it_is_not_installed_it_says_so(tmp_path: Path) -> None:
    alone = shutil.copy(LAUNCHER, tmp_path / "keyturn")
    ended = run(alone, "check")
    assert ended.returncode == 127
    assert ended.stderr.startswith("error: keyturn is not installed here\ncause: ")


def test_variables_that_steer_python_do_not_reach_exec(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "bootstrap.py").write_text("raise SystemExit('hijacked')")
    (evil / "sitecustomize.py").write_text("raise SystemExit('hijacked')")
    assert gives_the_key(make(tmp_path / "env"), PYTHONPATH=str(evil), PYTHONHOME="/none")


def test_ctrl_c_shows_no_traceback_from_the_first_module_on(tmp_path: Path) -> None:
    command = make(tmp_path / "env")
    lean = tmp_path / "env/lib" / VERSION / "site-packages/bootstrap/lean.py"
    lean.write_text(
        "import _signal\ndef main(): print(_signal.getsignal(2) is _signal.default_int_handler)\n"
    )
    assert run(command, "exec", "--", "true").stdout == "False\n"


def test_its_package_hides_nothing_of_python(tmp_path: Path) -> None:
    command = make(tmp_path / "env")
    for name in ("select", "tomllib", "signal"):
        (tmp_path / "env/lib" / VERSION / "site-packages" / f"{name}.py").write_text("1 / 0")
    (tmp_path / "lab.toml").write_text('[secrets.K]\nsources = ["env:CI_KEY"]\n')
    ended = run(command, "exec", f"--lab={tmp_path}", "--secret=K", "--mask", "--", "true")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_other_command_starts_python_as_usual(tmp_path: Path) -> None:
    command = make(tmp_path / "env")
    (tmp_path / "env/bin" / VERSION).unlink()
    stand_in = tmp_path / "env/bin" / VERSION
    stand_in.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    stand_in.chmod(0o755)
    assert run(command, "list", "a b", "").stdout == "-P|-m|bootstrap|list|a b||"


def test_stale_byte_code_is_not_run(tmp_path: Path) -> None:
    command = make(tmp_path / "env")
    assert gives_the_key(command)
    module = tmp_path / "env/lib" / VERSION / "site-packages/bootstrap/cli/exec_command.py"
    compiled = list((module.parent / "__pycache__").glob("exec_command.*.pyc"))
    assert len(compiled) == 1
    for package in ("domain", "adapters"):
        next(module.parent.parent.joinpath(package, "__pycache__").glob("__init__.*")).unlink()
    assert gives_the_key(command)
    module.write_text("def run_exec(words):\n    return 42\n")
    assert run(command, *WORDS).returncode == 42
    compiled[0].write_bytes(b"damaged")
    assert run(command, *WORDS).returncode == 42
    data = compiled[0].read_bytes()
    compiled[0].write_bytes(b"\0\0\0\0" + data[4:])
    assert run(command, *WORDS).returncode == 42


def test_the_wheel_installs_it_under_its_name() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["shared-scripts"] == {"scripts/keyturn": "keyturn"}
    assert "scripts" not in project["project"]
    assert LAUNCHER.stat().st_mode & 0o111 == 0o111
