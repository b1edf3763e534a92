"""The functions of `wasi:http/types` over one `Exchange`, and the objects behind its resources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.values import Err, Ok
from wasi_nn.abi.http.exchange import Exchange, Listener, RequestHead, ResponseHead
from wasi_nn.abi.http.fields import Field, Fields, HeaderError
from wasi_nn.abi.http.outgoing import (
    FutureIncomingResponse,
    HttpError,
    IncomingResponse,
    NoTrailers,
    OutgoingRequest,
    RequestBody,
    RequestOptions,
    ResponseBody,
    Sender,
)

Outcome = Ok | Err

_STATUSES = range(200, 600)
_DENIED = ("HTTP-request-denied", None)


class Streams(ABC):
    """Gives the engine's streams and pollables, each as the address of the engine's handle."""

    @abstractmethod
    def request_body(self) -> int:
        """The input stream of the request's body."""

    @abstractmethod
    def response_body(self) -> int:
        """The output stream of the answer's body."""

    def end_response(self) -> None:  # noqa: B027 - a pipe of the guest's has all that was written
        """The guest has ended the answer's body: have all of it be written. Raises `GuestFault` if that fails, or if
        the guest holds the stream, and that matters."""

    @abstractmethod
    def errors(self) -> int:
        """An output stream to the log."""

    @abstractmethod
    def after(self, nanoseconds: int) -> int:
        """A pollable that is ready after this time."""


@dataclass
class Running:
    """What the functions work on: the exchange, and the streams of the guest's store."""

    exchange: Exchange
    streams: Streams
    written: OutgoingBody | None = None
    """The body that has the stream."""
    sender: Sender | None = None
    """Makes the guest's own requests; None: it may make none."""
    until: float = inf
    """The end of the guest's time, on the clock of `time.monotonic`."""
    is_finished: bool = False
    """Whether the guest has given its answer and ended the answer's body."""

    def finish(self, trailers: Sequence[Field]) -> None:
        """Note that the guest has ended the answer's body."""
        self.is_finished = True
        self.exchange.listener.finished(trailers)

    def fields(self, items: Any = (), *, is_immutable: bool = False) -> Fields:
        """Fields that count as the guest's."""
        return Fields(self.exchange.field_bytes, items, is_immutable=is_immutable)


class ResponseOutparam:
    """The place of the answer, which is set once."""


class IncomingRequest:
    """The request."""

    def __init__(self, head: RequestHead) -> None:
        self.head = head
        self.is_consumed = False

    def consume(self) -> Outcome:
        """The body, once."""
        if self.is_consumed:
            return Err()
        self.is_consumed = True
        return Ok(IncomingBody())


class IncomingBody:
    """The request's body."""

    def __init__(self) -> None:
        self.has_stream = False


class FutureTrailers:
    """The request's trailers, which can be taken once."""

    def __init__(self) -> None:
        self.is_taken = False

    def get(self, running: Running) -> Outcome:
        """The trailers. Waits for the end of the request."""
        if self.is_taken:
            return Err()
        items, failure = running.exchange.wait_for_trailers()
        self.is_taken = True
        if failure:
            return Ok(Err((failure, None)))
        return Ok(Ok(running.fields(items, is_immutable=True) if items else None))


class OutgoingResponse:
    """The answer, as the guest puts it together."""

    def __init__(self, headers: Fields) -> None:
        self.headers = headers
        headers.is_immutable = True
        self.status = 200
        self.body: OutgoingBody | None = None

    def set_status(self, status: int) -> Outcome:
        """Set the status, if it is one of a final answer."""
        if status not in _STATUSES:
            return Err()
        self.status = status
        return Ok()

    def take_body(self) -> Outcome:
        """The body, once."""
        if self.body is not None:
            return Err()
        self.body = OutgoingBody(self)
        return Ok(self.body)

    def head(self) -> ResponseHead:
        """The answer's head. Raises `GuestFault` for a `Content-Length` that is no length."""
        lengths = self.headers.get("content-length")
        if not lengths:
            return ResponseHead(self.status, tuple(self.headers.items))
        text = lengths[0].decode("latin-1")
        if len(lengths) > 1 or not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise GuestFault("the answer's Content-Length is no number of bytes")
        return ResponseHead(self.status, tuple(self.headers.items), int(text))


class OutgoingBody:
    """The body of an answer."""

    def __init__(self, response: OutgoingResponse) -> None:
        self.response = response
        self.has_stream = False
        self._is_sent = False
        self._end: Callable[[Listener], None] | None = None

    def write(self, running: Running) -> Outcome:
        """The stream, once, and for one answer of the guest's only."""
        if self.has_stream or running.written is not None:
            return Err()
        self.has_stream = True
        running.written = self
        return Ok(running.streams.response_body())

    def finish(self, running: Running, trailers: Fields | None) -> Outcome:
        """End the body."""
        items = [] if trailers is None else list(trailers.items)
        if trailers is not None:
            trailers.close()
        if self.has_stream:
            running.streams.end_response()
        length = self.response.head().length
        written = running.exchange.listener.written() if self.has_stream else 0
        if length is not None and written != length and running.exchange.has_content(self.response.status):
            self.end(running, lambda listener: listener.broke())
            return Err(("HTTP-response-body-size", written))
        self.end(running, lambda _: running.finish(items))
        return Ok()

    def end(self, running: Running, tell: Callable[[Listener], None]) -> None:
        """Note the end of the body. `tell` is called with the listener: now, or once the guest has given the answer."""
        self._end = tell
        if self._is_sent:
            tell(running.exchange.listener)

    def send(self, running: Running) -> None:
        """Have the client get the body."""
        self._is_sent = True
        if self._end is not None:
            self._end(running.exchange.listener)


def changing(change: Callable[[], object]) -> Outcome:
    """The result of a change of fields."""
    try:
        change()
    except HeaderError as error:
        return Err((error.args[0], None))
    return Ok()


def from_list(running: Running, entries: list[tuple[str, bytes]]) -> Outcome:
    """New fields."""
    try:
        return Ok(Fields.checked(running.exchange.field_bytes, entries))
    except HeaderError as error:
        return Err((error.args[0], None))


def finish_incoming(running: Running, body: IncomingBody | ResponseBody) -> FutureTrailers | NoTrailers:
    """The trailers after a body, of which the guest reads no more."""
    if isinstance(body, ResponseBody):
        body.close()
        return NoTrailers()
    running.exchange.listener.left_body()
    return FutureTrailers()


def read_body(running: Running, body: IncomingBody | ResponseBody) -> Outcome:
    """The stream of a body, once."""
    if isinstance(body, ResponseBody):
        return body.read()
    if body.has_stream:
        return Err()
    body.has_stream = True
    return Ok(running.streams.request_body())


def set_outparam(running: Running, outparam: ResponseOutparam, response: Outcome) -> None:
    """Give the answer, or an error in its place."""
    exchange = running.exchange
    if isinstance(response, Err):
        case, detail = response.value
        exchange.listener.refused(case, detail if isinstance(detail, str) else "")
        return
    answer: OutgoingResponse = response.value
    if running.written not in (None, answer.body):
        raise GuestFault("the guest has written to the body of another answer than it gives")
    if answer.body is None:  # there never will be one
        answer.body = OutgoingBody(answer)
        answer.body.finish(running, None)
    exchange.listener.answered(answer.head())
    answer.body.send(running)


def write_body(running: Running, body: OutgoingBody | RequestBody) -> Outcome:
    """The stream to write a body to, once."""
    return body.write() if isinstance(body, RequestBody) else body.write(running)


def finish_outgoing(running: Running, body: OutgoingBody | RequestBody, trailers: Fields | None) -> Outcome:
    """End a body."""
    return body.finish(trailers) if isinstance(body, RequestBody) else body.finish(running, trailers)


def handle_outgoing(running: Running, request: OutgoingRequest, options: RequestOptions | None) -> Outcome:
    """Send a request of the guest."""
    if running.sender is None:
        request.close()
        return Err(_DENIED)
    head, body = request.head(options), request.body
    request.headers.close()
    sent = None
    try:
        if body is not None and body.failure is not None:
            raise body.failure
        sent = running.sender.new(has_body=False) if body is None else body.sent
        assert sent is not None  # a body without it has a failure
        sent.begin(head)
    except HttpError as error:
        if sent is not None:
            sent.close()
        return Err(error.code)
    return Ok(FutureIncomingResponse(sent))


def dropped(running: Running, item: Any) -> None:
    """A guest has dropped a resource."""
    if isinstance(item, Fields):
        item.close()
    elif isinstance(item, OutgoingBody):
        item.end(running, lambda listener: listener.broke())
    elif isinstance(item, IncomingBody) or (isinstance(item, IncomingRequest) and not item.is_consumed):
        running.exchange.listener.left_body()
    elif isinstance(item, RequestBody):
        item.end()
    elif isinstance(item, OutgoingResponse):
        item.headers.close()
    elif isinstance(item, OutgoingRequest | FutureIncomingResponse | IncomingResponse | ResponseBody):
        item.close()
