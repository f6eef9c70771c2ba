"""A gateway that somebody started: its command, its variables, how to stop it and start it again.

Linux: /proc/PID of a process that is ours, and units of `systemd --user`.
"""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.dotenv import read_env_file
from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.listeners import LocalPorts
from bootstrap.adapters.litellm_install import STAMP
from bootstrap.adapters.process_identity import ProcessIdentity
from bootstrap.adapters.systemd import SystemdService
from bootstrap.domain.content import digest_of
from bootstrap.domain.errors import GatewayError, ServiceError, TargetError
from bootstrap.domain.secret import Secret

_PROC = Path("/proc")
_KEYTURNS = ("keyturn_serve.py", "bootstrap.adapters.supervisor_daemon")
_STOP_S = 60.0
_RETURN_S = 120.0
_POLL_S = 0.1
_IN_BACKGROUND = '"$@" >>"$0" 2>&1 </dev/null & echo "$!"'
_PORT = re.compile(r"[0-9]{1,5}")
_UNIT_LINE = re.compile(r"^\s*(ExecStart|Environment|EnvironmentFile)\s*=\s*(.*)$")


class OldGateway:
    """The process that serves the port now.

    Args:
        pid: It.
        port: The port.

    Attributes:
        label: For people.
        unit: The unit of `systemd --user` that runs it, or None.
        argv: Its command line.
        environ: Its variables; empty where they cannot be read.

    Raises:
        OSError: It has ended meanwhile, or is another user's.
    """

    def __init__(self, pid: int, port: int) -> None:
        folder = _PROC / str(pid)
        self.argv = _words(folder / "cmdline")
        pairs = (word.partition("=") for word in _words(folder / "environ"))
        self.environ = {name: value for name, _, value in pairs}
        self.unit = _unit_of((folder / "cgroup").read_text(errors="replace"))
        self._port = port
        self._cwd = str((folder / "cwd").readlink())
        self._log = str((folder / "fd" / "1").readlink())
        self._identity = ProcessIdentity.of(pid)
        how = f"unit {self.unit}" if self.unit else "started by hand"
        self.label = f"process {pid}, {how}"

    def stop(self) -> None:
        """End it, and wait until its port is free; running answers finish.

        Raises:
            ServiceError: It goes on.
        """
        if self.unit is not None:
            service = SystemdService(self.unit, socket=False)
            service.stop()
            service.disable()  # keyturn's unit may have another name
        elif self._identity is not None:
            self._identity.send(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        while LocalPorts().listener(self._port) is not None:
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"port {self._port} does not become free",
                    why=f"the old gateway ({self.label}) goes on",
                    fix="stop it by hand, then run keyturn adopt again",
                )
            time.sleep(_POLL_S)

    @property
    def to_come(self) -> Mapping[str, Any]:
        """What `is_returning` knows it by before it is started: a kill may come in between."""
        if self.unit is not None:
            return {"port": self._port, "unit": self.unit}
        return {"port": self._port, "command": _digest(self.argv)}

    def start(self) -> Mapping[str, Any]:
        """Start it again as it was. Nothing is waited for.

        Returns:
            What `is_returning` knows it by.
        """
        if self.unit is not None:
            service = SystemdService(self.unit, socket=False)
            service.start()
            return self.to_come
        log = self._log if Path(self._log).is_file() else os.devnull
        words = ["sh", "-c", _IN_BACKGROUND, log, *self.argv]
        identity = None
        with suppress(OSError, ValueError):  # its folder or its program is gone
            ran = subprocess.run(
                words,
                cwd=self._cwd,
                env=self.environ,
                start_new_session=True,
                check=False,
                stdout=subprocess.PIPE,
            )
            identity = ProcessIdentity.of(int(ran.stdout))
        return {"port": self._port, "process": asdict(identity) if identity else None}

    @property
    def config(self) -> PurePath | None:
        """The file after `--config`, absolute; None where there is none."""
        given = option(self.argv, "--config") or self.environ.get("CONFIG_FILE_PATH")
        return PurePath(self._cwd, given) if given else None


def serving(port: int) -> OldGateway | None:
    """Return what serves the port, or None for nobody.

    Raises:
        GatewayError: It is another user's.
    """
    listener = LocalPorts().listener(port)
    if listener is None:
        return None
    with suppress(OSError):
        if listener.pid is not None:
            return OldGateway(listener.pid, port)
    raise GatewayError(
        f"port {port} is taken",
        why="another user's program listens there",
        fix="stop it, or name the port of your gateway: --port",
    )


def is_returning(started: Mapping[str, Any]) -> bool:
    """Tell whether a gateway that was started again has not ended and serves nobody yet.

    Args:
        started: What `OldGateway.start` or `to_come` returned, perhaps in another run.
    """
    identity = ProcessIdentity.from_json(started.get("process"))
    match started:
        case {"port": int(port), "unit": str(unit)}:
            missing = SystemdService.available()
            runs = missing is None and SystemdService(unit, socket=False).status().running
        case {"port": int(port), "command": str(command)}:
            runs = _runs(command)
        case {"port": int(port)}:
            runs = identity is not None and identity.alive()
        case _:
            return False
    return runs and not HttpGateway(f"http://127.0.0.1:{port}").alive().is_gateway


def _runs(command: str) -> bool:
    """Tell whether a process of ours has the command line of that digest."""
    for folder in _PROC.glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            ours = folder.stat().st_uid == os.geteuid()
            if ours and _digest(_words(folder / "cmdline")) == command:
                return True
    return False


def _digest(argv: tuple[str, ...]) -> str:
    """Return what tells a command line, in which a key may stand, from others."""
    return digest_of("\0".join(argv).encode("utf-8", "surrogateescape"))


def await_return(started: Mapping[str, Any]) -> None:
    """Wait until a gateway that was started again answers, or has ended.

    Raises:
        ServiceError: It does neither for long.
    """
    deadline = time.monotonic() + _RETURN_S
    while is_returning(started):
        if time.monotonic() > deadline:
            raise ServiceError(
                "the old gateway does not answer yet",
                why="an earlier keyturn adopt that did not end has started it again",
                fix="look into its log; stop it by hand, or wait; then run keyturn adopt again",
            )
        time.sleep(_POLL_S)


def run_by_keyturn(port: int) -> bool:
    """Tell whether a program of keyturn's holds the port: its launcher of LiteLLM, its supervisor.

    With a held socket the first that listens is the service manager, which names no config.
    """
    for pid in LocalPorts().holders(port):
        with suppress(OSError):
            if any(
                PurePath(word).name in _KEYTURNS for word in _words(_PROC / str(pid) / "cmdline")
            ):
                return True
    return False


def option(argv: tuple[str, ...], name: str) -> str | None:
    """Return what a command line gives for an option, as `--name value` or `--name=value`."""
    for at, word in enumerate(argv):
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def port_in(argv: tuple[str, ...]) -> int | None:
    """Return the port that a command line names; None for none."""
    given = option(argv, "--port") or ""
    return int(given) if _PORT.fullmatch(given) and 0 < int(given) < 65536 else None


def read_unit(text: str, home: str) -> tuple[tuple[str, ...], dict[str, str], list[PurePath]]:
    """Return command, variables and env files of a unit file; quotes as a shell has them."""
    argv: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    files: list[PurePath] = []
    for line in text.replace("\\\n", " ").splitlines():
        match = _UNIT_LINE.match(line)
        if match is None:
            continue
        words: list[str] = []
        with suppress(ValueError):
            words = shlex.split(match[2].replace("%h", home))
        if match[1] == "ExecStart" and words:
            argv = tuple(words)
        elif match[1] == "Environment":
            variables |= {name: value for name, _, value in (w.partition("=") for w in words)}
        else:
            files += [PurePath(word.removeprefix("-")) for word in words]
    return argv, variables, files


def _words(path: Path) -> tuple[str, ...]:
    data = path.read_bytes().rstrip(b"\0")
    return tuple(word.decode("utf-8", "surrogateescape") for word in data.split(b"\0") if word)


def _unit_of(cgroup: str) -> str | None:
    """Return the user unit in the last line of /proc/PID/cgroup, or None."""
    path = cgroup.strip().rpartition(":")[2]
    last = path.rpartition("/")[2]
    ours = "/user@" in path and last.endswith(".service") and not last.startswith("user@")
    return last if ours else None


def env_file(path: PurePath) -> dict[str, str]:
    """Return the variables of an env file; nothing of one that is missing or malformed."""
    values = {}
    with suppress(TargetError):
        values = read_env_file(path)
    return {n: value.reveal() for n, value in values.items() if isinstance(value, Secret)}


def installed_by_hand(venv: Path) -> str | None:
    """Return the version of LiteLLM in an environment that keyturn did not make, or None."""
    from importlib.metadata import distributions

    if (venv / STAMP).exists() or not os.access(venv / "bin" / "litellm", os.X_OK):
        return None
    folders = [str(path) for path in venv.glob("lib/python3*/site-packages")]
    return next((found.version for found in distributions(name="litellm", path=folders)), None)
