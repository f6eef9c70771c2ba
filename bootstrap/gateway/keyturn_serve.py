"""Written by keyturn. Serves LiteLLM on a listening socket that the service manager holds open.

    python -I -u keyturn_serve.py CONFIG.yaml

LiteLLM's own command opens the port itself, so each restart refuses connections for some seconds,
and on port 4000 it moves to a random port where the port is taken (1.63 to 1.109). This program
runs the same command, but where it would call `uvicorn.run` it serves the socket that came as
file descriptor 3 (sd_listen_fds(3)), and says READY=1 (sd_notify(3)) once requests are answered.

At SIGTERM it leaves new connections to whoever else has the socket, answers what comes in on the
open ones with `Connection: close`, and ends once they are gone: so neither a running stream nor a
client that keeps its connection is cut off. Needs LiteLLM and uvicorn only.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

FIRST_FD = 3  # sd_listen_fds(3)
STARTUP_FAILED = 3  # uvicorn's own exit status for it
# Where to listen is settled; one process, and no watching of files.
_SETTLED = ("host", "port", "uds", "fd", "workers", "reload", "reload_includes", "reload_dirs")
_PAUSE_S = 0.05


def inherited() -> socket.socket | None:
    """Return the listening socket that was passed to this process, or None."""
    meant = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = os.environ.pop("LISTEN_FDS", "0")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not meant or count != "1":
        return None
    os.set_inheritable(FIRST_FD, False)
    return socket.socket(fileno=FIRST_FD)


def notify(address: str, text: str) -> None:
    """Tell the service manager at `address` (a path, or `@name`); empty where there is none."""
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send(text.encode())


def server_class(base: type, manager: str) -> type:
    """Return uvicorn's Server with a start that is announced and an end that cuts nobody off.

    Args:
        base: `uvicorn.Server`.
        manager: The service manager's notification address.
    """

    class Server(base):  # type: ignore[misc]
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Start, and say so."""
            await super().startup(sockets=sockets)
            if self.started:
                notify(manager, "READY=1")

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            """Stop accepting; let every open connection come to its own end; then shut down."""
            for server in self.servers:
                server.close()
            state = self.server_state
            state.default_headers = [*state.default_headers, (b"connection", b"close")]
            # By then a connection that nobody uses was closed by the server's keep-alive timeout.
            # What still runs is a long answer, which uvicorn waits for itself.
            left_s = self.config.timeout_keep_alive + 1.0
            while state.connections and left_s > 0 and not self.force_exit:
                await asyncio.sleep(_PAUSE_S)
                left_s -= _PAUSE_S
            await super().shutdown(sockets=sockets)

    return Server


def serve(app: Any, listener: socket.socket, manager: str, **options: Any) -> None:
    """Stand in for `uvicorn.run`: serve `app` on `listener` until SIGTERM."""
    import uvicorn

    wanted = {name: value for name, value in options.items() if name not in _SETTLED}
    config = uvicorn.Config(app, workers=1, **wanted)
    server = server_class(uvicorn.Server, manager)(config)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit(STARTUP_FAILED)


def main(argv: list[str]) -> None:
    """Run LiteLLM's own command with the config at `argv[1]`, on the inherited socket."""
    listener = inherited()
    if listener is None:
        sys.exit("keyturn_serve: no listening socket was passed; start litellm.socket first")
    manager = os.environ.pop("NOTIFY_SOCKET", "")
    import uvicorn
    from litellm.proxy.proxy_cli import run_server

    uvicorn.run = lambda app, **options: serve(app, listener, manager, **options)
    # The address is not used. Port 4000 would make LiteLLM knock at it, and find it taken.
    run_server(["--config", argv[1], "--host", "127.0.0.1", "--port", "1"])


if __name__ == "__main__":
    main(sys.argv)
