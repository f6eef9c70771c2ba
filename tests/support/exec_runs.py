"""Runs of the installed `keyturn exec`, as a person's shell starts it."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEYTURN = Path(sys.executable).with_name("keyturn")


@dataclass(frozen=True)
class Ran:
    """How a run ended.

    Attributes:
        status: Its exit status; -N where signal N ended it.
        out: What it printed.
        err: What it complained.
    """

    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """Return this test's environment with more variables."""
    return {**os.environ, **more}


def run_exec(
    *words: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    program: Path = KEYTURN,
) -> Ran:
    """Run `keyturn exec` with these words to its end."""
    ended = subprocess.run(
        [str(program), "exec", *words],
        cwd=cwd,
        env=dict(os.environ if env is None else env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def start_exec(
    words: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> "subprocess.Popen[str]":
    """Start `keyturn exec` with pipes for its output, and return at once."""
    return subprocess.Popen(
        [str(KEYTURN), "exec", *words],
        cwd=cwd,
        env=dict(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def catches(pid: int, number: int) -> bool:
    """Tell whether a process has a handler for a signal by now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (caught,) = (line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, whoever is to be told of that."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"
