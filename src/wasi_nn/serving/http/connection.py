"""Connections of HTTP: uvicorn's, with bounds for the time and the size of a request's headers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from wasi_nn.serving.http.lingering import LingeringTransport
from wasi_nn.serving.http.request_parser import RequestParser
from wasi_nn.serving.settings import ServingLimits


def bounded_protocol(limits: ServingLimits) -> type[asyncio.Protocol]:
    """The class of connections within these limits."""

    class BoundedProtocol(_BoundedProtocol):
        bounds = limits

    return BoundedProtocol


class _BoundedProtocol(HttpToolsProtocol):
    """A connection whose client has to send the headers of a request within their time, from its first byte on, or from
    the connection's begin. There is one alarm for each connection, which is set while headers are expected."""

    bounds: ServingLimits

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.parser: Any = RequestParser(self)
        self.is_in_body = False
        self._alarm: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._is_in_headers = False
        self._trailers: list[tuple[bytes, bytes]] = []
        self._unsent = 0  # bytes of the answer at the last look
        self._look: asyncio.TimerHandle | None = None
        self.is_lost = False
        self.when_lost: Callable[[], object] | None = None
        self._lingering: LingeringTransport
        self._refusal: bytes | None = None  # the last answer, from the time on when nothing more is read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        lingering: Any = _Transport(transport, self)
        self.transport = self._lingering = lingering
        if len(self.connections) > self.bounds.connections:
            self._refuse("503 Service Unavailable\r\nRetry-After: 1", "too many connections", lingers=False)
            return
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_are_here()
        self._lingering.lost()
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()
        self._tell_of_loss()

    def _tell_of_loss(self) -> None:
        self.is_lost = True
        when_lost, self.when_lost = self.when_lost, None
        if when_lost is not None:
            when_lost()

    def shutdown(self) -> None:
        """End the connection once the requests that are under way are answered."""
        if self._lingering.lingers:
            self._lingering.end()
        else:
            super().shutdown()

    def framing(self) -> bytes:
        """The headers that say how long the body of the request is, as `Reader` has it."""
        framing = ((name, value) for name, value in self.headers if name in (b"transfer-encoding", b"content-length"))
        return b"".join(name + b": " + value + b"\r\n" for name, value in framing if value.strip(b"0"))

    @property
    def _is_deaf(self) -> bool:
        """Whether the parser's words are of no request: of one that is refused, or of those behind it."""
        return self.is_in_body or self._refusal is not None or self.transport.is_closing()

    def on_message_begin(self) -> None:
        if self._is_deaf:
            return
        self._expect_headers()
        self._is_in_headers = True
        self._trailers = []
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._is_deaf:
            super().on_url(url)

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        self._headers_are_here()
        if self.parser.get_method() == b"CONNECT":  # what follows would be no request
            self._refuse("501 Not Implemented", "this server connects to no others")
            return
        self.scope["connection"] = self  # type: ignore[typeddict-unknown-key]  # for `while_connected`
        super().on_headers_complete()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # with what uvicorn lacks
        scope["trailers"] = self._trailers
        scope["end_of_chunks"] = partial(_end_of_chunks, self.cycle)
        scope["is_connected"] = partial(_is_connected, self.cycle)

    def on_body(self, body: bytes) -> None:
        if not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_deaf:
            return
        has_rest = self.parser.should_upgrade() and self.framing()  # the body comes after this end
        if not has_rest:
            super().on_message_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_deaf:
            return
        if self._is_in_headers:
            super().on_header(name, value)
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self.bounds.header_bytes:
            self._refuse("431 Request Header Fields Too Large", "the trailers are too large")
        else:
            self._trailers.append((name.lower(), value))

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            self._lingering.received(len(data))
            return
        if self._refusal is not None:
            return
        had_begun = self._is_in_headers
        super().data_received(data)
        if had_begun and self._is_in_headers:  # the parser collects a header of any length
            self._header_bytes += len(data)
            if self._header_bytes > self.bounds.header_bytes:
                self._refuse("431 Request Header Fields Too Large", "the headers are too large")
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._alarm is None and self.timeout_keep_alive_task is None:
            self._expect_headers()  # line ends between two requests have stopped the time for being idle

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        super().on_response_complete()
        if is_last and self._refusal is not None:
            self._end_with(self._refusal)
        self.watch_answer()

    def watch_answer(self) -> None:
        """Give the connection up if the client takes nothing of the answer for as long as it may be idle."""
        self._unsent = self.transport.get_write_buffer_size()
        if self._unsent and self._look is None:
            self._look = self.loop.call_later(self.bounds.idle_time, self._look_at_answer)

    def _look_at_answer(self) -> None:
        self._look = None
        if 0 < self._unsent <= self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.watch_answer()

    def _expect_headers(self) -> None:
        self._headers_are_here()
        self._header_bytes = 0
        self._alarm = self.loop.call_later(self.bounds.header_time, self._close_late)

    def _headers_are_here(self) -> None:
        self._is_in_headers = False
        self._header_bytes = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _close_late(self) -> None:
        self._refuse("408 Request Timeout", "the headers took too long")

    def send_400_response(self, msg: str) -> None:
        """Refuse what isn't HTTP."""
        self._refuse("400 Bad Request", msg)

    def _refuse(self, status: str, reason: str, *, lingers: bool = True) -> None:
        """Close the connection after an answer of this status, with which further headers may come. Requests before the
        one that is refused are answered first."""
        self._headers_are_here()
        if self.transport.is_closing() or self._refusal is not None:
            return
        body = f'{{"error":"{reason}"}}'
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._refusal = f"{head}Connection: close\r\n\r\n{body}".encode()
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            self._end_with(self._refusal, lingers=lingers)
        elif cycle.more_body:  # the refused request itself, which has begun
            self._give_up(cycle, self._refusal)

    def _give_up(self, cycle: RequestResponseCycle, refusal: bytes) -> None:
        """End a request whose body is refused. One that waits for those before it has no answer of its own yet."""
        if self.pipeline:
            self.pipeline.popleft()
            return
        if cycle.response_started:
            self.transport.close()
        else:
            self._end_with(refusal)
        cycle.disconnected = True
        cycle.message_event.set()
        self.flow.resume_writing()
        self._tell_of_loss()

    def _end_with(self, answer: bytes, *, lingers: bool = True) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(answer)
        if lingers:
            self._lingering.linger()
        else:
            self.transport.close()


class _Transport(LingeringTransport):
    """Lingers where an answer ends before its request."""

    def __init__(self, transport: asyncio.Transport, protocol: _BoundedProtocol) -> None:
        super().__init__(transport)
        self._protocol = protocol

    def close(self) -> None:
        """Close the connection."""
        if self.is_closing():  # a second close takes TLS from its transport
            return
        cycle = self._protocol.cycle
        if cycle is not None and cycle.response_complete and cycle.more_body:
            self.linger()
        else:
            self._transport.close()
        self._protocol.watch_answer()


def _is_connected(cycle: RequestResponseCycle) -> bool:
    """Whether the client has the connection open, as far as is seen: the end comes after all that was sent before."""
    return not cycle.disconnected


def _end_of_chunks(cycle: RequestResponseCycle, trailers: Sequence[tuple[str, bytes]]) -> bytes:
    """The last bytes of an answer in chunks, with trailers, to be sent as its last part; empty for another answer."""
    if not cycle.chunked_encoding:
        return b""
    end = b"".join((b"0\r\n", *(name.encode() + b": " + value + b"\r\n" for name, value in trailers), b"\r\n"))
    cycle.chunked_encoding, cycle.expected_content_length = False, len(end)
    return end
