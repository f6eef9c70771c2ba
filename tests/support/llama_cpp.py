"""The real llama.cpp server: installed once into `.tools/`, started with a model of 100 kB.

`llama-server` itself is in no package index but as source, which takes long to compile. `xllamacpp`
is all of it but `main` and its options, the HTTP part included, as a module of Python that runs on
any Linux with glibc; `tests/tools/llama_server.py` makes that a program again.
"""

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from support.downloads import installing
from support.homes import DOWNLOADS, environment, machine_environment
from support.labs import port_of_our_own
from support.sessions import TOOLS
from support.waiting import until

VERSION = "2026.10.11549"  # llama.cpp's b11549
# Of the builds for x86_64 and arm64.
_PINNED = (
    f"xllamacpp=={VERSION}"
    " --hash=sha256:c54e7d13520ecc989c63dc99d55de3065e2f343a91f43f053d16b5e62077c261"
    " --hash=sha256:e2a3e79e775515de4ad197e667f874070446ef9ac9cf2044bc9866bc4c72289e\n"
)
# Holds up who opens a file, for longer than any test takes; on its own, with the program in front.
_HELD_UP = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=openat"]
_HELD_UP += ["-e", "inject=openat:delay_enter=300s:when=1"]


def real_llama_cpp() -> Path:
    """Return a Python that has llama.cpp's server; the first call in a checkout installs it.

    An installation that broke off has no last file, and is made anew.
    """
    folder = DOWNLOADS / f"llama-cpp-{VERSION}-py{sys.version_info[0]}.{sys.version_info[1]}"
    python, pinned, done = (folder / name for name in ("bin/python", "pinned.txt", "done.txt"))
    with installing("llama-cpp"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", folder)
            pinned.write_text(_PINNED)
            options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
            _run(python, "-m", "pip", "install", *options, "-r", pinned)
            pinned.rename(done)
    return python


class LlamaCpp:
    """llama.cpp's server on a port of its own, stopped when the `with` block begins.

    Args:
        folder: For its log.

    Attributes:
        url: Its address, without `/v1`.
    """

    def __init__(self, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{port_of_our_own()}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LlamaCpp":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, model: Path, *keys: str, context: int = 1024, held_up: bool = False) -> None:
        """Start it, another one in its place, and wait until it has its model.

        Args:
            model: The GGUF file.
            keys: What opens it; none: everybody does.
            context: Its `--ctx-size`, in tokens.
            held_up: Wait only until it says that it loads the model, which it does until `go_on`.
        """
        self.stop()
        before = [*_HELD_UP, "-P", str(model), "--"] if held_up else []
        with (self._folder / "llama.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*before, real_llama_cpp(), TOOLS / "llama_server.py"],
                env=environment(self._folder),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        assert self._process.stdin
        settings = {"model": str(model), "port": self._port, "keys": keys, "context": context}
        self._process.stdin.write(json.dumps(settings).encode() + b"\n")
        self._process.stdin.flush()
        until(lambda: self._health() == (503 if held_up else 200), "llama.cpp's server")

    def go_on(self) -> None:
        """Let a server that was held up load its model, and wait until it has."""
        self._let_go()
        until(lambda: self._health() == 200, "the model")

    def stop(self) -> None:
        """End it, where it runs."""
        if self._process is not None:
            if self._process.poll() is None:
                self._let_go()  # strace would keep its end from us
                self._process.kill()
            self._process.communicate()
            self._process = None

    def _let_go(self) -> None:
        """End what holds it up."""
        assert self._process
        status = Path("/proc", str(self._process.pid), "status").read_text()
        for tracer in re.findall(r"^TracerPid:\s*([1-9]\d*)$", status, re.MULTILINE):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(tracer), signal.SIGKILL)

    @property
    def _port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def _health(self) -> int | None:
        """Return the status of GET /health, which asks for no key; None where nobody answers."""
        assert self._process
        log = (self._folder / "llama.log").read_text("utf-8", "replace")[-2000:]
        assert self._process.poll() is None, f"llama.cpp's server ended: {log}"
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()


def _run(*argv: object) -> None:
    done = subprocess.run(
        [str(word) for word in argv],
        env=machine_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{argv[0]}: {done.stdout[-2000:]}"
