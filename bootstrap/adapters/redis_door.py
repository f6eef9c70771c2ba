"""Change the password of a Redis, in its own protocol: two valid for a while where it knows ACLs.

Since Redis 6 a user has a list of passwords; before that, and where ACL is switched off, there is
one, and changing it shuts the old one out at once. Connections that are open already stay so.
What was seen with Redis 7.0: an error about a password quotes it, so no answer is ever repeated;
`ACL SETUSER default <PASSWORD` leaves the old one readable in `CONFIG GET requirepass`.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Any

from bootstrap.adapters.redis_ping import bytes_of, encode, ping
from bootstrap.domain.errors import ServiceError
from bootstrap.domain.secret import Secret

_MOST_BYTES = 1_000_000
_MOST_ITEMS = 10_000
_USER = b"default"
# What a server leads to that ends in the middle, or is no Redis any more.
_BROKEN = (ServiceError, OSError, ValueError)


class RedisError(Exception):
    """An error that the server answered; holds its first word only."""


class PasswordDoor:
    """The password of one Redis; see `bootstrap.workflows.tools.RedisDoor`.

    Args:
        host: Its address.
        port: 1 to 65535.
        timeout_s: Seconds for the connection and for each answer.
    """

    def __init__(self, host: str, port: int, timeout_s: float = 3.0) -> None:
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def hindrance(self, current: Secret) -> str | None:
        """Return why the password cannot be changed."""
        wrong = self._ping(current)
        if wrong is not None:
            return wrong
        try:
            with self._opened(current) as ask:
                if _passwords(ask) is None:
                    ask(b"CONFIG", b"GET", b"requirepass")
        except RedisError:
            return "its user `default` may neither use ACL nor CONFIG"
        except _BROKEN:
            return "the connection breaks"
        return None

    def open_both(self, current: Secret, other: Secret) -> None:
        """Make `current` open it, and `other` too where it knows two passwords."""
        with self._explained("take the new password"), self._opened(current, other) as ask:
            if _passwords(ask) is None:
                ask(b"CONFIG", b"SET", b"requirepass", bytes_of(current))
            else:
                words = (b">" + bytes_of(current), b">" + bytes_of(other))
                ask(b"ACL", b"SETUSER", _USER, *words)
        self._prove(current, opens=True)

    def close(self, current: Secret, other: Secret | None) -> None:
        """Make `current` open it and `other` no more, and prove both."""
        candidates = (current,) if other is None else (current, other)
        with self._explained("drop the other password"), self._opened(*candidates) as ask:
            self._settle(ask, current, other)
        self._prove(current, opens=True)
        if other is not None:
            self._prove(other, opens=False)

    def forgets(self, current: Secret) -> str:
        """Return what to do so that its next start does not bring the old password back."""
        try:
            with self._opened(current) as ask:
                if _setting(ask, b"aclfile"):
                    return "type: redis-cli --askpass ACL SAVE"
                if _config_file(ask):
                    return "type: redis-cli --askpass CONFIG REWRITE"
        except (RedisError, *_BROKEN):
            pass
        return "change it where this Redis is started from"

    def _settle(self, ask: Callable[..., Any], current: Secret, other: Secret | None) -> None:
        held = _passwords(ask)
        if held is None:
            ask(b"CONFIG", b"SET", b"requirepass", bytes_of(current))
            return
        ask(b"ACL", b"SETUSER", _USER, b">" + bytes_of(current))
        if other is not None and other.digest().encode() in held:
            ask(b"ACL", b"SETUSER", _USER, b"<" + bytes_of(other))
        with contextlib.suppress(RedisError):
            # It keeps the one it was started with in plain text, and CONFIG REWRITE writes that.
            # Setting it drops every other password, so only where there is none.
            if len(_passwords(ask) or ()) == 1 and _setting(ask, b"requirepass"):
                ask(b"CONFIG", b"SET", b"requirepass", bytes_of(current))

    def _prove(self, password: Secret, *, opens: bool) -> None:
        wrong = self._ping(password)
        if (wrong is None) != opens:
            word = "accept" if opens else "refuse"
            raise ServiceError(
                f"Redis at {self._host}:{self._port} does not {word} "
                f"the password {password.fingerprint()}",
                why=wrong or "it still opens it",
                fix="keyturn check; look at ACL GETUSER default there",
            )

    def _ping(self, password: Secret) -> str | None:
        return ping(self._host, self._port, password, self._timeout_s)

    @contextlib.contextmanager
    def _opened(self, *passwords: Secret) -> Iterator[Callable[..., Any]]:
        """Give what asks a Redis that the first fitting of `passwords` has opened."""
        for password in passwords:
            if self._ping(password) is not None:
                continue
            address = (self._host, self._port)
            with (
                socket.create_connection(address, timeout=self._timeout_s) as connection,
                connection.makefile("rb") as answers,
            ):

                def ask(*words: bytes) -> Any:
                    connection.sendall(encode(*words))
                    return _read(answers)

                ask(b"AUTH", bytes_of(password))
                yield ask
                return
        raise ServiceError(
            f"Redis at {self._host}:{self._port} lets nobody in",
            why=self._ping(passwords[0]) or "it refuses the password",
            fix="start it, or mend its password, then: keyturn recover",
        )

    @contextlib.contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError, ValueError) as error:
            why = "the connection breaks"
            if isinstance(error, RedisError):
                why = f"it answers {error}: its user `default` may not do that"
            raise ServiceError(
                f"Redis at {self._host}:{self._port} does not {doing}",
                why=why,
                fix="allow its user ACL or CONFIG, or change the password there by hand",
            ) from None


def _passwords(ask: Callable[..., Any]) -> list[bytes] | None:
    """Return the SHA-256 of the passwords of the user that we are; None where there are no ACLs."""
    try:
        row = ask(b"ACL", b"GETUSER", _USER)
    except RedisError:
        return None
    pairs = dict(zip(row[::2], row[1::2], strict=False)) if isinstance(row, list) else {}
    held = pairs.get(b"passwords")
    return held if isinstance(held, list) else None


def _setting(ask: Callable[..., Any], name: bytes) -> bytes:
    row = ask(b"CONFIG", b"GET", name)
    return row[1] if isinstance(row, list) and len(row) == 2 else b""


def _config_file(ask: Callable[..., Any]) -> bytes:
    lines = (ask(b"INFO", b"server") or b"").splitlines()
    found = (line.partition(b":")[2] for line in lines if line.startswith(b"config_file:"))
    return next(found, b"")


def _read(answers: BufferedReader, depth: int = 0) -> Any:
    """Read one answer: bytes, a number, a list or None.

    Raises:
        RedisError: It is an error.
        ValueError: It is none of Redis's.
        OSError: The connection broke.
    """
    line = answers.readline(_MOST_BYTES)
    kind, rest = line[:1], line[1:].removesuffix(b"\r\n")
    if kind == b"+":
        return rest
    if kind == b"-":
        word = rest.split(b" ", 1)[0].decode("ascii", "replace")
        raise RedisError(word if word.isalpha() and len(word) <= 20 else "ERR")
    if kind == b":":
        return int(rest)
    if kind == b"$":
        size = int(rest)
        return None if size < 0 else answers.read(min(size, _MOST_BYTES) + 2)[:-2]
    if kind == b"*" and depth < 5:
        return [_read(answers, depth + 1) for _ in range(min(int(rest), _MOST_ITEMS))]
    raise ValueError("not Redis")
