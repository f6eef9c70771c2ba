"""A new user: a fresh clone of the working tree, an empty home, no more set than installers need.

What they start is the real thing: the scripts of the clone, packages from the registry, the real
LiteLLM, and the real clients on top.
"""

import fcntl
import http.client
import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.litellm_install import LitellmInstaller
from bootstrap.adapters.supervisor import SupervisorService
from bootstrap.domain.lab import LITELLM_VERSION
from bootstrap.domain.probes import Verdict, verdict
from bootstrap.domain.secret import Secret
from support.homes import DOWNLOADS, REPOSITORY, machine_environment
from support.litellm import QuietProgress
from tools.user_systemd import PYTHON

WRONG_KEY = Secret("sk-test-wrong-0123456789abcdef0123456789")
ECHO_SAYS = "the gateway works"
CLAUDE_VERSION = "2.1.197"
# Certificates, proxies and settings of package clients: without them some machines install nothing.
_INSTALLERS = ("SSL_CERT_", "PIP_", "UV_")
_INSTALLERS_END = ("_PROXY", "_proxy", "_CA_BUNDLE")
# Installed packages: searched for keys by their bytes only, and never compared.
_PACKAGES = (".venv", "venv", ".cache")


def installer_environment() -> dict[str, str]:
    """Return the variables of this machine that a package client needs, and no others."""
    return {
        name: value
        for name, value in machine_environment().items()
        if name.startswith(_INSTALLERS) or name.endswith(_INSTALLERS_END)
    }


def clone(to: Path) -> None:
    """Make a clone of the working tree at `to`, with what is not committed yet."""
    _git(REPOSITORY, "rev-parse", "--show-toplevel")
    listed = _git(REPOSITORY, "ls-files", "-z", "-co", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        source = REPOSITORY / name
        if not os.path.lexists(source):
            continue  # removed, and not committed yet
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, to / name, follow_symlinks=False)
    _git(to, "init", "-q")
    _git(to, "add", "-A")
    _git(to, "-c", "user.name=t", "-c", "user.email=t@example.invalid", "commit", "-qm", "clone")


def changes_in_clone(folder: Path) -> list[str]:
    """Return what `git status` lists there, one line a file."""
    return _git(folder, "status", "--porcelain", "--untracked-files=all").splitlines()


def _git(folder: Path, *args: str) -> str:
    # A checkout may belong to another user than the one who runs the tests.
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *args]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


class NewUser:
    """Somebody who has a clone and an empty home, and types commands.

    Args:
        base: An empty folder for all that is theirs.
        port: The gateway's port.
        like: Somebody whose clone, and whose installed LiteLLM, they share; the lab is then in a
            folder of its own, else it is in the clone.

    Attributes:
        home: HOME.
        clone: The clone.
        lab: The lab's folder.
        said: All that the commands printed, but for those asked for a key.
    """

    def __init__(self, base: Path, port: int, like: "NewUser | None" = None) -> None:
        self.home = base / "home"
        self.home.mkdir(mode=0o700, parents=True)
        self.port = port
        self.said: list[str] = []
        if like is None:
            self.clone = self.lab = base / "keyturn"
            clone(self.clone)
            return
        self.clone, self.lab = like.clone, base / "lab"
        self.lab.mkdir()
        self.litellm.mkdir(mode=0o700, parents=True)
        (self.litellm / "venv").symlink_to(like.litellm / "venv")

    @property
    def litellm(self) -> Path:
        """The gateway's folder."""
        return self.home / ".config" / "litellm"

    @property
    def settings(self) -> Path:
        """droid's settings."""
        return self.home / ".factory" / "settings.json"

    @property
    def overlay(self) -> Path:
        """The settings that droid reads only when told to."""
        return self.home / ".factory" / "config.d" / "lab-litellm.json"

    @property
    def program(self) -> Path:
        """keyturn, as the clone's set-up installed it."""
        return self.clone / ".venv" / "bin" / "keyturn"

    def environment(self) -> dict[str, str]:
        """Return all the variables that they have set."""
        base = {"PATH": machine_environment()["PATH"], "LANG": "C.UTF-8", "HOME": str(self.home)}
        return installer_environment() | base

    def run(
        self,
        *argv: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        status: int = 0,
        note: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's folder, or in `cwd`, which must end with `status`."""
        done = self.run_any(*argv, cwd=cwd, env=env)
        if note:
            self.said += [done.stdout, done.stderr]
        assert done.returncode == status, f"ended with {done.returncode}:\n{_both(done)}"
        return done

    def run_any(
        self, *argv: object, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the lab's folder, or in `cwd`, whatever it ends with."""
        return subprocess.run(
            [str(word) for word in argv],
            cwd=cwd or self.lab,
            env=self.environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )

    def bootstrap(self, *args: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run the clone's bootstrap.sh, in the lab's folder unless `cwd` is given."""
        return self.run(self.clone / "scripts" / "bootstrap.sh", *args, cwd=cwd)

    def first_bootstrap(self, *args: object) -> subprocess.CompletedProcess[str]:
        """Run bootstrap.sh with their port."""
        return self.bootstrap("--port", self.port, *args)

    def key(self, name: str = "LITELLM_MASTER_KEY") -> Secret:
        """Return a secret as `keyturn get` gives it."""
        return Secret(self.run(self.program, "get", name, note=False).stdout.rstrip("\n"))

    @property
    def gateway(self) -> HttpGateway:
        """Their gateway, asked from outside."""
        return HttpGateway(f"http://127.0.0.1:{self.port}")

    def services(self) -> list[SupervisorService]:
        """Return the gateways under our supervisor that were ever started."""
        states = (self.home / ".local" / "state" / "keyturn").glob("*/supervisor.json")
        return [
            SupervisorService(PurePath(state.parent / "service.json"), PurePath(state.parent))
            for state in states
        ]

    def gateway_pid(self) -> int:
        """Return the process id of the one gateway that runs."""
        (service,) = self.services()
        pid = service.status().pid
        assert pid is not None
        return pid

    def stop(self) -> None:
        """End what runs, and remove the packages: every user has 1 GB of them."""
        for service in self.services():
            service.stop()
        for folder in self.packages():
            shutil.rmtree(folder)

    def catalogue(self) -> set[str]:
        """Return the aliases in lab.toml, and the one that is always there."""
        document = tomllib.loads((self.lab / "lab.toml").read_text())
        return {"lab-echo", *(model["alias"] for model in document.get("models", ()))}

    def files(self) -> list[Path]:
        """Return every file of theirs but for installed packages."""
        return sorted(
            path for root in {self.home, self.lab} for path in _walk(root) if not path.is_dir()
        )

    def packages(self) -> list[Path]:
        """Return the folders of installed packages that are theirs."""
        folders = [self.litellm / "venv", self.home / ".cache", self.lab / ".venv"]
        return [folder for folder in folders if folder.is_dir() and not folder.is_symlink()]

    def marks(self) -> dict[str, tuple[int, int, int]]:
        """Return (time of change, inode, mode) of every file that has no reason to change."""
        found = {path: path.lstat() for path in self.files() if not _comes_and_goes(path)}
        return {
            str(path): (info.st_mtime_ns, info.st_ino, info.st_mode) for path, info in found.items()
        }

    def may_hold_keys(self) -> list[Path]:
        """Return the files that are declared to hold a key."""
        return [self.settings, *(self.home / ".config" / "lab-secrets").glob("*.env")]


def install_litellm_for_anybody(venv: Path) -> None:
    """Install LiteLLM with keyturn's installer, under an interpreter that every user may run."""
    installer = LitellmInstaller(
        venv, LITELLM_VERSION, None, environ=machine_environment(), python=PYTHON
    )
    installer.install(QuietProgress())


def refuses(gateway: HttpGateway, key: Secret | None) -> bool:
    """Tell whether the gateway refuses the key; None means a request without one."""
    return verdict(gateway.models(key), with_key=key is not None) is Verdict.REFUSED


def ask_messages(port: int, headers: Mapping[str, str], model: str) -> tuple[int, str]:
    """Ask as Claude Code does, at /v1/messages; return the status, and the text where it is 200."""
    body = {
        "model": model,
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            "POST",
            "/v1/messages?beta=true",
            json.dumps(body),
            {"Content-Type": "application/json", "anthropic-version": "2023-06-01", **headers},
        )
        answer = connection.getresponse()
        document = json.loads(answer.read())
    finally:
        connection.close()
    return answer.status, document["content"][0]["text"] if answer.status == 200 else ""


def claude() -> Path:
    """Return the real Claude Code; the first call in a checkout installs it from npm."""
    folder = DOWNLOADS / f"claude-{CLAUDE_VERSION}"
    program = folder / "node_modules" / ".bin" / "claude"
    machine = machine_environment()
    machine.setdefault("npm_config_cache", str(DOWNLOADS / "npm-cache"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".installed").exists():
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
            command += ["--prefix", str(folder), f"@anthropic-ai/claude-code@{CLAUDE_VERSION}"]
            done = subprocess.run(command, env=machine, capture_output=True, text=True)
            assert done.returncode == 0, f"Claude Code cannot be installed: {done.stderr[-2000:]}"
            (folder / ".installed").touch()
    return program


def next_step(summary: str, client: str) -> str:
    """Return the command that the summary of bootstrap gives for a client."""
    lines = [line.strip() for line in summary.partition("\nNext\n")[2].splitlines()]
    (step,) = (line.removeprefix(client) for line in lines if line.startswith(client + "  "))
    return step.partition("  (")[0].strip()


def inserted(before: bytes, after: bytes) -> bytes:
    """Return the bytes that must be put at one place of `before` to get `after`.

    Raises:
        AssertionError: More than that was changed.
    """
    pairs = enumerate(zip(before, after, strict=False))
    start = next((i for i, (one, other) in pairs if one != other), min(len(before), len(after)))
    rest = len(before) - start
    assert after[len(after) - rest :] == before[start:], "more than one insertion"
    return after[start : len(after) - rest]


def without_entry(after: bytes, entry_id: str) -> bytes:
    """Return a settings file less the flat entry with this id, and less the space before it.

    Not by keyturn's own reader of JSON, which a fault in it would deceive.
    """
    (at,) = (i for i in range(len(after)) if after.startswith(f'"{entry_id}"'.encode(), i))
    start, end = after.rindex(b"{", 0, at), after.index(b"}", at) + 1
    return after[:start].rstrip(b" \t\r\n") + after[end:]


def grep(secret: Secret, folders: Iterable[Path]) -> list[str]:
    """Return the files below the folders that hold the bytes of a secret."""
    names = [str(folder) for folder in folders]
    # The pattern comes by stdin: an argument could be read by others.
    done = subprocess.run(
        ["grep", "-rlaF", "-f", "-", "--", *names],
        input=secret.reveal(),
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def all_arguments() -> str:
    """Return the arguments of every program that runs on this machine now."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return "\n".join(found)


def _walk(root: Path) -> Iterator[Path]:
    for path in root.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink() and path.name not in _PACKAGES:
            yield from _walk(path)


def _comes_and_goes(path: Path) -> bool:
    """Tell whether a file is a log, a lock, a count or compiled bytecode."""
    if path.name == "keyturn-uses.json":  # the guard counts requests there
        return True
    return path.suffix in (".log", ".pyc") or path.name == "lock"


def _both(done: "subprocess.CompletedProcess[str]") -> str:
    return f"{done.stdout}\n{done.stderr}"[-4000:]
