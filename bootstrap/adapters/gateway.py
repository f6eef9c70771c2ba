"""The gateway over HTTP: what it answers to a key, to no key, to one short question.

Plain `http.client`: it knows no proxies and follows no redirect, so a key reaches the configured
host and no other. Bodies are read for their form only; nothing of an error's text is kept, since
some versions repeat the key that was sent (1.63 does).
"""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from bootstrap.domain.probes import Answer
from bootstrap.domain.secret import Secret

_MOST_BYTES = 4_000_000
# What is said of an answer that did not come.
LATE = "no answer in time"
_PIECE = 65_536
_QUESTION = "Answer with one word: hello"
_ANSWER_TOKENS = 16


class HttpGateway:
    """A gateway at a base URL.

    Args:
        url: For example `http://127.0.0.1:4000`, without a path.
        timeout_s: Seconds that one whole answer may take.
        completion_timeout_s: The same for a completion, which waits for a model.
    """

    def __init__(
        self, url: str, timeout_s: float = 5.0, completion_timeout_s: float = 120.0
    ) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._completion_timeout_s = completion_timeout_s

    def alive(self) -> Answer:
        """Return the answer of GET /health/liveliness, which needs no key."""
        return self._get("/health/liveliness", None)

    def models(self, key: Secret | None) -> Answer:
        """Return the answer of GET /v1/models asked with `key`, or without one."""
        return self._get("/v1/models", key)

    def cache_ping(self, key: Secret) -> Answer:
        """Return the answer of GET /cache/ping: 200, or 503 where the cache does not work."""
        return self._get("/cache/ping", key)

    def complete(self, key: Secret, model: str) -> Answer:
        """Return the answer to one short chat completion that does not stream."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": _QUESTION}],
            "max_tokens": _ANSWER_TOKENS,
        }
        return _ask(
            self.url + "/v1/chat/completions",
            key,
            self._completion_timeout_s,
            json.dumps(body).encode(),
        )

    def try_model(self, key: Secret, model: str, *, stream: bool = False) -> Answer:
        """Return the answer of the model's own backend; see `bootstrap.ports.Gateway`.

        LiteLLM would answer from its cache, or by another model, without a word in the answer.
        """
        body = {
            "model": model,
            "messages": [{"role": "user", "content": _QUESTION}],
            "max_tokens": _ANSWER_TOKENS,
            "disable_fallbacks": True,
            "cache": {"no-cache": True, "no-store": True},
            **({"stream": True} if stream else {}),
        }
        url, data = self.url + "/v1/chat/completions", json.dumps(body).encode()
        return _ask(url, key, self._completion_timeout_s, data)

    def reachable(self, url: str) -> bool:
        """Tell whether anything answers HTTP at `url`, asked without any key."""
        return _ask(url, None, self._timeout_s).status is not None

    def _get(self, path: str, key: Secret | None) -> Answer:
        return _ask(self.url + path, key, self._timeout_s)


def get_json(url: str, key: Secret | None, timeout_s: float = 5.0) -> tuple[Answer, Any]:
    """Return the answer to GET `url`, and its body as JSON, or None where it is none."""
    found = _exchange(url, key, timeout_s, None)
    if isinstance(found, Answer):
        return found, None
    status, marked, body = found
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    return _answer(status, marked, body), document


def _ask(url: str, key: Secret | None, timeout_s: float, body: bytes | None = None) -> Answer:
    """Ask once; every failure to get an answer is an Answer with a `problem`."""
    found = _exchange(url, key, timeout_s, body)
    return found if isinstance(found, Answer) else _answer(*found)


def _exchange(
    url: str, key: Secret | None, timeout_s: float, body: bytes | None
) -> tuple[int, bool, bytes] | Answer:
    """Return status, LiteLLM's mark and body of an answer; an Answer where there is none."""
    headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "keyturn"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key.reveal()}"
    if body is not None:
        headers["Content-Type"] = "application/json"
    overdue = threading.Event()
    found: tuple[int, bool, bytes] | Answer
    try:
        target = urlsplit(url)
        connection = _connection(target.scheme, target.hostname or "", target.port, timeout_s)
        with contextlib.closing(connection), _deadline(connection, timeout_s, overdue):
            path = (target.path or "/") + (f"?{target.query}" if target.query else "")
            connection.request("POST" if body is not None else "GET", path, body, headers)
            response = connection.getresponse()
            marked = any(name.lower().startswith("x-litellm-") for name in response.headers)
            found = response.status, marked, _read(response)
    except (OSError, http.client.HTTPException, ValueError) as error:
        found = Answer(None, is_gateway=False, problem=_problem(error))
    if overdue.is_set():  # what was read before the cut may look like a whole answer
        return Answer(None, is_gateway=False, problem=LATE)
    return found


def _connection(
    scheme: str, host: str, port: int | None, timeout_s: float
) -> http.client.HTTPConnection:
    if scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    return http.client.HTTPConnection(host, port, timeout=timeout_s)


@contextlib.contextmanager
def _deadline(
    connection: http.client.HTTPConnection, timeout_s: float, overdue: threading.Event
) -> Iterator[None]:
    """Connect, and cut the connection when the time is up, even if bytes keep dripping in."""
    started = time.monotonic()
    connection.connect()
    sock = connection.sock

    def cut() -> None:
        overdue.set()
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(max(0.0, timeout_s - (time.monotonic() - started)), cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _read(response: http.client.HTTPResponse) -> bytes:
    """Return the body, at most _MOST_BYTES of it."""
    pieces: list[bytes] = []
    size = 0
    while size < _MOST_BYTES and (piece := response.read(_PIECE)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _problem(error: Exception) -> str:
    """Name the failure by its kind; the text of a ValueError would quote the key."""
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (TimeoutError, LATE),
        (ConnectionRefusedError, "connection refused"),
        (http.client.RemoteDisconnected, "the connection was closed without an answer"),
        (ConnectionError, "the connection broke"),
        (socket.gaierror, "the host name is not known"),
        (ssl.SSLError, "the TLS connection failed"),
        (http.client.HTTPException, "what listens there does not speak HTTP"),
        (ValueError, "the key or the URL holds characters that HTTP cannot carry"),
    )
    return next((words for kind, words in kinds if isinstance(error, kind)), "no connection")


def _answer(status: int, marked: bool, body: bytes) -> Answer:
    """Return what an answer says, whatever JSON, or no JSON, its body is."""
    document = _document(body)
    top = document if isinstance(document, Mapping) else {}
    error = top.get("error")
    error = error if isinstance(error, Mapping) else {}
    kind = error.get("type")
    ids = _model_ids(top)
    forms = (
        marked,
        ids is not None,
        {"message", "type", "code"} <= error.keys(),
        _is_completion(top),
        document == "I'm alive!" or top.get("status") == "healthy",
        # 1.106.2 without prisma, asked without a key: no JSON, no mark, just this.
        status == HTTPStatus.INTERNAL_SERVER_ERROR and body == b"Internal Server Error",
    )
    return Answer(
        status,
        error_type=kind if isinstance(kind, str) and _is_word(kind) else "",
        model_ids=ids or (),
        text=_completion_text(top),
        is_gateway=any(forms),
        completed=_is_completion(top),
    )


def _document(body: bytes) -> Any:
    """Return the JSON of a body, or of the first piece of an event stream; None for neither."""
    if body.startswith(b"data: "):
        body = body.removeprefix(b"data: ").partition(b"\n")[0]
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_completion(top: Mapping[str, Any]) -> bool:
    choices = top.get("choices")
    kinds = ("chat.completion", "chat.completion.chunk")
    return top.get("object") in kinds and isinstance(choices, list) and bool(choices)


def _is_word(text: str) -> bool:
    """Tell a kind of error from a text that could repeat something."""
    return len(text) <= 40 and text.replace("_", "").isalpha()


def _model_ids(top: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the ids of a model list, or None where it is none."""
    rows = top.get("data")
    if top.get("object") != "list" or not isinstance(rows, list):
        return None
    ids = (row.get("id") for row in rows if isinstance(row, Mapping))
    return tuple(name for name in ids if isinstance(name, str))


def _completion_text(top: Mapping[str, Any]) -> str:
    """Return the assistant's text of a chat completion, or an empty text."""
    try:
        text = top["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        return ""
    return text if isinstance(text, str) else ""
