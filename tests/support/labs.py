"""Whole labs with real sops, real age and our real supervisor, and a gateway that starts at once.

The gateway is `tests/tools/mini-gateway` behind a wrapper script that `gateway.command` names, so
that the life of a lab takes a second instead of a minute.
"""

import contextlib
import io
import itertools
import json
import os
import pty
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.adapters.listeners import LocalPorts
from bootstrap.adapters.machine import places
from bootstrap.adapters.supervisor import SupervisorService
from bootstrap.adapters.supervisor_state import Limits
from bootstrap.domain.places import Places
from bootstrap.domain.secret import Secret
from bootstrap.main import main
from support import forked, homes
from support.sessions import TOOLS

MASTER = "LITELLM_MASTER_KEY"
STORE = "secrets/global.enc.env"
MODULE = [sys.executable, "-m", "bootstrap"]
COPIES = forked.Copies()
LAB = """\
version = 1
{top}
[gateway]
port = {port}
service = "supervisor"
command = {command}
{more}
"""


@dataclass(frozen=True)
class Ran:
    """What a run of keyturn gave.

    Attributes:
        code: Its exit status.
        out: Its standard output.
        err: Its standard error.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output as one JSON document."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """Its three-line error by word; fails where it is anything else."""
        assert "Traceback" not in self.err, self.err
        assert self.err.count("error: ") == 1, self.err
        lines = self.err[self.err.index("error: ") :].splitlines()
        found = [line.partition(":") for line in lines]
        words = [word for word, _, _ in found[:3]]
        assert words == ["error", "cause", "fix"], self.err
        return {word: text.strip() for word, _, text in found[:3]} | {"all": "\n".join(lines)}


@dataclass
class CliLab:
    """A lab folder and the home it works in.

    Attributes:
        root: The folder of lab.toml.
        home: The user's home.
        port: The gateway's port.
        wrapper: The script that `gateway.command` names.
        said: All that every run printed, for leak searches.
    """

    root: Path
    home: Path
    port: int
    wrapper: Path
    said: list[str] = field(default_factory=list)

    @property
    def places(self) -> Places:
        """Where things live in its home."""
        return places({"HOME": str(self.home)})

    @property
    def state(self) -> Path:
        """Its state folder."""
        return Path(self.places.lab_state(PurePath(self.root)))

    @property
    def service(self) -> SupervisorService:
        """Its supervisor."""
        return SupervisorService(self.state / "service.json", self.state, Limits(stop_s=5))

    @property
    def file(self) -> Path:
        """Its lab.toml."""
        return self.root / "lab.toml"

    @property
    def store(self) -> Path:
        """Its encrypted store."""
        return self.root / STORE

    @property
    def env_file(self) -> Path:
        """What the gateway reads its keys from."""
        return Path(self.places.env_file)

    @property
    def settings(self) -> Path:
        """droid's settings."""
        return Path(self.places.factory / "settings.json")

    @property
    def key(self) -> str:
        """The master key, read by sops and nothing of ours."""
        return self.value(MASTER)

    @property
    def pid(self) -> int | None:
        """The process of its gateway."""
        return self.service.status().pid

    def value(self, name: str) -> str:
        """Return a value of the store, read by sops and nothing of ours."""
        from support.sops_lab import REAL_SOPS

        types = ["--input-type", "dotenv", "--output-type", "json"]
        ended = subprocess.run(
            [REAL_SOPS, "decrypt", *types, self.store],
            env=homes.environment(self.home),
            cwd=self.root,
            capture_output=True,
            check=True,
        )
        return str(json.loads(ended.stdout)[name])

    def write(self, *, top: str = "", gateway: str = "", more: str = "") -> None:
        """Write lab.toml."""
        command = json.dumps(str(self.wrapper))
        text = LAB.format(top=top, port=self.port, command=command, more=f"{gateway}\n{more}")
        self.root.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that its commands run with."""
        return homes.environment(self.home, **more)

    def run(
        self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Ran:
        """Run keyturn as a process of its own, in the lab's folder."""
        variables = self.environment() if env is None else env
        # What Python reads when it starts: PYTHONPATH and the like.
        start = _started if any(name.startswith("PYTHON") for name in variables) else _copied
        ran = start(words, cwd or self.root, variables)
        self.said += [ran.out, ran.err]
        return ran

    def twice_at_once(self, *words: str) -> None:
        """Run keyturn twice at the same time; either may do it first, or find the other at it."""
        with tempfile.TemporaryFile() as output:
            files = (0, output.fileno(), output.fileno())
            both = [
                COPIES.start(words, cwd=self.root, env=self.environment(), descriptors=files)
                for _ in range(2)
            ]
            codes = sorted(forked.status(one) for one in both)
            output.seek(0)
            assert codes in ([0, 0], [0, 7]), output.read()

    def accepts(self, key: str) -> bool:
        """Tell whether its gateway accepts a key."""
        return HttpGateway(f"http://127.0.0.1:{self.port}").models(Secret(key)).status == 200

    def call(
        self, *words: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Ran:
        """Run keyturn inside this process, in the lab's folder: faster, and seen by a debugger."""
        variables = {"HOME": str(self.home), **(env or {})}
        ran = call(*words, cwd=cwd or self.root, env=variables)
        self.said += [ran.out, ran.err]
        return ran

    def ok(self, *words: str) -> Ran:
        """Call keyturn and insist that it ends well."""
        ran = self.call(*words)
        assert ran.code == 0, ran.out + ran.err
        return ran

    def snapshot(self) -> dict[str, str]:
        """Return every file of the lab and its home, to show that nothing changed.

        Left out: the lock, which says who held it last, and what the gateway itself writes.
        """
        found = {f"lab/{k}": v for k, v in homes.snapshot(self.root).items()}
        found |= {f"home/{k}": v for k, v in homes.snapshot(self.home).items()}
        own = ("/lock", "/gateway.log", "/supervisor.json", "/supervisor.lock")
        return {path: what for path, what in found.items() if not path.endswith(own)}


def _copied(words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Ran:
    return Ran(*forked.run(COPIES, words, cwd=cwd, env=env))


def _started(words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Ran:
    ended = subprocess.run(
        [*MODULE, *words],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return Ran(ended.returncode, ended.stdout.decode(), ended.stderr.decode())


def write_wrapper(path: Path, body: str | None = None) -> Path:
    """Write a script that stands in for `litellm`; by default it becomes the mini-gateway.

    Args:
        path: Where.
        body: Shell commands instead; `$MINI` becomes the mini-gateway.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # -S: without what else is installed, where to measure coverage takes longer than to start it.
    mini = f'exec {sys.executable} -I -S {TOOLS / "mini-gateway"} "$@"'
    text = "#!/bin/sh\n" + (mini if body is None else body.replace("$MINI", mini)) + "\n"
    path.write_text(text)
    path.chmod(0o755)
    return path


_ports = itertools.cycle(range(100))


def port_of_our_own() -> int:
    """Return a port below the range that the kernel hands out, in a part of this process's own.

    A gateway may be started long after its port was chosen: a port that merely was free then could
    have been given to a test beside this one.
    """
    first = 10000 + os.getpid() % 200 * 100
    return next(first + n for n in _ports if LocalPorts().listener(first + n) is None)


def make(folder: Path, home: Path, *, name: str = "lab", write: bool = True) -> CliLab:
    """Return a lab in `folder/name` for `home`, with its lab.toml and nothing else."""
    root = folder / name
    root.mkdir(parents=True, exist_ok=True)
    lab = CliLab(root, home, port_of_our_own(), write_wrapper(folder / "bin" / "litellm"))
    if write:
        lab.write()
    return lab


@contextlib.contextmanager
def stopped_after(lab: CliLab) -> Iterator[CliLab]:
    """Give the lab, and stop its gateway however the block ends."""
    try:
        yield lab
    finally:
        lab.service.stop()


def bootstrapped(folder: Path, home: Path, *more: str, name: str = "lab") -> CliLab:
    """Return a lab that `keyturn bootstrap` has made; the caller stops it."""
    lab = make(folder, home, name=name)
    lab.ok("bootstrap", str(lab.root), *more)
    return lab


def call(*words: str, cwd: Path, env: Mapping[str, str] | None = None) -> Ran:
    """Run keyturn inside this process, and return what it wrote, to descriptors or to streams."""
    before = dict(os.environ)
    folder = Path.cwd()
    argv, sys.argv = sys.argv, ["keyturn", *words]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            os.chdir(cwd)
            os.environ.update(env or {})
            with _redirected(out, 1, "stdout"), _redirected(err, 2, "stderr"):
                code = main()
        finally:
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(before)
            sys.argv = argv
        out.seek(0)
        err.seek(0)
        return Ran(code, out.read().decode(), err.read().decode())


def feed(lab: CliLab, *words: str, stdin: str) -> Ran:
    """Call keyturn inside this process with a text on its standard input."""
    kept, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin.encode()))
    try:
        return lab.call(*words)
    finally:
        sys.stdin = kept


@contextlib.contextmanager
def _redirected(file: Any, descriptor: int, name: str) -> Iterator[None]:
    kept, stream = os.dup(descriptor), getattr(sys, name)
    stream.flush()
    os.dup2(file.fileno(), descriptor)
    setattr(sys, name, io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), "utf-8"))
    try:
        yield
        getattr(sys, name).flush()
    finally:
        setattr(sys, name, stream)
        os.dup2(kept, descriptor)
        os.close(kept)


def on_terminal(
    *words: str, cwd: Path, env: Mapping[str, str], limit_s: float = 60
) -> tuple[int, str]:
    """Run keyturn on a terminal of its own; return its status and all that the terminal got."""
    ours, theirs = pty.openpty()
    variables = {"TERM": "xterm-256color", **env}
    child = COPIES.start(words, cwd=cwd, env=variables, descriptors=(theirs,) * 3)
    os.close(theirs)
    pieces = []
    with contextlib.suppress(OSError):  # EIO: the last one has closed it
        while select.select([ours], [], [], limit_s)[0]:
            piece = os.read(ours, 65536)
            if not piece:
                break
            pieces.append(piece)
    os.close(ours)
    return forked.status(child, 10), b"".join(pieces).decode()
