"""Clients that never stop asking, and what became of their requests.

Half of the short requests open a connection each; the other half reuse one and, as the SDKs do,
ask once more where the server closed it under them. Streams run back to back beside them.
Others hold keys that are out of force, and count how often they are let in.
"""

import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Key = str | Callable[[], str]

_DROPPED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
_TIMEOUT_S = 60.0
_WORKERS = 12
_READ_AGAIN_S = 0.3  # a client that is refused reads its settings again after that
REFUSALS = ("status 400", "status 401")
_AFTER_FAILURE_S = 0.2  # before a stream is tried again
# Clients give up a connection that they have not used for some time (httpx: 5 s); uvicorn closes it
# after 5 s. Less than that, so that what is counted comes from restarts alone.
_KEPT_S = 2.0


@dataclass
class Tally:
    """What became of the requests of one kind.

    Attributes:
        sent: How many there were.
        refused: Connections that were refused.
        failed: Requests that failed in another way, or were not answered with 200.
        resets: Reused connections that the server closed, and that cost a second try.
        again: Requests that were refused, and not with the key that was read next.
        longest_s: The longest wait for an answer that came.
        problems: What the failures were; at most ten.
    """

    sent: int = 0
    refused: int = 0
    failed: int = 0
    resets: int = 0
    again: int = 0
    longest_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many did not get their answer."""
        return self.refused + self.failed

    def fail(self, error: Exception | str) -> None:
        """Count a failure."""
        if isinstance(error, ConnectionRefusedError):
            self.refused += 1
        else:
            self.failed += 1
        if len(self.problems) < 10:
            self.problems.append(error if isinstance(error, str) else repr(error))


@dataclass
class Load:
    """All of them.

    Attributes:
        fresh: Requests on a connection of their own.
        kept: Requests on a reused one.
        streams: Streamed answers; one that does not come to its end is a failure.
    """

    fresh: Tally = field(default_factory=Tally)
    kept: Tally = field(default_factory=Tally)
    streams: Tally = field(default_factory=Tally)

    @property
    def lost(self) -> int:
        """How many requests did not get their whole answer."""
        return self.fresh.lost + self.kept.lost + self.streams.lost

    def problems(self) -> list[str]:
        """Return what went wrong, for a failed assertion."""
        return [*self.fresh.problems, *self.kept.problems, *self.streams.problems]


class Clients:
    """The threads that ask.

    Args:
        port: The gateway's, on the loopback address.
        key: The key they ask with, or where it is read from before each request.
        model: The model of the streams.
        rate: Short requests in a second, both kinds together.
        streams: How many streams at once.
        stream_s: How long a stream takes; only the stand-in gateway takes notice.
        patient: A refused request is asked once more with the key as it is read then.
    """

    def __init__(
        self,
        port: int,
        key: Key,
        model: str,
        *,
        rate: float,
        streams: int,
        stream_s: float,
        patient: bool,
    ) -> None:
        self.load = Load()
        self._port = port
        self._key: Callable[[], str] = (lambda: key) if isinstance(key, str) else key
        self._patient = patient
        question = {"model": model, "messages": [{"role": "user", "content": "tell"}]}
        self._question = json.dumps(question | {"stream": True, "stream_s": stream_s}).encode()
        self._gap_s = 1 / rate
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._next = 0
        self._began = time.monotonic()
        targets = [self._ask_on_time] * _WORKERS + [self._stream] * streams
        self._threads = [threading.Thread(target=target) for target in targets]

    def start(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask nothing more, and wait for the answers."""
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask_on_time(self) -> None:
        """Take the next request that is due, whatever became of the others (an open loop)."""
        kept = Kept(self._connection())
        while not self._end.is_set():
            with self._lock:
                number, self._next = self._next, self._next + 1
            if self._end.wait(max(0.0, self._began + number * self._gap_s - time.monotonic())):
                break
            if number % 2:
                self._count(self.load.fresh, lambda: self._once(self._connection()))
            else:
                self._count(self.load.kept, lambda: self._again(kept))
        kept.connection.close()

    def _count(self, tally: Tally, ask: Callable[[], str | None]) -> None:
        started = time.monotonic()
        problem: Exception | str | None
        try:
            problem = self._twice(tally, ask)
        except (OSError, http.client.HTTPException) as error:
            problem = error
        with self._lock:
            tally.sent += 1
            if problem is not None:
                tally.fail(problem)
            else:
                tally.longest_s = max(tally.longest_s, time.monotonic() - started)

    def _twice(self, tally: Tally, ask: Callable[[], str | None]) -> str | None:
        """Ask, and once more where the key was refused and this client is patient."""
        problem = ask()
        if not self._patient or problem not in REFUSALS:
            return problem
        with self._lock:
            tally.again += 1
        time.sleep(_READ_AGAIN_S)
        return ask()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key()}", "Content-Type": "application/json"}

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)

    def _once(self, connection: http.client.HTTPConnection, *, keep: bool = False) -> str | None:
        try:
            connection.request("GET", "/v1/models", headers=self._headers())
            answer = connection.getresponse()
            answer.read()
        except BaseException:
            connection.close()
            raise
        if not keep:
            connection.close()
        return None if answer.status == 200 else f"status {answer.status}"

    def _again(self, kept: "Kept") -> str | None:
        connection = kept.connection
        if time.monotonic() - kept.used > _KEPT_S:
            connection.close()
        kept.used = time.monotonic()
        reused = connection.sock is not None
        try:
            return self._once(connection, keep=True)
        except _DROPPED:
            if not reused:
                raise
        with self._lock:
            self.load.kept.resets += 1
        return self._once(connection, keep=True)

    def _stream(self) -> None:
        while not self._end.is_set():
            before = self.load.streams.lost
            self._count(self.load.streams, self._one_stream)
            if self.load.streams.lost != before:
                self._end.wait(_AFTER_FAILURE_S)

    def _one_stream(self) -> str | None:
        connection = self._connection()
        try:
            connection.request("POST", "/v1/chat/completions", self._question, self._headers())
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            return f"status {answer.status}"
        return None if b"[DONE]" in text[-64:] else "the stream was cut off"


@dataclass
class Kept:
    """A connection that is used again.

    Attributes:
        connection: It opens itself when it is closed.
        used: time.monotonic() of its last use.
    """

    connection: http.client.HTTPConnection
    used: float = 0.0


@contextmanager
def load_on(
    port: int,
    key: Key,
    model: str,
    *,
    rate: float = 50.0,
    streams: int = 2,
    stream_s: float = 3.0,
    patient: bool = False,
) -> Iterator[Load]:
    """Ask all the time while the block runs; on return every request has its outcome."""
    clients = Clients(
        port, key, model, rate=rate, streams=streams, stream_s=stream_s, patient=patient
    )
    clients.start()
    try:
        yield clients.load
    finally:
        clients.stop()


def key_in(settings: Path) -> Callable[[], str]:
    """Return what reads the key from droid's settings, as a client that reads them again."""
    key = re.compile(r'"apiKey":\s*"(sk-[\w-]+)"')
    return lambda: key.findall(settings.read_text())[-1]


class Retired:
    """Asks with keys that are out of force, ten times a second in turns, until it is stopped.

    Args:
        port: The gateway's, on the loopback address.

    Attributes:
        accepted: How many of its requests were answered with 200.
        refused: How many were refused.
        problems: What else became of the others.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._keys: list[str] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.accepted = 0
        self.refused = 0
        self.problems: list[str] = []

    def add(self, key: str) -> None:
        """Ask with this one, too, from now on."""
        self._keys.append(key)

    def __enter__(self) -> "Retired":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _ask(self) -> None:
        number = 0
        while not self._end.wait(0.1):
            if not self._keys:
                continue
            number += 1
            headers = {"Authorization": f"Bearer {self._keys[number % len(self._keys)]}"}
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT_S)
            try:
                connection.request("GET", "/v1/models", headers=headers)
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                self.problems.append(repr(error))
                continue
            finally:
                connection.close()
            self.accepted += status == 200
            self.refused += f"status {status}" in REFUSALS
