"""Ask a Redis whether it takes the password, in its own protocol over one socket.

No client library: one AUTH and one PING. The answers were seen with Redis 7.0.
"""

import socket

from bootstrap.domain.secret import Secret

_MOST_BYTES = 4096


def ping(host: str, port: int, password: Secret | None, timeout_s: float = 2.0) -> str | None:
    """Return None where the Redis answers PONG, else what is wrong, in one clause.

    Args:
        host: Its address.
        port: 1 to 65535.
        password: What it is to be opened with, or None for no password.
        timeout_s: Seconds for the connection and for each answer.
    """
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            if password is not None:
                problem = _problem(_ask(connection, b"AUTH", bytes_of(password)), b"+OK")
                if problem:
                    return problem
            return _problem(_ask(connection, b"PING"), b"+PONG")
    except TimeoutError:
        return "it does not answer in time"
    except ConnectionRefusedError:
        return "connection refused: nothing listens there"
    except socket.gaierror:
        return "its host name is not known"
    except OSError:
        return "the connection breaks"


def bytes_of(password: Secret) -> bytes:
    """Return the bytes that a password is sent as."""
    return password.reveal().encode("utf-8", "surrogateescape")


def encode(*words: bytes) -> bytes:
    """Return one command as the protocol writes it."""
    parts = [b"*%d\r\n" % len(words), *(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)]
    return b"".join(parts)


def _ask(connection: socket.socket, *words: bytes) -> bytes:
    """Send one command and return the first line of the answer, without its line end."""
    connection.sendall(encode(*words))
    answer = b""
    while b"\r\n" not in answer and len(answer) < _MOST_BYTES:
        piece = connection.recv(_MOST_BYTES)
        if not piece:
            break
        answer += piece
    return answer.partition(b"\r\n")[0]


def _problem(answer: bytes, wanted: bytes) -> str | None:
    """Translate an answer; its text is not passed on, since it may quote what was sent."""
    if answer == wanted:
        return None
    if answer.startswith(b"-WRONGPASS") or answer.startswith(b"-ERR invalid password"):
        return "it refuses the password"
    if answer.startswith(b"-NOAUTH"):
        return "it wants a password, and the lab names none"
    if answer.startswith(b"-LOADING"):
        return "it is still loading its data"
    if answer.startswith(b"-DENIED"):
        return "it is in protected mode and refuses other machines"
    # 6 and newer say "AUTH <password> called without any password configured", older "no password".
    if answer.startswith(b"-ERR") and b"password" in answer:
        return "it has no password, but the lab names one"
    if answer.startswith(b"-"):
        return "it refuses the question"
    return "what listens there is not Redis"
