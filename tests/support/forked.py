"""Runs of keyturn that begin as copies of a process which has imported it already.

Python's start and the imports take longer than most commands. A copy is a process of its own in
all else: environment, folder, descriptors, signals, session.

    python -P forked.py SOCKET

forks one for each connection to SOCKET, until its standard input, if that is a pipe, has ended. A
request is a line of JSON with the three standard descriptors; the answer is the exit status,
negative for a signal.
"""

import gc
import io
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.user_systemd import Session

_BACKLOG = 16
_DESCRIPTORS = 3
_MOST_BYTES = 1 << 20


_begun: "list[subprocess.Popen[bytes]]" = []
_places: list[Path] = []
NURSERY = (sys.executable, "-P", __file__)


class Copies:
    """Starts such runs: the nursery is started with the first one; see `end`."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._path: Path | None = None
        # Whether a run has the nursery's environment beside what it is given.
        self._adds = False

    def start(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        descriptors: Sequence[int],
        code: str = "",
    ) -> socket.socket:
        """Start `keyturn WORDS`, or Python code with them as its arguments; for `status`."""
        if self._path is None:
            self._path = self._begin(new_place())
        asked = {"words": words, "cwd": str(cwd), "env": dict(env), "adds": self._adds}
        data = json.dumps({**asked, "code": code}).encode() + b"\n"
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(str(self._path))
        sent = socket.send_fds(connection, [data], list(descriptors))
        connection.sendall(data[sent:])
        return connection

    def _begin(self, path: Path) -> Path:
        pipe = subprocess.PIPE
        process = subprocess.Popen([*NURSERY, path], stdin=pipe, stdout=pipe, cwd="/")
        _begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return path


class CopiesInSession(Copies):
    """The same inside a session, with its environment; ends with it."""

    def __init__(self, session: "Session") -> None:
        """Start nothing yet."""
        super().__init__()
        self._adds = True
        self._session = session

    def _begin(self, path: Path) -> Path:
        from support.waiting import until

        script = 'out=$1; shift; "$@" >"$out" 2>&1 </dev/null &'
        ready = path.with_name("ready")
        self._session.check("sh", "-c", script, "sh", ready, *NURSERY, path)
        until(lambda: ready.read_text() == "ready\n", "the nursery", 20)
        return path


def new_place() -> Path:
    """Return a path that is short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="keyturn-", dir="/tmp"))
    _places.append(folder)
    return folder / "socket"


def end() -> None:
    """End every nursery outside of a session, and leave nothing of any behind."""
    while _begun:
        _begun.pop().communicate()
    while _places:
        shutil.rmtree(_places.pop(), ignore_errors=True)


def status(connection: socket.socket, limit_s: float = 60) -> int:
    """Return its exit status when it has ended."""
    with connection:
        connection.settimeout(limit_s)
        said = connection.recv(32)
    assert said, "the nursery has ended"
    return int(said)


def run(
    copies: Copies,
    words: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: str = "",
    code: str = "",
    limit_s: float = 60,
) -> tuple[int, str, str]:
    """Run it to its end, and return status, output and errors."""
    with (
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        given.write(stdin.encode())
        given.seek(0)
        files = [given.fileno(), out.fileno(), err.fileno()]
        ended = status(copies.start(words, cwd=cwd, env=env, descriptors=files, code=code), limit_s)
        out.seek(0)
        err.seek(0)
        return ended, out.read().decode(), err.read().decode()


def _warm() -> None:
    """Import what commands import."""
    import http.client
    import queue

    import jinja2
    import yaml

    from bootstrap.cli import app

    app.make()
    assert http.client
    assert queue
    assert jinja2
    assert yaml
    gc.freeze()


def _serve(path: str) -> None:
    _warm()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(_BACKLOG)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    watched: list[Any] = [listener]
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        watched.append(0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while 0 not in select.select(watched, [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(connection)
        connection.close()
    shutil.rmtree(Path(path).parent, ignore_errors=True)


def _attend(connection: socket.socket) -> None:
    """Start the one that is asked for, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    data, descriptors, _, _ = socket.recv_fds(connection, _MOST_BYTES, _DESCRIPTORS)
    while not data.endswith(b"\n"):
        data += connection.recv(_MOST_BYTES)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(json.loads(data), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    _, ended = os.waitpid(pid, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(ended)).encode())
    os._exit(0)


def _become(asked: dict[str, Any], descriptors: list[int]) -> None:
    from bootstrap.main import main

    code: object = 70
    try:
        os.setsid()
        os.chdir(asked["cwd"])
        if not asked["adds"]:
            os.environ.clear()
        os.environ.update(asked["env"])
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        _renew_streams()
        if asked["code"]:
            sys.argv = ["-c", *asked["words"]]
            exec(asked["code"], {"__name__": "__main__"})  # noqa: S102
            code = 0
        else:
            sys.argv = ["keyturn", *asked["words"]]
            code = main()
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as ending:
        code = ending.code
    except BaseException:  # noqa: BLE001 - as the interpreter would
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        code = 1
    finally:
        os._exit(code if isinstance(code, int) else 0)


def _renew_streams() -> None:
    """Make the streams anew, as Python does when it starts, for these descriptors."""
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
    for number, name, errors in ((1, "stdout", "strict"), (2, "stderr", "backslashreplace")):
        raw = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        buffered = number == 1 and not os.isatty(number)
        stream = io.TextIOWrapper(raw, "utf-8", errors, line_buffering=not buffered)
        setattr(sys, name, stream)


if __name__ == "__main__":
    _serve(sys.argv[1])
