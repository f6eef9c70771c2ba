"""Run a package manager: no key in its environment, its output in a file, its errors explained."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_PREFIXES = ("DIRENV_", "LITELLM_", "SOPS_")
_SUFFIXES = ("_API_KEY", "_MASTER_KEY")
# Would lead the environment's interpreter to packages outside of it.
_LEADING_ASTRAY = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
_GRACE_S = 5.0
_MOST_BYTES = 1_000_000

_AGAIN = "run keyturn apply again"
# In this order: without a network pip also says that there is no matching version. The words are
# those of uv 0.13 and pip 23; {version} is LiteLLM's.
_CAUSES = (
    (
        r"no space left|disk quota exceeded|os error 28|errno 28",
        "the disk is full",
        f"free 2 GB, then {_AGAIN}",
    ),
    (
        r"hash mismatch|do not match the hashes",
        "a package is not the one that keyturn pins: its hash differs",
        f"clear the download cache (uv cache clean, or pip cache purge), then {_AGAIN}; "
        "if it stays, the package index is not to be trusted",
    ),
    (
        r"ensurepip is not available|no module named '?(venv|ensurepip)",
        "this Python cannot make virtual environments",
        f"install the package python3-venv (Debian, Ubuntu), or uv, then {_AGAIN}",
    ),
    (
        r"dns error|error sending request|failed to fetch|could not connect|client error \(connect"
        r"|network is unreachable|name resolution|failed to establish a new connection"
        r"|connection refused|connection reset|connect timeout|timed out|proxyerror|sslerror"
        r"|newconnectionerror|max retries exceeded|incompleteread|network connectivity is disabled"
        r"|\(from versions: none\)",
        "the package index cannot be reached",
        f"check the network and the proxy settings, then {_AGAIN}: it goes on where it stopped",
    ),
    (
        # pip lists every version that wants another Python, whichever was asked for.
        r"[ ;]{version} requires-python|requires a different python|does not satisfy python",
        "LiteLLM {version} does not run with this Python",
        "install keyturn with Python 3.11, 3.12 or 3.13",
    ),
    (
        r"no version of litellm(?!-)|no matching distribution found for litellm(?!-)"
        r"|litellm was not found",
        "there is no LiteLLM {version}",
        "correct gateway.litellm_version in lab.toml",
    ),
    (
        r"no solution found|there is no version of|no matching distribution found for",
        "the package index lacks {package}, which LiteLLM {version} needs",
        "write another gateway.litellm_version into lab.toml, or wait until the index has it, or "
        "have uv take another version of that package (UV_OVERRIDE)",
    ),
    (r"permission denied", "a folder may not be written", f"check its owner, then {_AGAIN}"),
)
# A name and a version, and nothing else that an index or its address could slip in.
_LACKING = (
    r"no (?:version of|matching distribution found for) (?P<package>{name}[=>]={number})(?![^ ])",
    r"only (?P<name>{name})<={number} is available and [^ ]+ depends on "
    r"(?P<package>(?P=name)>={number})(?![^ ,])",
)
_PARTS = {"name": r"[a-z][a-z0-9._-]{0,63}", "number": r"[0-9][0-9a-z.]{0,31}"}


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` for a package manager: its settings and proxies, but no lab's key."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(_PREFIXES)
        and not name.endswith(_SUFFIXES)
        and name not in _LEADING_ASTRAY
    } | {"UV_VENV_CLEAR": "1", "UV_NO_PROGRESS": "1"}


def run_logged(argv: Sequence[str], environ: Mapping[str, str], log: Path) -> tuple[int, str]:
    """Run a program to its end, its output appended to `log` (0600).

    Whatever interrupts us ends the program and all that it started.

    Returns:
        Its exit status and its output, for `explain` only: it may quote addresses with logins.

    Raises:
        OSError: The program or the log cannot be opened.
    """
    descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        os.fchmod(file.fileno(), 0o600)
        start = file.seek(0, os.SEEK_END)
        child = subprocess.Popen(
            argv,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = child.wait()
        except BaseException:
            _end(child)
            raise
        # Why it failed stands at the end.
        file.seek(max(start, file.seek(0, os.SEEK_END) - _MOST_BYTES))
        return status, file.read(_MOST_BYTES).decode("utf-8", "replace")


def explain(output: str, status: int, version: str) -> tuple[str, str]:
    """Return (why, fix) for the output of a failed package manager.

    It quotes no more of it than the name and version of a package that is missing.
    """
    text = " ".join(output.lower().split())
    for pattern, why, fix in _CAUSES:
        if re.search(pattern.replace("{version}", re.escape(version)), text):
            return why.format(version=version, package=_lacking(text)), fix
    return f"the installer ended with status {status}", _AGAIN


def _lacking(text: str) -> str:
    for pattern in _LACKING:
        for part, expression in _PARTS.items():
            pattern = pattern.replace(f"{{{part}}}", expression)
        if found := re.search(pattern, text):
            return found["package"]
    return "a package"


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the program's whole group, politely first."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(_GRACE_S)
    with contextlib.suppress(ProcessLookupError):  # what it started may have outlived it
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
