"""The objects behind the resources of a guest's own requests: the requests that it puts together, and their answers.

The guest's `Sender` makes the requests, if the guest may make any. Bodies are streams of the engine, as those of the
request that the guest answers.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasi_nn.abi.component.values import Err, Ok
from wasi_nn.abi.http.vocabulary import METHODS, method_of

if TYPE_CHECKING:
    from wasi_nn.abi.http.fields import Field, Fields

Outcome = Ok | Err

_METHOD = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]{0,63}")
_PATH = re.compile(r"[!-~]{0,8192}")
_AUTHORITY = re.compile(r"[A-Za-z0-9\-._~%!$&'()*+,;=:@\[\]]{1,1024}")
_NAMES = {"HTTP": "http", "HTTPS": "https"}


class HttpError(Exception):
    """A request that gets no answer. `code` is a value of `error-code`, for the guest; `reason` is for the operator."""

    def __init__(self, case: str, detail: Any = None, reason: str = "") -> None:
        super().__init__(reason or case)
        self.code = (case, detail)


@dataclass(frozen=True)
class OutgoingHead:
    """A request without its body. `times` are the guest's, in seconds, by their names in `request-options`."""

    method: str
    scheme: str
    authority: str
    path: str
    headers: Sequence[Field]
    times: Mapping[str, float]


@dataclass(frozen=True)
class IncomingHead:
    """An answer without its body."""

    status: int
    headers: Sequence[Field]


class Sent(ABC):
    """A request for which there are streams, and which is under way once it has begun. All methods are called on the
    guest's thread."""

    @abstractmethod
    def request_body(self) -> int:
        """The output stream of the request's body."""

    @abstractmethod
    def finish(self) -> bool:
        """End the request's body. Returns False if nobody takes it any more."""

    @abstractmethod
    def break_off(self) -> None:
        """Leave the request's body incomplete."""

    @abstractmethod
    def begin(self, head: OutgoingHead) -> None:
        """Send the request. Raises `HttpError` if that isn't allowed."""

    @abstractmethod
    def subscribe(self) -> int:
        """A pollable that is ready once there is an answer."""

    @abstractmethod
    def answer(self) -> IncomingHead | HttpError | None:
        """The answer, or why there is none; None while there is neither."""

    @abstractmethod
    def response_body(self) -> int:
        """The input stream of the answer's body."""

    @abstractmethod
    def close(self) -> None:
        """End the request: the guest wants no more of it. May be called again."""


class Sender(ABC):
    """Makes the requests of one guest."""

    @abstractmethod
    def new(self, *, has_body: bool) -> Sent:
        """A further request. Raises `HttpError` if the guest has too many."""


class OutgoingRequest:
    """A request of the guest, as it puts it together."""

    def __init__(self, headers: Fields) -> None:
        self.headers = headers
        headers.is_immutable = True
        self.method: tuple[str, str | None] = ("get", None)
        self.path: str | None = None
        self.scheme: tuple[str, str | None] | None = None
        self.authority: str | None = None
        self.body: RequestBody | None = None

    def take_body(self, sender: Sender | None) -> Outcome:
        """The body, once."""
        if self.body is not None:
            return Err()
        self.body = RequestBody()
        if sender is not None:
            try:
                self.body.sent = sender.new(has_body=True)
            except HttpError as error:  # the guest gets it when it sends the request
                self.body.failure = error
        return Ok(self.body)

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

    def head(self, options: RequestOptions | None) -> OutgoingHead:
        """The request without its body. By default it goes to `/` by HTTPS."""
        case, name = self.method
        scheme, other = self.scheme or ("HTTPS", None)
        path = self.path or "/"
        times = {} if options is None else options.times
        return OutgoingHead(
            name or case.upper(),
            _NAMES.get(scheme, (other or "").lower()),
            self.authority or "",
            path if path.startswith("/") else f"/{path}",
            tuple(self.headers.items),
            {key: nanoseconds / 1e9 for key, nanoseconds in times.items() if nanoseconds is not None},
        )

    def close(self) -> None:
        """Drop the request, which isn't sent."""
        self.headers.close()
        if self.body is not None and self.body.sent is not None:
            self.body.sent.close()


class RequestBody:
    """The body of a request of the guest. Without `sent`, it is never sent."""

    def __init__(self) -> None:
        self.sent: Sent | None = None
        self.failure: HttpError | None = None
        self._has_stream = self._has_ended = False

    def write(self) -> Outcome:
        """The stream, once."""
        if self._has_stream or self.sent is None:
            return Err()
        self._has_stream = True
        return Ok(self.sent.request_body())

    def finish(self, trailers: Fields | None) -> Outcome:
        """End the body."""
        has_trailers = trailers is not None and bool(trailers.items)
        if trailers is not None:
            trailers.close()
        if has_trailers:
            self.end()
            return Err(("internal-error", "the trailers of a request can't be sent"))
        self._has_ended = True
        if self.sent is not None and not self.sent.finish():
            return Err(("connection-terminated", None))
        return Ok()

    def end(self) -> None:
        """Drop the body without its end."""
        if self.sent is not None and not self._has_ended:
            self._has_ended = True
            self.sent.break_off()


class RequestOptions:
    """The times of a request of the guest, in nanoseconds."""

    def __init__(self) -> None:
        self.times: dict[str, int | None] = {}

    def set(self, name: str, duration: int | None) -> Outcome:
        """Set a time."""
        self.times[name] = duration
        return Ok()


class FutureIncomingResponse:
    """The answer to a request of the guest, which is yet to come."""

    def __init__(self, sent: Sent) -> None:
        self.sent = sent
        self.is_taken = False

    def get(self) -> Outcome | None:
        """The answer, once; None while there is none."""
        if self.is_taken:
            return Err()
        answer = self.sent.answer()
        if answer is None:
            return None
        self.is_taken = True
        if isinstance(answer, HttpError):
            return Ok(Err(answer.code))
        return Ok(Ok(IncomingResponse(self.sent, answer)))

    def close(self) -> None:
        """End the request, unless the guest has its answer."""
        if not self.is_taken:
            self.sent.close()


class IncomingResponse:
    """The answer to a request of the guest."""

    def __init__(self, sent: Sent, head: IncomingHead) -> None:
        self.head = head
        self._sent = sent
        self._is_consumed = False

    def consume(self) -> Outcome:
        """The body, once."""
        if self._is_consumed:
            return Err()
        self._is_consumed = True
        return Ok(ResponseBody(self._sent))

    def close(self) -> None:
        """End the request, unless the guest reads the body."""
        if not self._is_consumed:
            self._sent.close()


class ResponseBody:
    """The body of an answer."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self._has_stream = False

    def read(self) -> Outcome:
        """The stream, once."""
        if self._has_stream:
            return Err()
        self._has_stream = True
        return Ok(self._sent.response_body())

    def close(self) -> None:
        """End the request with the rest of its body."""
        self._sent.close()


class NoTrailers:
    """The trailers of an answer, of which the guest gets none."""

    def __init__(self) -> None:
        self.is_taken = False

    def get(self, _: object) -> Outcome:
        """None, once."""
        if self.is_taken:
            return Err()
        self.is_taken = True
        return Ok(Ok(None))
