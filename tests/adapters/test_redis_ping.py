"""Whether a Redis takes the password, asked of the real one and of servers that are none."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bootstrap.adapters.redis_ping import ping
from bootstrap.domain.secret import Secret
from support.redis_server import start_redis, stop

PASSWORD = "test pass \"word\" 'é' €"
Answer = Callable[[bytes], int]


@pytest.fixture
def canned() -> Iterator[Answer]:
    """Start a server that gives one canned answer to whatever comes; returns its port."""
    servers: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(answer: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def serve() -> None:
            peer, _ = server.accept()
            with closing(peer):
                peer.recv(4096)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        threads.append(thread)
        return int(server.getsockname()[1])

    yield start
    for thread in threads:
        thread.join()
    for server in servers:
        server.close()


@pytest.fixture
def guarded(tmp_path: Path, free_port: int) -> Iterator[int]:
    quoted = "".join(f"\\x{byte:02x}" for byte in PASSWORD.encode())
    server = start_redis(tmp_path, free_port, f'requirepass "{quoted}"')
    yield free_port
    stop(server)


@pytest.mark.integration
def test_the_right_password_opens_it(guarded: int) -> None:
    assert ping("127.0.0.1", guarded, Secret(PASSWORD)) is None


@pytest.mark.integration
def test_a_wrong_password_is_refused(guarded: int) -> None:
    assert ping("127.0.0.1", guarded, Secret("sk-test-wrong")) == "it refuses the password"


@pytest.mark.integration
def test_no_password_is_not_enough(guarded: int) -> None:
    assert ping("127.0.0.1", guarded, None) == "it wants a password, and the lab names none"


@pytest.mark.integration
def test_an_open_redis_answers_without_a_password_and_wants_none(
    tmp_path: Path, free_port: int
) -> None:
    server = start_redis(tmp_path, free_port)
    assert ping("127.0.0.1", free_port, None) is None
    found = ping("127.0.0.1", free_port, Secret("sk-test"))
    assert found == "it has no password, but the lab names one"
    stop(server)


def test_nothing_listening_is_a_refused_connection(free_port: int) -> None:
    found = ping("127.0.0.1", free_port, None)
    assert found == "connection refused: nothing listens there"


def test_a_host_that_is_not_known() -> None:
    assert ping("redis.invalid", 6379, None) == "its host name is not known"


def test_a_silent_server_is_not_waited_for(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        assert ping("127.0.0.1", free_port, None, timeout_s=0.05) == "it does not answer in time"


def test_a_server_that_resets_the_connection(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)) as server:

        def reset() -> None:
            peer, _ = server.accept()
            peer.recv(1)  # the rest stays unread: the kernel resets
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()

        thread = threading.Thread(target=reset)
        thread.start()
        assert ping("127.0.0.1", free_port, None) == "the connection breaks"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "still loading"),
        (b"-DENIED Redis is running in protected mode\r\n", "protected mode"),
        (b"-ERR invalid password\r\n", "refuses the password"),
        (b"-ERR Client sent AUTH, but no password is set\r\n", "has no password"),
        (b"-MISCONF sk-test-secret\r\n", "refuses the question"),
        (b"HTTP/1.1 400 Bad Request sk-test-secret\r\n\r\n", "not Redis"),
        (b"", "not Redis"),
        (b"x" * 10_000, "not Redis"),
    ],
)
def test_other_answers_are_named_and_not_repeated(
    canned: Answer, answer: bytes, words: str
) -> None:
    found = ping("127.0.0.1", canned(answer), Secret("sk-test-secret")) or ""
    assert words in found
    assert "secret" not in found
