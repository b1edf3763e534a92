"""One request over HTTP and its answer, by the standard library: no proxy, no redirect, no second try.

The client of the standard library is enough: a text is one request over one connection, and a socket that is shut down
from another thread ends any wait for it.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from wasi_nn.backends.remote.failover import Unanswered
from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.process.watchdog import Alarm

if TYPE_CHECKING:
    from wasi_nn.backends.remote.addresses import Address
    from wasi_nn.backends.remote.calls import Call
    from wasi_nn.backends.remote.settings import RemoteSettings

_PART = 65536  # bytes that are read at once, at most


class Answer:
    """The answer to a request, whose body is read in parts. Every wait ends with the call."""

    def __init__(self, name: str, response: Any, opened: socket.socket, call: Call, settings: RemoteSettings) -> None:
        self.status: int = response.status
        self._name = name
        self._response = response
        self._socket = opened
        self._call = call
        self._settings = settings
        self._left = self._most = settings.max_answer_bytes

    def part(self) -> bytes:
        """The next bytes of the body as they come; empty at its end. Raises `NNError`: `too-large`, `timeout`, and
        `runtime-error` if the connection fails."""
        if self._left <= 0:
            message = f"{self._name}: the answer has more than {self._most} bytes (option max-answer-bytes)"
            raise NNError(ErrorCode.TOO_LARGE, message)
        with _errors(self._name, self._settings, self._call, was_sent=None):
            self._socket.settimeout(self._call.seconds_left())
            content: bytes = self._response.read1(_PART)
        if not content:  # the socket may have been shut down
            self._call.seconds_left()
        self._left -= len(content)
        return content

    def whole(self, most: int) -> bytes:
        """The whole body, cut after `most` bytes."""
        content = bytearray()
        while len(content) < most and (part := self.part()):
            content += part
        return bytes(content[:most])


@contextmanager
def exchange(
    address: Address, settings: RemoteSettings, context: ssl.SSLContext | None, call: Call, path: str, body: Any = None
) -> Iterator[Answer]:
    """Send a request, with a body of JSON unless it is None, and give the answer, whose connection the end of the block
    closes. Raises `NNError`, and `Unanswered` if there is no answer."""
    name = server_name(address, has_tls=context is not None)
    headers = {"Accept": "application/json, text/event-stream", "Connection": "close", "User-Agent": "wasi-nn"}
    token = settings.credentials.token()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    content = None if body is None else json.dumps(body).encode()
    if content is not None:
        headers["Content-Type"] = "application/json"
    seconds = min(settings.connect_timeout, call.seconds_left())
    connection, alarm = _connection(address, context, seconds), Alarm()
    try:
        with _errors(name, settings, call, was_sent=False):
            connection.connect()
        opened = connection.sock
        # The timeout of a socket begins anew with each byte: the alarm ends what comes byte by byte.
        alarm.set(call.until, lambda: _shut(opened))
        with call.ended_by(lambda: _shut(opened)):
            with _errors(name, settings, call, was_sent=True):
                opened.settimeout(call.seconds_left())
                connection.request("GET" if content is None else "POST", path, content, headers)
                opened.settimeout(call.seconds_left())
                response = connection.getresponse()
            with response:
                yield Answer(name, response, opened, call, settings)
    finally:
        alarm.discard()
        connection.close()


def server_name(address: Address, *, has_tls: bool) -> str:
    """A server for messages."""
    return f"http{'s' if has_tls else ''}://{address.host_and_port(443 if has_tls else 80)}"


def _connection(address: Address, context: ssl.SSLContext | None, seconds: float) -> http.client.HTTPConnection:
    if context is None:
        return http.client.HTTPConnection(address.host, address.port or 80, timeout=seconds)
    return http.client.HTTPSConnection(address.host, address.port or 443, timeout=seconds, context=context)


def _shut(opened: socket.socket) -> None:
    with suppress(OSError):  # the server may have been faster
        socket.socket.shutdown(opened, socket.SHUT_RDWR)  # not the method of TLS, which another thread may be using


@contextmanager
def _errors(name: str, settings: RemoteSettings, call: Call, *, was_sent: bool | None) -> Iterator[None]:
    """Turn errors of the connection into those of wasi-nn. `was_sent` is None where an answer has begun: then no other
    server can be asked."""
    try:
        yield
    except (OSError, http.client.HTTPException, UnicodeError) as error:  # the last for names that no host has
        call.seconds_left()  # raises if the call was stopped, or its time is over
        if isinstance(error, TimeoutError) and was_sent is not False:
            raise call.late() from None
        reason = settings.credentials.without_tokens(printable(one_line(error)))[:300]  # it may have the server's words
        message = f"{name} can't be reached: {reason}" if was_sent is False else f"{name}: {reason}"
        if was_sent is None:
            raise NNError(ErrorCode.RUNTIME_ERROR, f"{message}, in the middle of the answer") from None
        raise Unanswered(message, was_sent=was_sent) from None
