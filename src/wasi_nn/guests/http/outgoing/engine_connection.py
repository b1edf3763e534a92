"""The connection on which the engine sends the body of a guest's request to this process, and gets the answer's.

A port of this machine is open until the engine has connected. Only the engine knows the secret path of its request.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

_CONNECT_TIME = 10.0  # seconds for the engine, whoever else connects
_HEAD = 8192  # bytes of the engine's head, at most
_PART = 65536
_STRANGERS = 64  # connections of others that are closed
_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


class Broken(Exception):
    """The engine has closed the connection, as it does for a body that the guest leaves incomplete."""


class EngineConnection:
    """Listens for the engine at `authority`, and is then the connection with it. The engine asks for `path`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=8)
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        """Held where a socket is shut down or closed: a descriptor may be another one's as soon as it is closed."""
        self._buffer = b""
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.path = f"/{secrets.token_hex(16)}"

    def accept(self) -> None:
        """Wait for the engine. Raises `OSError`."""
        until = time.monotonic() + _CONNECT_TIME
        for _ in range(_STRANGERS):
            self._listener.settimeout(_left(until))
            opened, _ = self._listener.accept()
            self._socket = opened
            if self._is_closed:  # in the moment before
                self.close()
            if self._is_engine(opened, until):
                opened.settimeout(None)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # parts go out as they come
                with self._lock:
                    self._listener.close()
                return
            with self._lock:
                self._socket = None
                opened.close()
        raise ConnectionError(f"the engine didn't connect, and {_STRANGERS} others did")

    def _is_engine(self, opened: socket.socket, until: float) -> bool:
        received = b""
        with suppress(OSError):
            while b"\r\n\r\n" not in received and len(received) < _HEAD:
                opened.settimeout(_left(until))
                part = opened.recv(_HEAD)
                if not part:
                    return False
                received += part
        head, end, self._buffer = received.partition(b"\r\n\r\n")
        target = b"".join(head.split(b" ")[1:2])
        return bool(end) and hmac.compare_digest(target, self.path.encode())

    def parts(self) -> Iterator[bytes]:
        """The parts of the request's body, as they come. Raises `Broken` if the body stays incomplete."""
        while size := int(self._line() or b"0", 16):
            while size:
                part = self._some(size)
                size -= len(part)
                yield part
            self._line()

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._buffer += self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.partition(b";")[0]

    def _some(self, most: int) -> bytes:
        if not self._buffer:
            self._buffer = self._receive()
        part, self._buffer = self._buffer[:most], self._buffer[most:]
        return part

    def _receive(self) -> bytes:
        content = b""
        if self._socket is not None:
            with suppress(OSError):
                content = self._socket.recv(_PART)
        if not content:
            raise Broken
        return content

    def answer(self) -> None:
        """Begin the answer. Raises `Broken` if the engine has closed the connection, as `write` and `end` do."""
        self._send(_ANSWER)

    def write(self, part: bytes) -> None:
        """Send a part of the answer's body, as the guest takes it."""
        self._send(b"%x\r\n%b\r\n" % (len(part), part))

    def end(self) -> None:
        """End the answer's body."""
        self._send(b"0\r\n\r\n")

    def _send(self, content: bytes) -> None:
        try:
            if self._socket is None:
                raise Broken
            self._socket.sendall(content)
        except OSError:
            raise Broken from None

    def close(self) -> None:
        """End the connection, also while another thread waits for it."""
        self._is_closed = True
        with self._lock:
            for opened in (self._listener, self._socket):
                if opened is not None:
                    with suppress(OSError):
                        opened.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the sockets, once no thread uses the connection."""
        self.close()
        with self._lock:
            self._listener.close()
            if self._socket is not None:
                self._socket.close()


def _left(until: float) -> float:
    """Seconds until a time. Raises `TimeoutError` if it is over."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the engine didn't connect in time")
    return left
