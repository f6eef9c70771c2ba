"""The real LiteLLM with what it needs to use a database.

It asks PostgreSQL through Prisma, whose engine is a native program that no package index has. The
same engine in the same version is on npm, built for WebAssembly: `tests/tools/prisma` puts it in
the native one's place.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from support.homes import DOWNLOADS, machine_environment
from support.litellm import real_litellm
from support.sessions import TOOLS

_ENGINE = [TOOLS / "prisma" / name for name in ("package.json", "package-lock.json", "engine.js")]
_SITE = Path("lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")
_SCHEMA = _SITE / "litellm" / "proxy" / "schema.prisma"
# LiteLLM's start has Prisma make or compare the tables, by a second program that is nowhere.
_NO_COMPARISON = """\
import os; os.environ.update(DISABLE_SCHEMA_UPDATE="true", LITELLM_PRISMA_COMMAND_TIMEOUT="0.01")
"""
_LITELLM = """\
#!{python}
import sys

from litellm.proxy.proxy_cli import run_server

sys.exit(run_server())
"""
_GENERATOR = """\
#!/bin/sh
exec {python} -m prisma "$@"
"""
_ANY_TYPE = """

def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    return dict
"""


def litellm_with_prisma() -> Path:
    """Return a real `litellm` that can use a database; the shared one stays as it is.

    Installed at the first call, beside the shared one, from which all but Prisma's client comes.
    """
    base = real_litellm().parent.parent
    made_of = [str(base).encode(), *(path.read_bytes() for path in (*_ENGINE, Path(__file__)))]
    folder = base.with_name(
        f"{base.name}-prisma-{hashlib.sha256(b''.join(made_of)).hexdigest()[:8]}"
    )
    program = folder / "bin" / "litellm"
    with base.with_name("prisma.lock").open("w") as lock:  # parallel test runs share the cache
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make_environment(base, folder)
            _make_client(folder)
            _write_program(program, _LITELLM.format(python=folder / "bin" / "python"))
    return program


def litellm_tables() -> str:
    """Return the SQL that makes LiteLLM's tables, as its releases have added to them."""
    extras = real_litellm().parent.parent / _SITE / "litellm_proxy_extras"
    steps = sorted(extras.glob("migrations/*/migration.sql"))
    assert steps
    return "\n".join(step.read_text() for step in steps)


def _make_environment(base: Path, folder: Path) -> None:
    venv.create(folder, symlinks=True)
    for entry in (base / _SITE).iterdir():
        if entry.name != "prisma":
            (folder / _SITE / entry.name).symlink_to(entry)
    shutil.copytree(base / _SITE / "prisma", folder / _SITE / "prisma")
    (folder / _SITE / "no-comparison.pth").write_text(_NO_COMPARISON)
    for path in _ENGINE:
        shutil.copy(path, folder)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--cache", DOWNLOADS / "npm-cache"]
    _run(["npm", "ci", *options], folder)


def _make_client(folder: Path) -> None:
    """Have Prisma write its client for LiteLLM's tables into the environment."""
    python, engine = folder / "bin" / "python", folder / "engine.js"
    _write_program(folder / "bin" / "prisma-client-py", _GENERATOR.format(python=python))
    _run(
        ["node", "node_modules/prisma/build/index.js", "generate", "--schema", folder / _SCHEMA],
        folder,
        HOME=str(folder),
        PATH=f"{folder / 'bin'}:{os.environ['PATH']}",
        CHECKPOINT_DISABLE="1",
        PRISMA_CLI_QUERY_ENGINE_TYPE="binary",
        PRISMA_QUERY_ENGINE_BINARY=str(engine),
        PRISMA_SCHEMA_ENGINE_BINARY=str(engine),
    )
    client = folder / _SITE / "prisma"
    _leave_out_types(client / "types.py")
    _run([python, "-m", "compileall", "-q", client], folder)


def _leave_out_types(module: Path) -> None:
    """Remove 30,000 classes that only a type checker needs, for 4 s of every start."""
    text = module.read_text()
    module.write_text(text[: text.index("\nStringFilter = ")] + _ANY_TYPE)


def _write_program(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.chmod(0o755)
    beside.rename(path)


def _run(argv: Sequence[object], folder: Path, **more: str) -> None:
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=folder,
        env=machine_environment() | more,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{argv[0]}: {done.stdout[-2000:]}"
