"""The connection of a guest's request to a place that the operator has listed: addresses, TLS, and errors."""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasi_nn.abi.http.outgoing import HttpError
from wasi_nn.errors import one_line
from wasi_nn.hosts import is_public
from wasi_nn.process.threads import Call

if TYPE_CHECKING:
    from wasi_nn.loading.http_out import Place

_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL)


@contextmanager
def errors(timeout: str, seconds: float, key: str) -> Iterator[None]:
    """Turn errors of a connection into `HttpError`. `timeout` is the case for a time of `seconds` that is over, `key`
    the operator's setting of that time; the guest may have shortened it."""
    try:
        yield
    except TimeoutError:
        raise HttpError(timeout, reason=f"it took longer than {seconds:g} s ({key} of http-out)") from None
    except ssl.SSLCertVerificationError as error:
        raise HttpError("TLS-certificate-error", reason=one_line(error)) from None
    except ssl.SSLError as error:
        raise HttpError("TLS-protocol-error", reason=one_line(error)) from None
    except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected) as error:
        raise HttpError("connection-terminated", reason=one_line(error)) from None
    except ConnectionRefusedError as error:
        raise HttpError("connection-refused", reason=one_line(error)) from None
    except http.client.HTTPException as error:
        raise HttpError("HTTP-protocol-error", reason=one_line(error)) from None
    except OSError as error:
        case = "destination-IP-unroutable" if error.errno in _UNREACHABLE else "destination-unavailable"
        raise HttpError(case, reason=one_line(error)) from None


def connected(place: Place, ca_file: Path | None, seconds: float) -> http.client.HTTPConnection:
    """A connection to a place. The name is looked up once, and the connection goes to an address that was checked then.
    Raises `HttpError`."""
    until = time.monotonic() + seconds
    addresses = _addresses(place, seconds)
    failure: HttpError | None = None
    for family, address in addresses:
        try:
            with errors("connection-timeout", seconds, "connect-time"):
                opened = socket.socket(family, socket.SOCK_STREAM)
                try:
                    opened.settimeout(_left(until))
                    opened.connect(address)
                    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return _client(place, opened, ca_file)
                except BaseException:
                    opened.close()
                    raise
        except HttpError as error:
            failure = failure or error
            if time.monotonic() >= until:
                break
    assert failure is not None  # there was an address
    raise failure


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _client(place: Place, opened: socket.socket, ca_file: Path | None) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(place.host, place.port)
    connection.response_class = _WholeHead
    connection.sock = opened
    if place.scheme == "https":
        connection.sock = _tls_of(ca_file).wrap_socket(opened, server_hostname=place.host)
    return connection


class _WholeHead(http.client.HTTPResponse):
    """An answer whose head has its end: the standard library takes the end of the connection for it."""

    def begin(self) -> None:
        if self.headers is None:  # else it has begun
            lines: Any = _Lines(self.fp)
            self.fp = lines
            super().begin()
            self.fp = lines.reader
            if lines.have_ended:
                raise HttpError("HTTP-response-incomplete", reason="the head of the answer is cut short")


class _Lines:
    """Reads lines from a reader, and notes whether it has come to its end."""

    def __init__(self, reader: Any) -> None:
        self.reader = reader
        self.have_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    def readline(self, most: int = -1) -> Any:
        line = self.reader.readline(most)
        self.have_ended |= not line
        return line


def _tls_of(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return _tls(ca_file, 0 if ca_file is None else os.stat(ca_file).st_mtime_ns)
    except OSError as error:
        reason = f"the certificates of {ca_file or 'the system'} can't be read: {one_line(error)}"
        raise HttpError("configuration-error", reason=reason) from None


@lru_cache(maxsize=16)
def _tls(ca_file: Path | None, _: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _addresses(place: Place, seconds: float) -> list[tuple[int, Any]]:
    """The addresses of a place to which a request may go. The system's look-up can't be stopped: it goes on for nobody
    after this time."""
    call = Call(partial(socket.getaddrinfo, place.host, place.port, type=socket.SOCK_STREAM))
    if not call.wait(seconds):
        raise HttpError(
            "DNS-timeout", reason=f"no address of {place.host} within {seconds:g} s (connect-time of http-out)"
        )
    try:
        found = call.result()
    except (OSError, UnicodeError) as error:
        raise HttpError("DNS-error", (None, None), f"no address of {place.host}: {one_line(error)}") from None
    allowed: list[tuple[int, Any]] = [
        (family, address) for family, *_, address in found if place.private or is_public(str(address[0]))
    ]
    if not allowed:
        reason = f"{place.host} has private addresses only, and its place isn't private = true"
        raise HttpError("destination-IP-prohibited", reason=reason)
    return allowed
