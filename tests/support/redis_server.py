"""The real redis-server, with a configuration that comes on its standard input or in a file."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def start_redis(folder: Path, port: int, more: str = "", *, file: Path | None = None) -> "Server":
    """Start it, without persistence, and return it once it answers.

    Args:
        folder: Where it runs.
        port: Where it listens, on the loopback address.
        more: Further lines of its configuration.
        file: Write the configuration there instead, for it to rewrite.
    """
    text = f'bind 127.0.0.1\nport {port}\nsave ""\nappendonly no\n{more}\n'
    if file is not None:
        file.write_text(text)
    server = subprocess.Popen(
        ["redis-server", str(file or "-")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=folder,
    )
    assert server.stdin
    assert server.stdout
    if file is None:
        server.stdin.write(text.encode())
    server.stdin.close()
    for line in server.stdout:
        if b"Ready to accept connections" in line:
            return server
    raise AssertionError("redis-server did not start")


def stop(server: "Server") -> None:
    """End it."""
    server.terminate()
    server.wait(10)
    assert server.stdout
    server.stdout.close()


@contextmanager
def running_redis(
    folder: Path, port: int, more: str = "", *, file: Path | None = None
) -> Iterator[int]:
    """Start it as `start_redis`, give its port, and stop it."""
    server = start_redis(folder, port, more, file=file)
    try:
        yield port
    finally:
        stop(server)


Server = subprocess.Popen[bytes]
