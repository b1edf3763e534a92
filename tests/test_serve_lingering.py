"""The end of a connection whose client is still sending its request: the client gets all of its answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path

import onnx_models
import pytest
import serving
from checks import wait_until
from remote_servers import make_certificate
from serving import RunningServer

import wasi_nn
from wasi_nn.serving.http import lingering
from wasi_nn.serving.settings import ServingLimits

LARGE = b"POST /v2/models/net/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\n"
TUNNEL = b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def server() -> RunningServer:
    registry = wasi_nn.Registry()
    registry.add("net", onnx_models.relu())
    return RunningServer(registry, limits=ServingLimits(body_bytes=10_000, header_bytes=4096))


def answer_of(client: socket.socket) -> bytes:
    """What a server says until it sends no more."""
    answer = b""
    while part := client.recv(65536):
        answer += part
    return answer


def send_without_end(client: socket.socket) -> None:
    while True:
        client.sendall(bytes(65536))


def has_only_this(server: RunningServer) -> bool:
    """Whether no connection is open but the one that asks."""
    return b"\nwasi_nn_http_connections 1.0\n" in server.ask("GET", "/metrics")[1]


@pytest.mark.parametrize(("request_", "status"), [(LARGE, b"413"), (TUNNEL, b"501")], ids=["large", "tunnel"])
def test_a_client_may_send_on_after_its_answer(server: RunningServer, request_: bytes, status: bytes) -> None:
    """A client that sends its whole body first would have an error of its connection, and no answer."""
    with server, socket.create_connection(server.address) as client:
        client.sendall(request_)
        assert answer_of(client).split()[1] == status
        for _ in range(200):
            client.sendall(bytes(65536))
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: has_only_this(server))


@pytest.mark.parametrize(
    ("idle", "longest", "most"),
    [(0.1, 20.0, 10**9), (20.0, 0.3, 10**9), (20.0, 20.0, 10**6)],
    ids=["idle", "long", "much"],
)
def test_a_client_that_does_not_end_is_left(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, idle: float, longest: float, most: int
) -> None:
    """One that sends nothing, one that sends for too long, and one that sends too much."""
    monkeypatch.setattr(lingering, "_IDLE", idle)
    monkeypatch.setattr(lingering, "_LONGEST", longest)
    monkeypatch.setattr(lingering, "_MOST", most)
    with server, socket.create_connection(server.address) as client:
        client.sendall(LARGE)
        assert answer_of(client).split()[1] == b"413"
        if idle > 1:
            with pytest.raises(ConnectionError):
                send_without_end(client)
        wait_until(lambda: has_only_this(server))


def test_a_server_does_not_wait_for_the_end_of_its_clients(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lingering, "_IDLE", 60.0)
    monkeypatch.setattr(lingering, "_LONGEST", 60.0)
    with socket.socket() as client:
        with server:
            client.connect(server.address)
            client.sendall(LARGE)
            assert answer_of(client).split()[1] == b"413"
            began = time.monotonic()
        assert time.monotonic() - began < 30


def test_too_many_connections_do_not_stay() -> None:
    """They take the room of others."""
    with RunningServer({}, limits=ServingLimits(connections=1)) as server, socket.create_connection(server.address):
        with socket.create_connection(server.address) as client:
            assert answer_of(client).split()[1] == b"503"
            with pytest.raises(ConnectionError):
                send_without_end(client)


PIPELINED = b"GET /v2/models/net HTTP/1.1\r\nHost: h\r\n\r\n"
LONG_HEADER = b"GET /v2 HTTP/1.1\r\nHost: h\r\nX: " + bytes(5000)
CHUNKED = b"POST /v2/models/net/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
LONG_TRAILERS = b"0\r\n" + b"X: yyyyyyyy\r\n" * 1000


@pytest.mark.parametrize("body", [b"", b"Content-Length: 5\r\n"], ids=["alone", "with a body"])
def test_requests_behind_a_refused_one_are_not_answered(server: RunningServer, body: bytes) -> None:
    """The client has got its last answer: they would have effects that it doesn't learn of."""
    with server, socket.create_connection(server.address) as client:
        client.sendall(TUNNEL.replace(b"\r\n\r\n", b"\r\n" + body + b"\r\n") + b"hello" * bool(body) + PIPELINED)
        answer = answer_of(client)
        assert answer.split()[1] == b"501"
        assert answer.endswith(b'{"error":"this server connects to no others"}')
        client.sendall(PIPELINED)
        assert b'call="model_metadata"' not in server.ask("GET", "/metrics")[1]


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (TUNNEL, b"501"),
        (LONG_HEADER, b"400"),
        (LONG_HEADER.replace(b"\0", b"x" * 200), b"431"),
        (b"GET\r\n\r\n", b"400"),
    ],
    ids=["tunnel", "wrong header", "long header", "no request"],
)
def test_requests_before_a_refused_one_are_answered_first(server: RunningServer, refused: bytes, status: bytes) -> None:
    with server, socket.create_connection(server.address) as client:
        client.sendall(PIPELINED * 3 + refused)
        answers = answer_of(client).split(b"HTTP/1.1 ")
        assert [answer[:3] for answer in answers[1:]] == [b"200", b"200", b"200", status]


@pytest.mark.parametrize(
    ("rest", "status"),
    [(LONG_TRAILERS + b"\r\n" + PIPELINED, b"431"), (b"xyz\r\n", b"400")],
    ids=["trailers", "no chunk"],
)
def test_a_request_that_is_refused_in_its_body_has_ended(server: RunningServer, rest: bytes, status: bytes) -> None:
    """The server keeps nothing of it, and doesn't wait for it at its own end, while the client sends on."""
    with socket.socket() as client:
        with server:
            client.connect(server.address)
            client.sendall(CHUNKED + rest)
            assert answer_of(client).split()[1] == status
            client.sendall(bytes(10**6))
            began = time.monotonic()
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_connections_with_tls_end_with_the_answer(loop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS has no end of one side. The transports of the two loops differ after their end."""
    if loop == "asyncio":
        monkeypatch.setattr(serving, "loop_factory", lambda: asyncio.SelectorEventLoop)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with RunningServer({}, tls=make_certificate(tmp_path)) as server:
        host, _, port = server.server.addresses["http"].removeprefix("https://").partition(":")
        for request, statuses in (
            (PIPELINED + TUNNEL, [b"404", b"501"]),
            (TUNNEL + PIPELINED, [b"501"]),
            (b"GET\r\n\r\n", [b"400"]),
        ):
            with context.wrap_socket(socket.create_connection((host, int(port)))) as client:
                client.sendall(request)
                answers = answer_of(client).split(b"HTTP/1.1 ")[1:]
                assert [answer[:3] for answer in answers] == statuses
