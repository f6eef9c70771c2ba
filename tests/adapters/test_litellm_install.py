"""Installing LiteLLM: whole or not at all, and never into something of somebody else."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bootstrap.adapters import install_process
from bootstrap.adapters.install_process import explain, run_logged, scrubbed
from bootstrap.adapters.litellm_install import PINNED, STAMP, LitellmInstaller
from bootstrap.domain.errors import ServiceError
from bootstrap.domain.lab import LITELLM_VERSION
from support.litellm import QuietProgress
from support.waiting import until

pytestmark = pytest.mark.integration

# What both doubles do: note how they were called, and fail where the file `fail` says so.
NOTE = """#!/bin/sh
here=$(dirname "$0"); notes={notes}
printf '%s\\n' "$*" >> "$notes/argv"; env > "$notes/env"
make_python() {{ mkdir -p "$1/bin"; : > "$1/pyvenv.cfg"; cp {notes}/python "$1/bin/python"; }}
put_litellm() {{
  if [ -e "$notes/fail" ]; then cat "$notes/fail"; exit 3; fi
  inside=$1/lib/python3.11/site-packages/litellm-$2.dist-info
  mkdir -p "$inside"; printf 'Metadata-Version: 2.1\\nName: litellm\\nVersion: %s\\n' $2 \\
    > "$inside/METADATA"
  : > "$1/bin/litellm"; chmod 755 "$1/bin/litellm"
}}
"""
UV = (
    NOTE
    + """
case "$1" in
  venv) for last; do :; done; make_python "$last" ;;
  pip) put_litellm "${{4%/bin/python}}" {version} ;;
esac
"""
)
PYTHON = (
    NOTE
    + """
case "$2" in
  venv) for last; do :; done; make_python "$last"; cp "$0" "$last/bin/pip" ;;
  pip) put_litellm "${{here%/bin}}" {version} ;;
esac
"""
)


class Machine:
    """A machine with a double of uv and one of Python, and a folder for the environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.venv = folder / "config" / "venv"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.pinned = folder / "requirements.txt"
        self.pinned.write_text("litellm==1.106.2 --hash=sha256:00\n")
        self.environ = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(folder)}
        self.puts(LITELLM_VERSION)

    def puts(self, version: str) -> None:
        """Let both doubles install this version."""
        for path, text in ((self.bin / "uv", UV), (self.folder / "python", PYTHON)):
            path.write_text(text.format(notes=self.folder, version=version))
            path.chmod(0o755)

    def fails(self, output: str | None) -> None:
        """Let both doubles fail with this output."""
        file = self.folder / "fail"
        if output is None:
            file.unlink()
        else:
            file.write_text(output + "\n")

    def without_uv(self) -> None:
        """Take uv away."""
        (self.bin / "uv").unlink()

    @property
    def calls(self) -> list[str]:
        """The arguments of every call of a double."""
        file = self.folder / "argv"
        return file.read_text().splitlines() if file.exists() else []

    def installer(
        self, version: str = LITELLM_VERSION, command: str | None = None
    ) -> LitellmInstaller:
        """Return the installer under test."""
        return LitellmInstaller(
            self.venv,
            version,
            command,
            environ=self.environ,
            pinned=self.pinned,
            python=str(self.folder / "python"),
        )

    def install(self, version: str = LITELLM_VERSION, command: str | None = None) -> Path:
        """Install and return the program."""
        return Path(self.installer(version, command).install(QuietProgress()))

    def made_by_hand(self, version: str) -> None:
        """Put an environment there that keyturn has not made."""
        self.puts(version)
        self.install(version)
        (self.venv / STAMP).unlink()
        (self.folder / "argv").unlink()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def refused(machine: Machine, version: str = LITELLM_VERSION) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        machine.install(version)
    return caught.value


# Installing


def test_on_an_empty_machine_nothing_is_installed(machine: Machine) -> None:
    assert machine.installer().installed() is None


def test_the_pinned_version_comes_with_hashes_and_compiled(machine: Machine) -> None:
    assert machine.install() == machine.venv / "bin" / "litellm"
    assert machine.calls == [
        f"venv --python {machine.folder}/python {machine.venv}",
        f"pip install --python {machine.venv}/bin/python --compile-bytecode"
        f" --require-hashes -r {machine.pinned}",
    ]


def test_without_uv_pip_does_it_and_compiles(machine: Machine) -> None:
    machine.without_uv()
    machine.install()
    made, put, compiled = machine.calls
    assert made == f"-m venv --clear {machine.venv}"
    assert put.startswith("-m pip install")
    assert put.endswith(f"--require-hashes -r {machine.pinned}")
    assert compiled.startswith("-m compileall")
    assert machine.installer().installed() is not None


def test_an_environment_that_uv_made_gets_pip_when_uv_is_gone(machine: Machine) -> None:
    machine.fails("connection refused")
    refused(machine)
    machine.fails(None)
    machine.without_uv()
    machine.install()
    assert f"-m venv {machine.venv}" in machine.calls


def test_pip_takes_up_again_what_broke_off(machine: Machine) -> None:
    machine.without_uv()
    machine.fails("connection refused")
    refused(machine)
    machine.fails(None)
    machine.install()
    assert [call for call in machine.calls if "-m venv" in call] == [machine.calls[0]]


def test_another_version_comes_with_prisma_and_without_hashes(machine: Machine) -> None:
    machine.puts("1.109.1")
    machine.install("1.109.1")
    assert machine.calls[-1].endswith("litellm[proxy]==1.109.1 prisma")
    assert machine.installer("1.109.1").installed() is not None
    assert machine.installer().installed() is None


def test_installing_twice_does_nothing_the_second_time(machine: Machine) -> None:
    first = machine.install()
    calls = machine.calls
    assert machine.install() == first
    assert machine.calls == calls


def test_it_says_what_takes_so_long(machine: Machine) -> None:
    progress = QuietProgress()
    machine.installer().install(progress)
    assert progress.said == ["installing LiteLLM 1.106.2 (600 MB, once)"]


def test_no_key_reaches_the_package_manager_but_its_own_settings_do(machine: Machine) -> None:
    secret = "sk-test-0123456789"
    names = ("OPENAI_API_KEY", "LITELLM_SALT_KEY", "SOPS_AGE_KEY", "DIRENV_DIFF", "A_MASTER_KEY")
    machine.environ |= dict.fromkeys(names, secret) | {"PYTHONPATH": "/x", "PIP_PROXY": "http://p"}
    machine.install()
    seen = (machine.folder / "env").read_text()
    assert secret not in seen
    assert "PYTHONPATH" not in seen
    assert "PIP_PROXY=http://p" in seen


def test_the_installers_words_are_kept_for_their_owner_only(machine: Machine) -> None:
    machine.fails("strange words")
    refused(machine)
    log = machine.venv.parent / "install.log"
    assert "strange words" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


# Broken off


def test_what_broke_off_is_not_installed_and_is_taken_up_again(machine: Machine) -> None:
    machine.fails("connection refused")
    refused(machine)
    (machine.venv / "kept").touch()
    assert machine.installer().installed() is None
    machine.fails(None)
    machine.install()
    assert (machine.venv / "kept").exists()
    assert machine.installer().installed() is not None


def test_a_program_without_a_finished_stamp_is_not_installed(machine: Machine) -> None:
    machine.install()
    (machine.venv / STAMP).write_text('{"complete": false}')
    assert machine.installer().installed() is None


@pytest.mark.parametrize("text", ["", "{", "null x"])
def test_a_damaged_stamp_means_install_again(machine: Machine, text: str) -> None:
    machine.install()
    (machine.venv / STAMP).write_text(text)
    assert machine.installer().installed() is None
    machine.install()
    assert json.loads((machine.venv / STAMP).read_text())["complete"] is True


def test_new_pins_mean_install_again_beside_what_runs(machine: Machine) -> None:
    first = machine.install()
    machine.pinned.write_text("litellm==1.106.2 --hash=sha256:11\n")
    assert machine.installer().installed() is None
    second = machine.install()
    assert second != first
    assert second.parent.parent.name.startswith(f"venv-{LITELLM_VERSION}-")
    assert first.exists()
    assert machine.installer().installed() == second


def test_another_version_goes_beside_the_one_that_runs_and_back_again(machine: Machine) -> None:
    first = machine.install()
    machine.puts("1.109.1")
    coming = machine.installer("1.109.1").interpreter()
    second = machine.install("1.109.1")
    assert second == machine.venv.with_name("venv-1.109.1") / "bin" / "litellm"
    assert coming == second.with_name("python")
    assert machine.installer().installed() == first
    assert machine.installer("1.109.1").installed() == second


@pytest.mark.parametrize("used", [True, False])
def test_an_earlier_version_beside_it_is_removed_unless_it_is_in_use(
    machine: Machine, used: bool
) -> None:
    machine.install()
    machine.puts("1.109.1")
    earlier = machine.install("1.109.1")
    by_hand = machine.venv.with_name("venv-mine")
    by_hand.mkdir()
    machine.puts("1.110.0")
    program = earlier.with_name("waits")
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program if used else "/bin/sleep", "60"]) as running:
        until(Path(f"/proc/{running.pid}/cmdline").read_bytes)  # the kernel fills it in late
        machine.install("1.110.0")
        running.kill()
    assert earlier.exists() is used
    assert by_hand.exists()
    assert machine.venv.exists()


def test_an_environment_whose_python_is_gone_is_made_again(machine: Machine) -> None:
    machine.install()
    (machine.venv / "bin" / "python").unlink()
    assert machine.installer().installed() is None
    machine.install()
    assert machine.installer().installed() is not None


def test_an_installer_that_ends_well_without_the_program_is_a_failure(machine: Machine) -> None:
    machine.puts("1.0.0")
    error = refused(machine)
    assert "the program is not there" in error.why
    assert machine.installer().installed() is None


# Somebody else's


def test_an_environment_made_by_hand_is_taken_as_it_is(machine: Machine) -> None:
    machine.made_by_hand(LITELLM_VERSION)
    assert machine.install() == machine.venv / "bin" / "litellm"
    assert machine.calls == []
    assert not (machine.venv / STAMP).exists()


def test_what_it_can_do_to_a_database_is_told_by_its_own_files(machine: Machine) -> None:
    assert not machine.installer().can_reencrypt()
    machine.made_by_hand(LITELLM_VERSION)
    assert not machine.installer().can_reencrypt()
    folder = machine.venv / "lib" / "python3.11" / "site-packages" / "litellm" / "proxy" / "db"
    folder.mkdir(parents=True)
    (folder / "master_key_migration.py").touch()
    assert machine.installer().can_reencrypt()


def test_an_environment_made_by_hand_with_another_version_is_not_changed(machine: Machine) -> None:
    machine.made_by_hand("1.80.0")
    machine.puts(LITELLM_VERSION)
    error = refused(machine)
    assert "1.80.0" in error.why
    assert 'litellm_version = "1.80.0"' in error.fix
    assert machine.calls == []


def test_a_broken_environment_made_by_hand_is_not_repaired(machine: Machine) -> None:
    machine.made_by_hand(LITELLM_VERSION)
    (machine.venv / "bin" / "litellm").unlink()
    assert "is broken" in refused(machine).what
    assert machine.calls == []


def test_a_folder_that_is_no_environment_is_not_touched(machine: Machine) -> None:
    machine.venv.mkdir(parents=True)
    (machine.venv / "thesis.txt").touch()
    assert "is not keyturn's" in refused(machine).what
    shutil.rmtree(machine.venv)
    machine.venv.touch()
    assert "is not keyturn's" in refused(machine).what


@pytest.mark.parametrize("inside", [None, "pyvenv.cfg"])
def test_an_empty_folder_or_environment_is_used(machine: Machine, inside: str | None) -> None:
    machine.venv.mkdir(parents=True)
    if inside:
        (machine.venv / inside).touch()
    machine.install()
    assert machine.installer().installed() is not None


# The lab's own command


def test_the_labs_command_is_used_by_path_and_by_name(machine: Machine) -> None:
    own = machine.bin / "my-litellm"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert machine.install(command=str(own)) == own
    assert machine.install(command="my-litellm") == own
    assert machine.calls == []


def test_a_command_that_is_not_there_is_named(machine: Machine) -> None:
    for command in ("nowhere", "~nobody-has-this-name/litellm"):
        assert machine.installer(command=command).installed() is None
    with pytest.raises(ServiceError, match="nowhere") as caught:
        machine.install(command="nowhere")
    assert "gateway.command" in caught.value.fix


# Failures


OUTPUTS = [
    (
        "error: Failed to fetch: http://127.0.0.1:9/simple/litellm/\n"
        "  cause: client error (Connect)\n  cause: Connection refused (os error 111)",
        "cannot be reached",
    ),
    (
        "WARNING: Retrying (Retry(total=4, ...)) after connection broken by "
        "'NewConnectionError(...)'\nERROR: No matching distribution found for litellm==1.106.2",
        "cannot be reached",
    ),
    ("ERROR: ... litellm==1.106.2 (from versions: none)", "cannot be reached"),
    ("error: Failed to extract\n  cause: No space left on device (os error 28)", "disk is full"),
    ("OSError: [Errno 28] No space left on device", "disk is full"),
    ("  cause: Hash mismatch for `litellm==1.106.2`\n Expected: sha256:00", "hash differs"),
    ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE", "hash differs"),
    ("The virtual environment was not created: ensurepip is not\navailable", "cannot make virtual"),
    ("/usr/bin/python3: No module named venv", "cannot make virtual"),
    ("cause: Because there is no version of litellm[proxy]==9.9.9 and", "there is no LiteLLM 9.9"),
    ("ERROR: No matching distribution found for litellm[proxy]==9.9.9", "there is no LiteLLM 9.9"),
    (
        "ERROR: Ignored the following versions that require a different python version: "
        "1.0 Requires-Python >=3.14; 9.9.9 Requires-Python >=3.14\n"
        "ERROR: No matching distribution found for litellm[proxy]==9.9.9",
        "with this Python",
    ),
    (
        "ERROR: Ignored the following versions that require a different python version: "
        "1.0 Requires-Python >=3.14\n"
        "ERROR: No matching distribution found for litellm[proxy]==9.9.9",
        "there is no LiteLLM 9.9",
    ),
    (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because there is no version of litellm-proxy-extras==0.4.113 and litellm[proxy]",
        "lacks litellm-proxy-extras==0.4.113, which LiteLLM 9.9.9 needs",
    ),
    (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because only certifi<=2026.10.18 is available and litellm==9.9.9 depends on "
        "certifi>=2026.10.19, we can conclude that",
        "lacks certifi>=2026.10.19, which LiteLLM 9.9.9 needs",
    ),
    (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because there is no version of x==1@user:sk-test-token and",
        "lacks a package, which LiteLLM 9.9.9 needs",
    ),
    (
        "ERROR: Could not find a version that satisfies the requirement certifi>=2026.10.19 (from "
        "litellm[proxy]) (from versions: 2026.10.18)\n"
        "ERROR: No matching distribution found for certifi>=2026.10.19",
        "lacks certifi>=2026.10.19, which LiteLLM 9.9.9 needs",
    ),
    (
        "cause: Because the current Python version (3.9.2) does not satisfy Python>=3.10 and",
        "with this Python",
    ),
    ("error: Permission denied (os error 13)", "may not be written"),
    ("something else: https://user:sk-test-token@index", "ended with status 3"),
]


@pytest.mark.parametrize(("output", "words"), OUTPUTS)
def test_a_failure_is_explained_in_our_words(output: str, words: str) -> None:
    why, fix = explain(output, 3, "9.9.9")
    assert words in why
    assert "sk-test" not in why
    assert fix
    assert "sk-test" not in why + fix


def test_a_failure_names_the_file_with_the_installers_words(machine: Machine) -> None:
    machine.fails("unheard of: https://user:sk-test-token@index")
    error = refused(machine)
    assert str(machine.venv.parent / "install.log") in error.fix
    assert "sk-test" not in f"{error.what}{error.why}{error.fix}"


def test_a_folder_that_cannot_be_made_is_explained(machine: Machine) -> None:
    machine.venv.parent.touch()
    assert "NotADirectoryError" in refused(machine).why or "FileExistsError" in refused(machine).why


class Stop(Exception):
    """What the test's signal handler raises."""


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"])
def test_an_interrupt_ends_the_installer_and_all_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    monkeypatch.setattr("bootstrap.adapters.install_process._GRACE_S", 0.2)

    def stop(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    script = (
        f"{trap} sleep 600 & echo $! $$ > {tmp_path}/pids; "
        "sleep 0.5; kill -USR1 $PPID; wait; sleep 600"
    )
    try:
        with pytest.raises(Stop):
            run_logged(["sh", "-c", script], {"PATH": os.defpath}, tmp_path / "log")
    finally:
        signal.signal(signal.SIGUSR1, before)
    for pid in (tmp_path / "pids").read_text().split():
        while is_running(pid):  # the suite's time limit ends this where it is not so
            time.sleep(0.01)


def is_running(pid: str) -> bool:
    """Tell whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_log_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic"):
        run_logged(["true"], {"PATH": os.defpath}, tmp_path / "log")


def test_why_a_long_winded_installer_failed_is_read_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install_process, "_MOST_BYTES", 9)
    (tmp_path / "log").write_text("of an earlier run\n")
    for script, said in (("echo much; echo mismatch", "mismatch\n"), ("echo a", "a\n")):
        done = run_logged(["sh", "-c", script], {"PATH": os.defpath}, tmp_path / "log")
        assert done == (0, said)


# The real package managers, with two small packages from a folder


def make_wheel(folder: Path, name: str, version: str, more: dict[str, str]) -> str:
    """Write a wheel; return its line for a requirements file with hashes."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": "def main():\n    pass\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Provides-Extra: proxy\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    } | {f"{info}/{path}": text for path, text in more.items()}
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inside, text in files.items():
            wheel.writestr(inside, text)
        wheel.writestr(f"{info}/RECORD", "".join(f"{f},,\n" for f in [*files, f"{info}/RECORD"]))
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


Real = Callable[..., LitellmInstaller]


@pytest.fixture(params=["uv", pytest.param("pip", marks=pytest.mark.slow)])
def real(tmp_path: Path, request: pytest.FixtureRequest) -> Real:
    wheels, tools = tmp_path / "wheels", tmp_path / "tools"
    wheels.mkdir()
    tools.mkdir()
    program = {"entry_points.txt": "[console_scripts]\nlitellm=litellm:main\n"}
    lines = make_wheel(wheels, "litellm", LITELLM_VERSION, program)
    lines += make_wheel(wheels, "prisma", "0.15.0", {})
    if request.param == "uv":
        found = shutil.which("uv")
        assert found, "uv is not installed"
        (tools / "uv").symlink_to(found)
    (tmp_path / "uv.toml").write_text(f'no-index = true\nfind-links = ["{wheels}"]\n')
    environ = {
        "PATH": f"{tools}:/usr/bin:/bin" if request.param == "uv" else str(tools),
        "HOME": str(tmp_path),
        "UV_CONFIG_FILE": str(tmp_path / "uv.toml"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
    }

    def make(version: str = LITELLM_VERSION, pins: str = lines, **more: str) -> LitellmInstaller:
        pinned = tmp_path / "requirements.txt"
        pinned.write_text(pins)
        return LitellmInstaller(
            tmp_path / "venv",
            version,
            None,
            environ=environ | more,
            pinned=pinned,
            python=sys.executable,
        )

    return make


@pytest.mark.integration
def test_the_real_package_managers_install_it_compiled(real: Real) -> None:
    program = Path(real().install(QuietProgress()))
    assert os.access(program, os.X_OK)
    assert real().installed() == program
    assert list(program.parent.parent.rglob("litellm/__pycache__/*.pyc"))


@pytest.mark.integration
def test_the_real_package_managers_refuse_what_has_another_hash(real: Real) -> None:
    with pytest.raises(ServiceError) as caught:
        real(pins=f"litellm=={LITELLM_VERSION} --hash=sha256:{'0' * 64}\n").install(QuietProgress())
    assert "hash differs" in caught.value.why
    assert real().installed() is None


@pytest.mark.integration
def test_the_real_package_managers_know_no_such_version(real: Real) -> None:
    with pytest.raises(ServiceError) as caught:
        real("9.9.9").install(QuietProgress())
    assert caught.value.why == "there is no LiteLLM 9.9.9"


@pytest.mark.integration
def test_the_real_package_managers_cannot_reach_the_index(
    real: Real, free_port: int, tmp_path: Path
) -> None:
    (tmp_path / "uv.toml").write_text("")
    nowhere = f"http://127.0.0.1:{free_port}/simple"
    offline = {
        "UV_DEFAULT_INDEX": nowhere,
        "UV_HTTP_RETRIES": "0",
        "PIP_NO_INDEX": "0",
        "PIP_INDEX_URL": nowhere,
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
    }
    with pytest.raises(ServiceError) as caught:
        real(**offline).install(QuietProgress())
    assert caught.value.why == "the package index cannot be reached"


def test_the_pins_name_no_place_and_fit_the_version() -> None:
    text = PINNED.read_text()
    assert f"litellm=={LITELLM_VERSION} " in text
    assert "prisma==" in text
    assert "://" not in text
    assert "--index" not in text


def test_scrubbing_keeps_what_reaches_the_network() -> None:
    kept = scrubbed({"HTTPS_PROXY": "p", "SSL_CERT_FILE": "c", "UV_INDEX": "i", "X_API_KEY": "k"})
    assert {"HTTPS_PROXY", "SSL_CERT_FILE", "UV_INDEX"} <= kept.keys()
    assert "X_API_KEY" not in kept


class TestInterpreter:
    def test_the_environments_own_is_known_before_it_is_installed(self, tmp_path: Path) -> None:
        installer = LitellmInstaller(tmp_path / "venv", LITELLM_VERSION, None)
        assert installer.interpreter() == tmp_path / "venv" / "bin" / "python"

    @pytest.fixture
    def command(self, tmp_path: Path) -> Path:
        """A `litellm` on a link to one in an environment that has all that is needed."""
        environment = tmp_path / "environment"
        packages = environment / "lib" / "python3.12" / "site-packages"
        for name in ("litellm/proxy/proxy_cli.py", "uvicorn/__init__.py"):
            (packages / name).parent.mkdir(parents=True)
            (packages / name).touch()
        (environment / "bin").mkdir()
        for name in ("python", "litellm"):
            (environment / "bin" / name).touch(mode=0o755)
        link = tmp_path / "litellm"
        link.symlink_to(environment / "bin" / "litellm")
        return link

    def test_a_commands_own_is_beside_it(self, tmp_path: Path, command: Path) -> None:
        installer = LitellmInstaller(tmp_path / "venv", LITELLM_VERSION, str(command))
        assert installer.interpreter() == tmp_path / "environment" / "bin" / "python"

    @pytest.mark.parametrize("lost", ["bin/python", "lib/python3.12/site-packages/uvicorn"])
    def test_a_command_without_all_of_it_has_none(
        self, tmp_path: Path, command: Path, lost: str
    ) -> None:
        (tmp_path / "environment" / lost).rename(tmp_path / "lost")
        installer = LitellmInstaller(tmp_path / "venv", LITELLM_VERSION, str(command))
        assert installer.interpreter() is None

    def test_a_command_that_is_not_there_has_none(self, tmp_path: Path) -> None:
        installer = LitellmInstaller(tmp_path / "venv", LITELLM_VERSION, "/nonexistent/litellm")
        assert installer.interpreter() is None
