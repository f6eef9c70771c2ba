"""What the gateway answers, asked of the stand-in and of servers that behave badly."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bootstrap.adapters.gateway import HttpGateway
from bootstrap.domain.probes import Answer, Verdict, verdict
from bootstrap.domain.secret import Secret
from support.homes import pick_free_port
from support.sessions import TOOLS

KEY = Secret("sk-test-right-0123456789abcdef")
WRONG = Secret("sk-test-wrong-0123456789abcdef")


def start_stand_in(tmp_path: Path, port: int, wrong: int) -> "subprocess.Popen[bytes]":
    config = tmp_path / "config.yaml"
    config.write_text('model_list:\n  - model_name: "lab-echo"\n  - model_name: "small"\n')
    server = subprocess.Popen(
        [sys.executable, str(TOOLS / "mini-gateway"), "--config", str(config), "--port", str(port)],
        env={**os.environ, "LITELLM_MASTER_KEY": KEY.reveal(), "MINI_WRONG_KEY": str(wrong)},
        stdout=subprocess.DEVNULL,
    )
    while True:
        assert server.poll() is None, "the stand-in ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server


@pytest.fixture(params=[400, 401])
def stand_in(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[HttpGateway]:
    port = pick_free_port()
    server = start_stand_in(tmp_path, port, request.param)
    yield HttpGateway(f"http://127.0.0.1:{port}/")
    server.terminate()
    server.wait(10)


class Server:
    """An HTTP server with one canned answer; keeps what it was sent."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                outer.seen.append((self.command, self.path, dict(self.headers), body))
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def says(self, status: int, body: object, **headers: str) -> HttpGateway:
        """Set the answer and return a gateway that asks here."""
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return HttpGateway(self.url)

    def stop(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    yield started
    started.stop()


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], str]]:
    """Start a server that does what it is told with one connection; returns its URL."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(serve: Callable[[socket.socket], None]) -> str:
        listening = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            peer, _ = listening.accept()
            with peer:
                serve(peer)

        thread = threading.Thread(target=run)
        thread.start()
        sockets.append(listening)
        threads.append(thread)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join()
    for listening in sockets:
        listening.close()


# The stand-in


@pytest.mark.integration
def test_the_right_key_gets_the_catalogue(stand_in: HttpGateway) -> None:
    answer = stand_in.models(KEY)
    assert answer.model_ids == ("lab-echo", "small")
    assert verdict(answer, with_key=True) is Verdict.ACCEPTED


@pytest.mark.integration
@pytest.mark.parametrize("key", [WRONG, None])
def test_a_wrong_key_and_no_key_are_refused(stand_in: HttpGateway, key: Secret | None) -> None:
    answer = stand_in.models(key)
    assert answer.is_gateway
    assert verdict(answer, with_key=key is not None) is Verdict.REFUSED


@pytest.mark.integration
def test_it_tells_that_it_lives_without_a_key(stand_in: HttpGateway) -> None:
    assert stand_in.alive() == Answer(200, is_gateway=True)


@pytest.mark.integration
def test_a_completion_gives_the_models_text(stand_in: HttpGateway) -> None:
    assert stand_in.complete(KEY, "lab-echo").text == "ok"
    assert stand_in.complete(KEY, "nowhere").error_type == "invalid_request_error"


@pytest.mark.integration
def test_no_cache_is_an_answer_too(stand_in: HttpGateway) -> None:
    assert stand_in.cache_ping(KEY).status == 404


# What is sent


def test_a_completion_is_short_and_does_not_stream(server: Server) -> None:
    server.says(200, {}).complete(KEY, "small")
    method, path, headers, body = server.seen[0]
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert headers["Authorization"] == f"Bearer {KEY.reveal()}"
    assert json.loads(body)["model"] == "small"
    assert json.loads(body)["max_tokens"] <= 32
    assert "stream" not in json.loads(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_is_tried_by_its_own_backend(server: Server, stream: bool) -> None:
    kind = "chat.completion.chunk" if stream else "chat.completion"
    text = json.dumps({"object": kind, "choices": [{"message": {"content": None}}]})
    body = f"data: {text}\n\ndata: [DONE]\n\n" if stream else text
    answer = server.says(200, body.encode()).try_model(KEY, "small", stream=stream)
    assert (answer.status, answer.completed, answer.text) == (200, True, "")
    sent = json.loads(server.seen[0][3])
    assert sent["disable_fallbacks"] is True
    assert sent["cache"] == {"no-cache": True, "no-store": True}
    assert sent.get("stream", False) is stream


@pytest.mark.parametrize("body", [b'data: {"error": {"code": 401}}\n\n', b"data: ...", b"{}"])
def test_an_error_in_a_stream_is_no_completion(server: Server, body: bytes) -> None:
    assert not server.says(200, body).try_model(KEY, "small", stream=True).completed


def test_without_a_key_none_is_sent(server: Server) -> None:
    server.says(200, {}).models(None)
    assert "Authorization" not in server.seen[0][2]


def test_proxy_variables_do_not_lead_a_key_away(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("HTTP_PROXY", server.url)
    answer = HttpGateway(f"http://127.0.0.1:{pick_free_port()}").models(KEY)
    assert answer.problem == "connection refused"
    assert not server.seen


def test_a_redirect_does_not_carry_the_key_away(server: Server) -> None:
    other = Server()
    try:
        answer = server.says(302, b"", Location=f"{other.url}/v1/models").models(KEY)
        assert answer.status == 302
        assert not other.seen
    finally:
        other.stop()


def test_asking_whether_a_backend_answers_sends_no_key(server: Server) -> None:
    gateway = server.says(404, b"")
    assert gateway.reachable(server.url + "/v1?x=1")
    assert server.seen[0][1] == "/v1?x=1"
    assert "Authorization" not in server.seen[0][2]


# Whose answer it is


@pytest.mark.parametrize(
    ("status", "body", "headers", "ours"),
    [
        (200, b'"I\'m alive!"', {}, True),
        (200, {"status": "healthy", "db": "Not connected"}, {}, True),
        (200, b"anything", {"x_litellm_version": "1.106.2"}, True),
        (200, {"object": "list", "data": []}, {}, True),
        (400, {"error": {"message": "", "type": "no_db_connection", "code": "400"}}, {}, True),
        (500, b"Internal Server Error", {}, True),
        (200, b"Internal Server Error", {}, False),
        (500, b"<html>oops</html>", {}, False),
        (200, b"<html>hello</html>", {}, False),
        (200, {"object": "list", "data": {}}, {}, False),
        (200, {"error": "text"}, {}, False),
        (200, [1], {}, False),
        (200, b"[" * 100_000, {}, False),
        (200, b"\xff\xfe", {}, False),
        (204, b"", {}, False),
    ],
)
def test_litellm_is_known_by_its_marks(
    server: Server, status: int, body: object, headers: dict[str, str], ours: bool
) -> None:
    answer = server.says(status, body, **headers).alive()
    assert (answer.status, answer.is_gateway) == (status, ours)


def test_odd_rows_of_a_model_list_are_passed_over(server: Server) -> None:
    rows = [{"id": "a"}, {"id": 1}, {}, "b", None]
    assert server.says(200, {"object": "list", "data": rows}).models(None).model_ids == ("a",)


@pytest.mark.parametrize(
    "choices", [None, [], [1], [{}], [{"message": None}], [{"message": {"content": None}}]]
)
def test_a_completion_of_another_form_has_no_text(server: Server, choices: object) -> None:
    assert server.says(200, {"choices": choices}).complete(KEY, "m").text == ""


@pytest.mark.parametrize("kind", [None, 5, "a text that repeats sk-test-right", "x" * 41])
def test_an_error_type_that_is_no_word_is_not_kept(server: Server, kind: object) -> None:
    error = {"message": f"bad key {WRONG.reveal()}", "type": kind, "code": 1}
    answer = server.says(400, {"error": error}).models(WRONG)
    assert answer.error_type == ""
    assert "sk-test" not in repr(answer)


def test_a_body_without_end_is_cut_off(server: Server) -> None:
    answer = server.says(200, b'"' + b"x" * 6_000_000).models(KEY)
    assert answer == Answer(200, is_gateway=False)


# No answer


def problem(url: str, key: Secret | None = KEY, timeout_s: float = 5.0) -> str:
    answer = HttpGateway(url, timeout_s).models(key)
    assert answer.status is None
    assert not answer.is_gateway
    return answer.problem


def test_nothing_listening(free_port: int) -> None:
    assert problem(f"http://127.0.0.1:{free_port}") == "connection refused"
    assert not HttpGateway("http://x").reachable(f"http://127.0.0.1:{free_port}")


def test_a_host_that_is_not_known() -> None:
    assert problem("http://gateway.invalid:4000") == "the host name is not known"


def test_something_that_does_not_speak_http(raw: Callable[..., str]) -> None:
    def serve(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"-ERR unknown command\r\n")

    assert problem(raw(serve)) == "what listens there does not speak HTTP"


def test_a_connection_closed_without_an_answer(raw: Callable[..., str]) -> None:
    def serve(peer: socket.socket) -> None:
        peer.recv(4096)

    assert problem(raw(serve)) == "the connection was closed without an answer"


def test_a_silent_server_is_not_waited_for(raw: Callable[..., str]) -> None:
    done = threading.Event()

    def serve(peer: socket.socket) -> None:
        done.wait()

    assert problem(raw(serve), timeout_s=0.1) == "no answer in time"
    done.set()


def test_an_answer_that_drips_in_is_cut_off_when_the_time_is_up(raw: Callable[..., str]) -> None:
    def serve(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\n")
        pause = threading.Event()
        with contextlib.suppress(OSError):  # until the other side has gone
            while not pause.wait(0.02):
                peer.sendall(b"X: y\r\n")

    assert problem(raw(serve), timeout_s=0.2) == "no answer in time"


def test_an_http_server_does_not_speak_tls(server: Server) -> None:
    url = server.url.replace("http:", "https:")
    assert problem(url) == "the TLS connection failed"


@pytest.mark.parametrize("text", ["sk-test-\nnewline", "sk-test-€"])
def test_a_key_that_no_header_can_carry_is_not_repeated(server: Server, text: str) -> None:
    found = problem(server.url, Secret(text))
    assert found == "the key or the URL holds characters that HTTP cannot carry"


def test_a_url_that_is_none() -> None:
    assert problem("http://127.0.0.1:99999999") != ""
