"""The connections between the engine and this process: whose they are, and that no byte is lost at their end."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from wasi_nn.abi.http.outgoing import HttpError, OutgoingHead
from wasi_nn.guests.http import body_exchanges
from wasi_nn.guests.http.outgoing.engine_connection import Broken, EngineConnection
from wasi_nn.guests.http.outgoing.outgoing import Outgoing, SentRequest
from wasi_nn.guests.http.outgoing.relay import Relay
from wasi_nn.loading.http_out import HttpOut, Place

BODY = bytes(range(256)) * 150  # more than the slow engine takes, and less than the connection holds
LARGE = 2 * 2**20  # bytes, more than a connection may hold


def address_of(engine: EngineConnection) -> tuple[str, int]:
    host, _, port = engine.authority.partition(":")
    return host, int(port)


@contextmanager
def slow_engine(engine: EngineConnection) -> Iterator[socket.socket]:
    """The engine's end of a connection, which has sent a head, and takes little until it is read."""
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.settimeout(20)
        opened.connect(address_of(engine))
        opened.sendall(f"POST {engine.path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        yield opened


class NotesSteps(EngineConnection):
    """Notes when the engine's head is there, and when all of the answer is written."""

    def __init__(self) -> None:
        super().__init__()
        self.has_head, self.has_ended = threading.Event(), threading.Event()

    def accept(self) -> None:
        super().accept()
        self.has_head.set()

    def end(self) -> None:
        super().end()
        self.has_ended.set()


def body_of(answer: bytes) -> tuple[bytes, bool]:
    """The body of an answer in chunks, as far as it came, and whether it has its end."""
    _, _, rest = answer.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        if size == b"0":
            return body, True
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body, False


def read_all(opened: socket.socket) -> bytes:
    content = b""
    with suppress(ConnectionResetError):
        while part := opened.recv(65536):
            content += part
    return content


def test_a_body_is_whole_where_the_end_of_the_engines_own_request_comes_late() -> None:
    """The system throws the rest of an answer away when a connection is closed with bytes that nobody has read. The
    engine's request has no body, but an end of it, which may come with the head or after it."""
    engine = NotesSteps()
    reading, writing = os.pipe()

    def pass_on() -> None:
        engine.accept()
        for _ in body_exchanges._pass_in(engine, reading):
            pass
        engine.release()

    passing = threading.Thread(target=pass_on)
    passing.start()
    with slow_engine(engine) as opened:
        assert engine.has_head.wait(10)
        opened.sendall(b"0\r\n\r\n")
        for at in range(0, len(BODY), 4096):
            os.write(writing, BODY[at : at + 4096])
        os.close(writing)
        assert engine.has_ended.wait(10)
        passing.join(0.2)  # it ends once the engine has all, and not before
        assert body_of(read_all(opened)) == (BODY, True)
    passing.join(10)
    assert not passing.is_alive()
    os.close(reading)


def test_an_answer_is_whole_that_comes_before_the_end_of_the_request() -> None:
    """The guest still sends its body when the upstream has answered and takes no more of it."""

    class SendsNoBody(Relay):
        def _send(self, *_: object) -> None:
            raise HttpError("connection-terminated")

    def answer() -> None:
        taken, _ = upstream.accept()
        with taken:
            taken.settimeout(20)
            taken.sendall(b"HTTP/1.1 403 No\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
            taken.shutdown(socket.SHUT_WR)
            read_all(taken)

    engine = NotesSteps()
    with socket.create_server(("127.0.0.1", 0)) as upstream, slow_engine(engine) as opened:
        place = Place("http", "127.0.0.1", upstream.getsockname()[1], "/", private=True)
        head = OutgoingHead("POST", "http", f"127.0.0.1:{place.port}", "/", (), {})
        relay = SendsNoBody(engine, head, place, HttpOut(), 8192, lambda _: True)
        threads = [threading.Thread(target=work) for work in (answer, relay.run)]
        for thread in threads:
            thread.start()
        opened.sendall(b"4\r\nbody\r\n")
        assert engine.has_ended.wait(10)
        threads[1].join(0.2)  # it ends once the engine has all, and not before
        opened.sendall(b"5\r\n rest\r\n0\r\n\r\n")
        assert body_of(read_all(opened)) == (BODY, True)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_a_guest_that_sends_without_end_is_cut_off() -> None:
    """After an answer that came early, as much of its body is dropped as a request may have."""
    engine = EngineConnection()

    def answer() -> None:
        engine.accept()
        engine.answer()
        engine.end()
        engine.wait_until_taken(100_000)
        engine.release()

    answering = threading.Thread(target=answer)
    answering.start()
    with slow_engine(engine) as opened, pytest.raises(ConnectionError):
        opened.sendall(100_000 * (b"3e8\r\n" + bytes(1000) + b"\r\n"))
    answering.join(10)
    assert not answering.is_alive()


def test_a_body_that_nobody_reads_holds_little_memory_of_the_system() -> None:
    """In either direction: a slow client may have the server hold it for as long as a request takes."""
    engine, has_written = EngineConnection(), threading.Event()

    def answer() -> None:
        engine.accept()
        engine.answer()
        with suppress(Broken):
            engine.write(bytes(LARGE))
            has_written.set()

    answering = threading.Thread(target=answer)
    answering.start()
    with slow_engine(engine) as opened:
        opened.settimeout(0.2)
        sent = 0
        with suppress(TimeoutError):
            while sent < LARGE:
                sent += opened.send(bytes(65536))
        assert sent < LARGE
        assert not has_written.is_set()
        engine.close()
        answering.join(10)
    engine.release()


def test_an_answer_that_nobody_takes_ends_with_its_request() -> None:
    """A thread waits for the guest, until it is told that the request is over."""
    engine, ended = EngineConnection(), threading.Event()

    def answer() -> None:
        engine.accept()
        engine.answer()
        engine.write(BODY)
        engine.end()
        ended.set()
        engine.wait_until_taken()
        engine.release()

    answering = threading.Thread(target=answer)
    answering.start()
    with slow_engine(engine):
        assert ended.wait(10)
        answering.join(0.1)
        assert answering.is_alive()
        engine.close()
        answering.join(10)
        assert not answering.is_alive()


def test_no_more_threads_wait_for_a_guest_than_it_has_requests_at_once() -> None:
    outgoing = Outgoing(HttpOut(requests=2), lambda: None, 8192, lambda _: None)  # type: ignore[arg-type, return-value]
    first, second, third = (object.__new__(SentRequest) for _ in range(3))
    assert [outgoing.forget(sent) for sent in (first, second, third)] == [True, True, False]
    outgoing.leave(first)
    assert outgoing.forget(third)


def test_a_stranger_on_the_engines_port_gets_nothing() -> None:
    connection = EngineConnection()
    thread = threading.Thread(target=connection.accept)
    thread.start()
    host, _, port = connection.authority.partition(":")
    for request in (b"", b"POST /guessed HTTP/1.1\r\n\r\n", b"\r\n\r\n", 9000 * b"x"):
        with socket.create_connection((host, int(port))) as stranger:
            with suppress(OSError):  # it may be cut off before
                stranger.sendall(request)
                stranger.shutdown(socket.SHUT_WR)
                stranger.settimeout(10)
                assert stranger.recv(100) == b""
    with socket.create_connection((host, int(port))) as engine:
        engine.sendall(f"POST {connection.path} HTTP/1.1\r\n\r\n2\r\nab\r\n0\r\n\r\n".encode())
        thread.join(10)
        assert b"".join(connection.parts()) == b"ab"
    connection.release()


def test_a_stranger_who_sends_slowly_holds_no_request_that_has_ended() -> None:
    engine = EngineConnection()
    failures: list[BaseException] = []

    def accept() -> None:
        try:
            engine.accept()
        except OSError as error:
            failures.append(error)

    host, _, port = engine.authority.partition(":")
    thread = threading.Thread(target=accept)
    thread.start()
    with socket.create_connection((host, int(port))) as first:
        first.sendall(b"\r\n\r\n")
        assert first.recv(1) == b""
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST ")
        engine.close()
        thread.join(8)
        assert not thread.is_alive()
    assert len(failures) == 1
    engine.release()


@pytest.mark.parametrize("count", [1, 100])
def test_strangers_who_say_nothing_take_no_time_from_the_engine(count: int) -> None:
    engine = EngineConnection()
    accepting = threading.Thread(target=engine.accept)
    accepting.start()
    with ExitStack() as strangers:
        for _ in range(count):
            strangers.enter_context(socket.create_connection(address_of(engine)))
        with slow_engine(engine):
            accepting.join(8)
            assert not accepting.is_alive()
            assert engine._socket is not None
            engine.release()


def test_a_connection_is_shut_down_before_its_descriptor_is_another_one() -> None:
    """One thread ends a connection while its own thread closes it."""
    connection = EngineConnection()
    shuts_down, may_go_on, steps = threading.Event(), threading.Event(), []

    class Socket(socket.socket):
        def shutdown(self, how: int) -> None:
            if threading.current_thread() is ending:
                shuts_down.set()
                may_go_on.wait(10)
                steps.append("shut down")

        def close(self) -> None:
            steps.append("closed")
            super().close()

    connection._socket = Socket()
    ending = threading.Thread(target=connection.close)
    ending.start()
    shuts_down.wait()
    closing = threading.Thread(target=connection.release)
    closing.start()
    closing.join(0.1)
    may_go_on.set()
    for thread in (ending, closing):
        thread.join()
    assert steps == ["shut down", "closed"]
