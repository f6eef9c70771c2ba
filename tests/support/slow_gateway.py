"""A gateway whose answer takes as long as a test wants, and that stops as LiteLLM does.

    slow_gateway.py PORT FOLDER

GET /slow makes FOLDER/asked and answers once FOLDER/finish exists. SIGTERM: new connections are
refused, running answers finish, then it ends by itself. FOLDER/deaf: it ignores SIGTERM.
"""

import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    """Answers every GET."""

    def do_GET(self) -> None:
        """Answer, at once or when told."""
        if self.path == "/slow":
            (FOLDER / "asked").touch()
            while not (FOLDER / "finish").exists():
                time.sleep(0.01)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"done")


class Server(ThreadingHTTPServer):
    """Waits for its threads when it is closed."""

    daemon_threads = False


def main() -> None:
    """Serve until SIGTERM."""
    server = Server(("127.0.0.1", int(sys.argv[1])), Handler)

    def stop(*_: object) -> None:
        server.socket.close()
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, signal.SIG_IGN if (FOLDER / "deaf").exists() else stop)
    (FOLDER / "ready").touch()
    server.serve_forever(poll_interval=0.02)
    server.server_close()


if __name__ == "__main__":
    main()
