"""What the guard costs per request: LiteLLM with it and LiteLLM with its own check, side by side.

Starts both on the loopback address with the model `lab-echo`, which answers without a backend,
sends chat completions to them in turns, and prints a table. Usage:

    python benchmarks/guard.py LITELLM [REQUESTS]

LITELLM is the program, for example `.tools/litellm-…/bin/litellm`; REQUESTS, per server, is 2000.
"""

import http.client
import json
import os
import random
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bootstrap.domain.keyset import KEYSET_FILE, Keyset
from bootstrap.domain.secret import Secret

GATEWAY = Path(__file__).resolve().parent.parent / "bootstrap" / "gateway"
CONFIG = """\
model_list:
  - model_name: "lab-echo"
    litellm_params: {model: "openai/lab-echo", api_key: "none", mock_response: "the gateway works"}
general_settings:
  master_key: "os.environ/BENCHMARK_KEY"
"""
GUARD = """\
  custom_auth: "keyturn_guard.user_api_key_auth"
  custom_auth_run_common_checks: true
"""
BODY = json.dumps({"model": "lab-echo", "messages": [{"role": "user", "content": "hi " * 200}]})
CLIENTS = 4
SLICE_S = 1.0


class Server:
    """A running LiteLLM.

    Args:
        port: Where it listens.
        key: The key to call it with.
        pid: Its process.
    """

    def __init__(self, port: int, key: Secret, pid: int) -> None:
        self.port = port
        self._pid = pid
        self._headers = {
            "Authorization": f"Bearer {key.reveal()}",
            "Content-Type": "application/json",
        }

    def connect(self) -> http.client.HTTPConnection:
        """Return a connection that stays open."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, connection: http.client.HTTPConnection) -> float:
        """Return how many seconds one chat completion takes."""
        start = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", BODY, self._headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status
        return time.perf_counter() - start

    def cpu(self) -> float:
        """Return the seconds of processor time that it has used."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rate(self) -> float:
        """Return requests per second of CLIENTS clients at once."""
        end, counts = time.perf_counter() + SLICE_S, [0] * CLIENTS

        def client(number: int) -> None:
            connection = self.connect()
            while time.perf_counter() < end:
                self.ask(connection)
                counts[number] += 1
            connection.close()

        threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - start)


@contextmanager
def litellm(program: str, folder: Path, variant: str) -> Iterator[Server]:
    """Run LiteLLM until the block ends.

    Args:
        program: Its path.
        folder: For its files.
        variant: `stock`, `guard`, or `client`: the guard, called with a client's key.
    """
    key, internal = (Secret("sk-" + secrets.token_urlsafe(32)) for _ in range(2))
    config = CONFIG + ("" if variant == "stock" else GUARD)
    keyset = Keyset().with_current(Secret("sk-" + secrets.token_urlsafe(32)))
    if variant == "guard":
        keyset = Keyset().with_current(key)
    elif variant == "client":
        keyset = keyset.with_client("benchmark", key, ["lab-echo"], None)
    (folder / "config.yaml").write_text(config)
    for name in ("keyturn_guard.py", "keyturn_guard_rules.py", "keyturn_guard_uses.py"):
        shutil.copy(GATEWAY / name, folder)
    (folder / KEYSET_FILE).touch(0o600)
    (folder / KEYSET_FILE).write_bytes(keyset.to_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    secret = key if variant == "stock" else internal
    more = {
        "BENCHMARK_KEY": secret.reveal(),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
    }
    process = subprocess.Popen(
        [
            Path(program).absolute(),
            "--config",
            folder / "config.yaml",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        env=os.environ | more,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            assert process.poll() is None, f"LiteLLM ended ({variant})"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield Server(port, key, process.pid)
    finally:
        process.terminate()
        process.wait(30)


def main(program: str, requests: int) -> None:
    """Measure and print."""
    names = {
        "stock": "LiteLLM's own check",
        "guard": "guard, master key",
        "client": "guard, client key with models",
    }
    with ExitStack() as stack:
        servers = {}
        for variant in names:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            servers[variant] = stack.enter_context(litellm(program, folder, variant))
        connections = {variant: server.connect() for variant, server in servers.items()}
        for _ in range(100):
            for variant, server in servers.items():
                server.ask(connections[variant])
        times: dict[str, list[float]] = {variant: [] for variant in names}
        order = list(names)
        used = {variant: -server.cpu() for variant, server in servers.items()}
        for _ in range(requests):
            random.shuffle(order)
            for variant in order:
                times[variant].append(servers[variant].ask(connections[variant]))
        for variant, server in servers.items():
            used[variant] += server.cpu()
        rates: dict[str, list[float]] = {variant: [] for variant in names}
        for _ in range(max(4, requests // 50)):
            random.shuffle(order)
            for variant in order:
                rates[variant].append(servers[variant].rate())
    print(f"\n{requests} requests each in turns, then {len(rates['stock'])} slices of {SLICE_S} s")
    print(
        "with",
        CLIENTS,
        "clients each. Ratios are to the first row; CPU is the server's, per request.\n",
    )
    print("| check | p50 ms | ratio | p99 ms | ratio | CPU ms | ratio | requests/s | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    base: tuple[float, ...] | None = None
    for variant, name in names.items():
        cuts = statistics.quantiles(times[variant], n=100)
        cpu = used[variant] / requests
        row = (cuts[49] * 1000, cuts[98] * 1000, cpu * 1000, statistics.median(rates[variant]))
        base = base or row
        cells = [
            f"{value:.2f} | {value / first:.3f}" for value, first in zip(row, base, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 2000)
