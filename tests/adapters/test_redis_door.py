"""The password of a real Redis, both valid in between; and servers that cannot do that."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bootstrap.adapters.redis_door import PasswordDoor
from bootstrap.adapters.redis_ping import ping
from bootstrap.domain.errors import ServiceError
from bootstrap.domain.secret import Secret
from support.homes import pick_free_port
from support.redis_server import running_redis

OLD, NEW, THIRD = (Secret(f"test-{name}-0123456789") for name in ("old", "new", "third"))


def opens(port: int, *passwords: Secret) -> list[bool]:
    return [ping("127.0.0.1", port, password) is None for password in passwords]


@pytest.mark.integration
class TestReal:
    @pytest.fixture
    def port(self, tmp_path: Path) -> Iterator[int]:
        settings = f"requirepass {OLD.reveal()}"
        with running_redis(tmp_path, pick_free_port(), settings, file=tmp_path / "r.conf") as port:
            yield port

    def test_both_open_it_until_the_old_one_is_dropped(self, port: int) -> None:
        door = PasswordDoor("127.0.0.1", port)
        assert door.hindrance(OLD) is None
        for _ in range(2):  # each step is safe to repeat
            door.open_both(NEW, OLD)
            assert opens(port, OLD, NEW) == [True, True]
        for _ in range(2):
            door.close(NEW, OLD)
            assert opens(port, OLD, NEW) == [False, True]
        door.open_both(OLD, NEW)
        door.close(OLD, NEW)
        door.close(OLD, None)
        assert opens(port, OLD, NEW) == [True, False]

    def test_what_redis_would_write_into_its_file_is_the_new_one(
        self, port: int, tmp_path: Path
    ) -> None:
        door = PasswordDoor("127.0.0.1", port)
        door.open_both(NEW, OLD)
        door.close(NEW, OLD)
        assert door.forgets(NEW) == "type: redis-cli --askpass CONFIG REWRITE"
        with socket.create_connection(("127.0.0.1", port)) as wire:
            wire.sendall(f"AUTH {NEW.reveal()}\r\nCONFIG REWRITE\r\n".encode())
            assert wire.recv(100).startswith(b"+OK")
            wire.sendall(b"PING\r\n")
            while b"PONG" not in wire.recv(100):
                pass
        written = (tmp_path / "r.conf").read_text()
        assert OLD.reveal() not in written
        assert NEW.reveal() in written

    def test_a_third_password_that_somebody_added_stays(self, port: int) -> None:
        door = PasswordDoor("127.0.0.1", port)
        with socket.create_connection(("127.0.0.1", port)) as wire:
            lines = f"AUTH {OLD.reveal()}\r\nACL SETUSER default >{THIRD.reveal()}\r\n"
            wire.sendall(lines.encode())
            assert wire.recv(100).startswith(b"+OK")
            door.open_both(NEW, OLD)
            door.close(NEW, OLD)
        assert opens(port, OLD, NEW, THIRD) == [False, True, True]

    def test_a_password_that_opens_nothing_changes_nothing(self, port: int) -> None:
        door = PasswordDoor("127.0.0.1", port)
        assert door.hindrance(NEW) == "it refuses the password"
        with pytest.raises(ServiceError) as caught:
            door.open_both(NEW, THIRD)
        assert "lets nobody in" in caught.value.what
        with pytest.raises(ServiceError):
            door.close(NEW, None)
        assert opens(port, OLD) == [True]

    def test_an_acl_file_is_saved_by_acl_save(self, tmp_path: Path) -> None:
        acl = tmp_path / "users.acl"
        acl.write_text(f"user default on >{OLD.reveal()} ~* &* +@all\n")
        with running_redis(tmp_path, pick_free_port(), f"aclfile {acl}") as port:
            door = PasswordDoor("127.0.0.1", port)
            door.open_both(NEW, OLD)
            door.close(NEW, OLD)
            assert opens(port, OLD, NEW) == [False, True]
            assert door.forgets(NEW) == "type: redis-cli --askpass ACL SAVE"

    def test_one_without_acl_takes_one_password_at_a_time(self, tmp_path: Path) -> None:
        settings = f'requirepass {OLD.reveal()}\nrename-command ACL ""'
        with running_redis(tmp_path, pick_free_port(), settings) as port:
            door = PasswordDoor("127.0.0.1", port)
            assert door.hindrance(OLD) is None
            door.open_both(NEW, OLD)
            assert opens(port, OLD, NEW) == [False, True]
            door.close(NEW, OLD)
            assert opens(port, OLD, NEW) == [False, True]
            assert door.forgets(NEW) == "change it where this Redis is started from"

    def test_one_that_allows_neither_is_told_without_a_password(self, tmp_path: Path) -> None:
        settings = (
            f'requirepass {OLD.reveal()}\nrename-command ACL ""\nrename-command CONFIG ""\n'
            'rename-command INFO ""'
        )
        with running_redis(tmp_path, pick_free_port(), settings) as port:
            door = PasswordDoor("127.0.0.1", port)
            assert "neither use ACL nor CONFIG" in str(door.hindrance(OLD))
            with pytest.raises(ServiceError) as caught:
                door.open_both(NEW, OLD)
            assert "it answers ERR" in caught.value.why
            assert NEW.reveal() not in str(caught.value)
            assert door.forgets(OLD) == "change it where this Redis is started from"


class Canned:
    """A server that answers each command by the next of its lines, the last one for ever."""

    def __init__(self, *answers: bytes) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._answers = list(answers)
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with closing(peer):
                while word := peer.recv(4096):
                    if b"AUTH" in word:
                        answer = b"+OK\r\n"
                    elif b"PING" in word:
                        answer = b"+PONG\r\n"
                    else:
                        answer = self._answers[0]
                        del self._answers[: len(self._answers) > 1]
                    peer.sendall(answer)

    def stop(self) -> None:
        """End it."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((b"-NOPERM sk-test-secret\r\n",), "it answers NOPERM"),
        ((b"-sk-test-secret-x\r\n",), "it answers ERR"),
        ((b"what?\r\n",), "the connection breaks"),
        ((b"*1\r\n" * 9,), "the connection breaks"),
    ],
)
def test_odd_answers_are_told_and_not_repeated(answers: tuple[bytes, ...], words: str) -> None:
    server = Canned(*answers)
    with pytest.raises(ServiceError) as caught:
        PasswordDoor("127.0.0.1", server.port).open_both(NEW, OLD)
    server.stop()
    assert words in caught.value.why
    assert "secret" not in str(caught.value)


def test_a_password_that_still_opens_it_is_no_end_of_it() -> None:
    server = Canned(b"$-1\r\n", b":1\r\n")
    with pytest.raises(ServiceError) as caught:
        PasswordDoor("127.0.0.1", server.port).close(NEW, OLD)
    server.stop()
    assert f"does not refuse the password {OLD.fingerprint()}" in caught.value.what


def test_a_server_that_breaks_off_is_told_before_and_asked_nothing_after_a_rotation() -> None:
    server = Canned(b"what?\r\n")
    door = PasswordDoor("127.0.0.1", server.port)
    assert door.hindrance(OLD) == "the connection breaks"
    assert door.forgets(OLD) == "change it where this Redis is started from"
    server.stop()
