"""`Relay`: makes one request of a guest on a thread, and passes its body and that of the answer on."""

from __future__ import annotations

import http.client
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from math import inf
from typing import TYPE_CHECKING

from wasi_nn.abi.http.fields import Field, HeaderError, checked_value, end_to_end
from wasi_nn.abi.http.outgoing import HttpError, IncomingHead
from wasi_nn.errors import one_line, printable
from wasi_nn.guests.http.outgoing.connection import connected, errors
from wasi_nn.guests.http.outgoing.engine_connection import Broken, EngineConnection
from wasi_nn.hosts import in_url
from wasi_nn.process.watchdog import Alarm

if TYPE_CHECKING:
    from wasi_nn.abi.http.outgoing import OutgoingHead
    from wasi_nn.loading.http_out import HttpOut, Place

logger = logging.getLogger("wasi_nn")

_PART = 65536
_RESETS = struct.pack("ii", 1, 0)  # a `struct linger`: a close doesn't wait for what wasn't sent
_LONGEST = 100  # characters of a value in a message
_WITHOUT_BODY = ("GET", "HEAD", "OPTIONS", "TRACE")  # which have no length if they have no body
_NOT_SENT = ("content-length", "expect", "te")  # `_send_head` writes the length; the others concern the connection


class Relay:
    """A request, from the guest's stream to its place, and the answer's way back. `run` is called on a thread of its
    own; `close` may be called on any. `ended` is called at the end of the answer, before the guest sees that end. It
    gives whether the thread may wait until the guest has taken the answer.

    most_head  the most bytes of the answer's head
    """

    def __init__(
        self,
        engine: EngineConnection,
        head: OutgoingHead,
        place: Place,
        settings: HttpOut,
        most_head: int,
        ended: Callable[[Relay], bool],
    ) -> None:
        self.answer: IncomingHead | HttpError | None = None
        """The answer, or why there is none. It is there before the engine knows of an answer."""
        self.bytes_out = self.bytes_in = 0
        self.failure = ""
        """Why the answer isn't whole, for the operator."""
        self._engine = engine
        self._head = head
        self._place = place
        self._settings = settings
        self._most_head = most_head
        self._ended = ended
        self._has_reported = self._may_wait = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._keeps_open = ExitStack()
        self._is_closed = self._is_late = self._is_whole = False

    def run(self) -> None:
        """Make the request, and pass the answer on to its end, or as long as the guest wants it."""
        try:
            self._engine.accept()
            self._pass()
        except (Broken, OSError) as error:
            self._fail(HttpError("connection-terminated", reason=one_line(error)))
        except Exception as error:
            logger.exception("a guest's request failed: internal error of the host")
            self._fail(HttpError("internal-error", None, type(error).__name__))
        finally:
            self._report()
            self._end_upstream()
            if self._is_whole and self._may_wait:
                # The guest may still send its body, to an upstream that has answered before the end of it.
                self._engine.wait_until_taken(self._settings.request_bytes)
            self._engine.release()

    def _end_upstream(self) -> None:
        with self._lock:
            opened, self._socket = self._socket, None
        if opened is not None:
            if self._is_closed or not self._is_whole:
                # A reset: an upstream that waits for room to send would see a close a minute later only.
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETS)
            self._keeps_open.close()
            opened.close()

    def _pass(self) -> None:
        try:
            response, head = self._ask()
        except HttpError as error:
            self._fail(error)
            self._report()
            self._engine.answer()
            self._engine.end()
            return
        with response:
            self.answer = head
            self._engine.answer()
            try:
                self._pass_body(response)
            except HttpError as error:  # the guest's stream fails, as it has no end
                self._fail(error)
                return
        self._is_whole = True
        self._report()
        self._engine.end()

    def _report(self) -> None:
        if not self._has_reported:
            self._has_reported = True
            self._may_wait = self._ended(self)

    def _fail(self, error: HttpError) -> None:
        if not self._is_closed:  # as the guest wants it
            self.failure = self.failure or str(error)
        if self.answer is None:
            self.answer = error

    @property
    def _time_between_parts(self) -> float:
        return self._time("between-bytes-timeout", self._settings.between_time)

    def _time(self, name: str, longest: float) -> float:
        """The time of `request-options` with a name, in seconds: the guest may only shorten the operator's."""
        return min(max(self._head.times.get(name, inf), 0.001), longest)

    def _ask(self) -> tuple[http.client.HTTPResponse, IncomingHead]:
        """Send the request, and give the answer. Raises `HttpError`."""
        settings = self._settings
        parts = self._engine.parts()
        # The first part, or the end, shows whether there is a body at all.
        first = next(parts, b"")
        connection = connected(self._place, settings.ca_file, self._time("connect-timeout", settings.connect_time))
        opened: socket.socket = connection.sock
        with self._lock:
            self._socket = opened
            # `http.client` closes the socket at its own end of the answer, which isn't the time to.
            self._keeps_open.enter_context(opened.makefile("rb", 0))
            if self._is_closed:
                self._shut()
        opened.settimeout(settings.between_time)
        length = self._length(is_empty=not first)
        try:
            with errors("connection-write-timeout", settings.between_time, "between-time"):
                self._send_head(connection, length)
                while first:
                    self._send(opened, first, length)
                    first = next(parts, b"")
                if length is None:
                    opened.sendall(b"0\r\n\r\n")
        except HttpError as error:
            if error.code[0] != "connection-terminated":  # then there may be an answer that says why
                raise
        else:
            if length is not None and self.bytes_out != length:
                reason = f"the body has {self.bytes_out} bytes, and its Content-Length is {length}"
                raise HttpError("HTTP-request-body-size", self.bytes_out, reason)
        response = self._response(connection, opened)
        try:
            opened.settimeout(self._time_between_parts)
            return response, self._checked(response)
        except BaseException:
            response.close()
            raise

    def _length(self, *, is_empty: bool) -> int | None:
        """The bytes of the body that the request announces; None if it has no such number. Raises `HttpError`."""
        texts = [value for name, value in self._head.headers if name == "content-length"]
        if not texts:
            return 0 if is_empty else None
        if len(texts) > 1 or not texts[0].isdigit() or len(texts[0]) > 18:
            shown = printable(b", ".join(texts).decode("latin-1")[:_LONGEST])
            raise HttpError("HTTP-request-header-size", None, f"the Content-Length is no number of bytes: {shown}")
        length = int(texts[0])
        if length > self._settings.request_bytes:
            raise HttpError("HTTP-request-body-size", length, _too_many("request", self._settings.request_bytes))
        return length

    def _send_head(self, connection: http.client.HTTPConnection, length: int | None) -> None:
        head, place = self._head, self._place
        connection.putrequest(head.method, head.path, skip_host=True, skip_accept_encoding=True)
        host = in_url(place.host)
        connection.putheader("Host", host if place.has_usual_port else f"{host}:{place.port}")
        for name, value in head.headers:
            if name not in _NOT_SENT:
                connection.putheader(name, value)
        if length is None:
            connection.putheader("Transfer-Encoding", "chunked")
        elif length or head.method not in _WITHOUT_BODY:
            connection.putheader("Content-Length", str(length))
        connection.putheader("Connection", "close")
        connection.endheaders()

    def _send(self, opened: socket.socket, part: bytes, length: int | None) -> None:
        self.bytes_out += len(part)
        most = self._settings.request_bytes if length is None else length
        if self.bytes_out > most:
            raise HttpError("HTTP-request-body-size", self.bytes_out, _too_many("request", most))
        opened.sendall(b"%x\r\n%b\r\n" % (len(part), part) if length is None else part)

    def _response(self, connection: http.client.HTTPConnection, opened: socket.socket) -> http.client.HTTPResponse:
        """The answer. All of its head has to come within `first_byte_time`."""
        seconds = self._time("first-byte-timeout", self._settings.first_byte_time)
        alarm = Alarm()
        try:
            with errors("HTTP-response-timeout", seconds, "first-byte-time"):
                alarm.set(time.monotonic() + seconds, self._expire)
                opened.settimeout(seconds)
                return connection.getresponse()
        except HttpError:
            if self._is_late:
                reason = f"no answer within {seconds:g} s (first-byte-time of http-out)"
                raise HttpError("HTTP-response-timeout", reason=reason) from None
            raise
        finally:
            alarm.discard()

    def _expire(self) -> None:
        self._is_late = True
        with self._lock:
            self._shut()

    def _checked(self, response: http.client.HTTPResponse) -> IncomingHead:
        """The head of an answer, for the guest."""
        if not 200 <= response.status <= 599:
            raise HttpError("HTTP-protocol-error", reason=f"the answer has the status {response.status}")
        fields = response.getheaders()
        listed: list[Field] = [(name.lower(), value.encode("latin-1", "replace")) for name, value in fields]
        size = sum(len(name) + len(value) for name, value in listed)
        if size > self._most_head:
            raise HttpError(
                "HTTP-response-header-section-size",
                size,
                f"the answer's head has {size} bytes, more than {self._most_head}",
            )
        try:
            for _, value in listed:
                checked_value(value)
        except HeaderError:
            raise HttpError("HTTP-protocol-error", reason="a header of the answer has control characters") from None
        length = response.length
        if length is not None and length > self._settings.answer_bytes:
            raise HttpError("HTTP-response-body-size", length, _too_many("answer", self._settings.answer_bytes))
        return IncomingHead(response.status, end_to_end(listed))

    def _pass_body(self, response: http.client.HTTPResponse) -> None:
        while True:
            with errors("connection-read-timeout", self._time_between_parts, "between-time"):
                part = response.read1(_PART)
            if not part:
                break
            self.bytes_in += len(part)
            if self.bytes_in > self._settings.answer_bytes:
                raise HttpError("HTTP-response-body-size", None, _too_many("answer", self._settings.answer_bytes))
            self._engine.write(part)
        if response.length:
            raise HttpError("HTTP-response-incomplete", reason=f"{response.length} bytes of the answer are missing")

    def close(self) -> None:
        """End both connections."""
        with self._lock:
            self._is_closed = True
            self._shut()
        self._engine.close()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # not the shutdown of TLS: another thread may be using that
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _too_many(what: str, most: int) -> str:
    return f"the {what} has more than {most} bytes ({what}-bytes of http-out)"
