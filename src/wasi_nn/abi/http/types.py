"""The functions of `wasi:http/types` over one `Exchange`, and the objects behind its resources."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.component.values import Err, Ok
from wasi_nn.abi.http.exchange import Exchange, Listener, RequestHead, ResponseHead
from wasi_nn.abi.http.fields import Fields, HeaderError
from wasi_nn.abi.http.vocabulary import METHODS, method_of

Outcome = Ok | Err

_STATUSES = range(200, 600)
_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,63}")
_PATH = re.compile(r"[!-~]{0,8192}")
_AUTHORITY = re.compile(r"[A-Za-z0-9\-._~%!$&'()*+,;=:@\[\]]{1,1024}")
_DENIED = ("HTTP-request-denied", None)


class Streams(ABC):
    """Gives the engine's streams and pollables, each as the address of the engine's handle."""

    @abstractmethod
    def request_body(self) -> int:
        """The input stream of the request's body."""

    @abstractmethod
    def response_body(self) -> int:
        """The output stream of the answer's body."""

    @abstractmethod
    def errors(self) -> int:
        """An output stream to the log."""

    @abstractmethod
    def ready(self) -> int:
        """A pollable that is ready."""


@dataclass
class Running:
    """What the functions work on: the exchange, and the streams of the guest's store."""

    exchange: Exchange
    streams: Streams
    written: OutgoingBody | None = None
    """The body that has the stream."""

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
    """The body of an answer, or of a request that is never sent (`response` is None then)."""

    def __init__(self, response: OutgoingResponse | None) -> None:
        self.response = response
        self.has_stream = False
        self._is_sent = False
        self._end: Callable[[Listener], None] | None = None

    def write(self, running: Running) -> Outcome:
        """The stream, once, and for one answer of the guest's only."""
        if self.has_stream or self.response is None or running.written is not None:
            return Err()
        self.has_stream = True
        running.written = self
        return Ok(running.streams.response_body())

    def finish(self, running: Running, trailers: Fields | None) -> Outcome:
        """End the body."""
        if self.response is None:
            return Ok()
        items = [] if trailers is None else list(trailers.items)
        if trailers is not None:
            trailers.close()
        length = self.response.head().length
        written = running.exchange.listener.written() if self.has_stream else 0
        if length is not None and written != length and running.exchange.has_content(self.response.status):
            self.end(running, lambda listener: listener.broke())
            return Err(("HTTP-response-body-size", written))
        self.end(running, lambda listener: listener.finished(items))
        return Ok()

    def end(self, running: Running, tell: Callable[[Listener], None]) -> None:
        """Note the end of the body, which is told once its answer is given."""
        self._end = tell
        if self._is_sent:
            tell(running.exchange.listener)

    def send(self, running: Running) -> None:
        """Have the client get the body."""
        self._is_sent = True
        if self._end is not None:
            self._end(running.exchange.listener)


class OutgoingRequest:
    """A request of the guest, which is refused when it is to be sent."""

    def __init__(self, headers: Fields) -> None:
        self.headers = headers
        headers.is_immutable = True
        self.method: tuple[str, str | None] = ("get", None)
        self.path: str | None = None
        self.scheme: tuple[str, str | None] | None = None
        self.authority: str | None = None
        self.has_body = False

    def take_body(self) -> Outcome:
        """The body, once."""
        if self.has_body:
            return Err()
        self.has_body = True
        return Ok(OutgoingBody(None))

    def set_method(self, method: tuple[str, str | None]) -> Outcome:
        """Set the method, if it is one of HTTP."""
        case, name = method
        if case not in METHODS and _METHOD.fullmatch(name or "") is None:
            return Err()
        self.method = method if name is None else method_of(name)
        return Ok()

    def set_path(self, path: str | None) -> Outcome:
        """Set the path with its query, if it can be one."""
        return self._set("path", path, path is None or _PATH.fullmatch(path) is not None)

    def set_scheme(self, scheme: tuple[str, str | None] | None) -> Outcome:
        """Set the scheme, if it can be one."""
        name = None if scheme is None else scheme[1]
        return self._set("scheme", scheme, name is None or _SCHEME.fullmatch(name) is not None)

    def set_authority(self, authority: str | None) -> Outcome:
        """Set the authority, if it can be one."""
        return self._set("authority", authority, authority is None or _AUTHORITY.fullmatch(authority) is not None)

    def _set(self, name: str, value: Any, is_right: bool) -> Outcome:
        if not is_right:
            return Err()
        setattr(self, name, value)
        return Ok()


class RequestOptions:
    """The times of a request of the guest, in nanoseconds."""

    def __init__(self) -> None:
        self.times: dict[str, int | None] = {}

    def set(self, name: str, duration: int | None) -> Outcome:
        """Set a time."""
        self.times[name] = duration
        return Ok()


class IncomingResponse:
    """The answer to a request of the guest. There is none."""


class FutureIncomingResponse:
    """The answer to a request of the guest, which is yet to come. There is none."""


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


def finish_incoming(running: Running, body: IncomingBody) -> FutureTrailers:
    """The trailers after a body, of which the guest reads no more."""
    running.exchange.listener.left_body()
    return FutureTrailers()


def read_body(running: Running, body: IncomingBody) -> Outcome:
    """The stream of the request's body, once."""
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


def handle_outgoing(running: Running, request: OutgoingRequest, options: RequestOptions | None) -> Outcome:
    """Send a request of the guest: refused, since the engine has no stream for the answer's body here."""
    request.headers.close()
    return Err(_DENIED)


def dropped(running: Running, item: Any) -> None:
    """A guest has dropped a resource."""
    if isinstance(item, Fields):
        item.close()
    elif isinstance(item, OutgoingBody):
        item.end(running, lambda listener: listener.broke())
    elif isinstance(item, IncomingBody) or (isinstance(item, IncomingRequest) and not item.is_consumed):
        running.exchange.listener.left_body()
    elif isinstance(item, OutgoingResponse | OutgoingRequest):
        item.headers.close()
