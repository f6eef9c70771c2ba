"""The home folder and the environment that a test lives in."""

import hashlib
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyrage

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOWNLOADS = REPOSITORY / ".tools"

# GIT_: a hook of git, which may well run the tests, names the repository that was committed to.
_PREFIXES = ("SOPS_", "DIRENV_", "LITELLM_", "KEYTURN_", "FACTORY_", "ANTHROPIC_", "XDG_", "GIT_")
_SUFFIXES = ("_API_KEY", "_PROXY", "_proxy")
_CI = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "BUILDKITE", "TF_BUILD", "JENKINS_URL")
_NAMES = (*_CI, "DBUS_SESSION_BUS_ADDRESS", "PYTHON_KEYRING_BACKEND", "PYTHONPATH")
# Taken when the first conftest is read, before anything is isolated.
_MACHINE = dict(os.environ)


def is_foreign(name: str) -> bool:
    """Tell whether a variable could lead a test to the developer's own keys, lab or proxies.

    CI too: in a CI job keyturn remembers nothing, and masks what goes to a terminal.
    """
    return name.startswith(_PREFIXES) or name.endswith(_SUFFIXES) or name in _NAMES


def machine_environment() -> dict[str, str]:
    """Return the environment the tests were started in: for installers, which need its network."""
    return dict(_MACHINE)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return this process's (isolated) environment with HOME at `home`, for a child process."""
    clean = {name: value for name, value in os.environ.items() if not is_foreign(name)}
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return clean | ({"XDG_RUNTIME_DIR": runtime} if runtime else {}) | {"HOME": str(home)} | more


@dataclass(frozen=True)
class AgeIdentity:
    """An age identity where sops looks by default.

    Attributes:
        path: The keys file, 0600 in a 0700 folder.
        recipient: The public half, `age1…`.
    """

    path: Path
    recipient: str


def write_age_identity(home: Path) -> AgeIdentity:
    """Make an x25519 identity at ~/.config/sops/age/keys.txt."""
    identity = pyrage.x25519.Identity.generate()
    folder = home / ".config" / "sops" / "age"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "keys.txt"
    path.touch(mode=0o600)
    recipient = str(identity.to_public())
    path.write_text(f"# public key: {recipient}\n{identity}\n")
    return AgeIdentity(path, recipient)


def pick_free_port() -> int:
    """Return a TCP port that nobody listened on a moment ago, on the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def snapshot(root: Path) -> dict[str, str]:
    """Return every entry below `root` with kind, mode and digest, to show that nothing changed."""
    return {str(path.relative_to(root)): _describe(path) for path in _entries(root)}


def readable_by_others(root: Path) -> list[str]:
    """Return the regular files below `root` that group or others may read or write."""
    return [
        str(path.relative_to(root))
        for path in _entries(root)
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o066
    ]


def overlay(base: Mapping[str, str], **changes: str | None) -> dict[str, str]:
    """Return `base` with variables set, or removed where the value is None."""
    merged: dict[str, str | None] = {**base, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _entries(root: Path) -> Iterator[Path]:
    return iter(sorted(root.rglob("*")))


def _describe(path: Path) -> str:
    info = path.lstat()
    mode = f"{info.st_mode:o}"
    if path.is_symlink():
        return f"{mode} -> {path.readlink()}"
    if path.is_file():
        return f"{mode} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return mode
