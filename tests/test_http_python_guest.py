"""A guest in Python, as componentize-py builds it for wasi:http, serves requests as it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import onnx_models
import pytest
from build_components import HTTP_SCRIPT
from python_guests import python_guest
from serving import RunningServer


class Other(BaseHTTPRequestHandler):
    """Answers each request with its path, many times."""

    def do_GET(self) -> None:
        content = 10_000 * self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def other() -> Iterator[HTTPServer]:
    """Another server on this machine, to which the guest may send requests."""
    with HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, other: HTTPServer) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("python")
    (folder / "net.onnx").write_bytes(onnx_models.relu())
    file = folder / "graphs.toml"
    guest, place = python_guest(HTTP_SCRIPT), f"http://127.0.0.1:{other.server_port}"
    web = f'[guests.web]\npath = "{guest}"\ngraphs = ["net"]\nhttp-out = ["{place}"]'
    file.write_text(f'[graphs.net]\npath = "net.onnx"\n{web}\n')
    with RunningServer(str(file)) as running:
        running.wait_for_guests()
        yield running


def test_an_inference(server: RunningServer) -> None:
    assert server.ask("POST", "/guests/web/infer/net?x", [-1, 2, -3, 4.5])[:2] == (200, {"y": [0.0, 2.0, 0.0, 4.5]})


def test_errors_of_the_request(server: RunningServer) -> None:
    status, content, _ = server.ask("POST", "/guests/web/infer/net", b"[1")
    assert (status, content["error"].partition(":")[0]) == (400, "Expecting ',' delimiter")
    status, content, _ = server.ask("POST", "/guests/web/infer/nobody", [1])
    assert (status, content["error"].partition(",")[0]) == (400, "no graph is named 'nobody'")


def test_an_uncaught_exception(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    assert server.ask("POST", "/guests/web/infer/net", {"a": "b"})[0] == 500
    assert "TypeError" in caplog.text


def test_large_bodies_of_several_clients(server: RunningServer) -> None:
    bodies = [bytes([number]) * (400_000 + number) for number in range(4)]
    answers: dict[int, bytes] = {}

    def ask(number: int) -> None:
        answers[number] = server.ask("POST", "/guests/web/echo", bodies[number])[1]

    clients = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [answers[number] == bodies[number] for number in range(4)] == [True] * 4


def test_trailers(server: RunningServer) -> None:
    head = (
        b"POST /guests/web/echo HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
    )
    assert server.say(head + b"hello").endswith(b"5\r\nhello\r\n0\r\nx-size: 5\r\n\r\n")


def test_requests_of_the_guest(server: RunningServer, other: HTTPServer) -> None:
    place = f"http://127.0.0.1:{other.server_port}"
    assert server.ask("GET", f"/guests/web/fetch?{place}/a")[:2] == (200, 10_000 * b"/a")
    refused = (502, b"ErrorCode_HttpRequestDenied")
    assert server.ask("GET", f"/guests/web/fetch?http://127.0.0.1:{other.server_port + 1}/a")[:2] == refused
