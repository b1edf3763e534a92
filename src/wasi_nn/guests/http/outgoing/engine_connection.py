"""The connection on which the engine sends the body of a guest's request to this process, and gets the answer's."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

from wasi_nn.guests.http.outgoing.engine_port import EnginePort

_PART = 65536
_ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"


class Broken(Exception):
    """The engine has closed the connection, as it does for a body that the guest leaves incomplete."""


class EngineConnection:
    """Listens for the engine at `authority`, and is then the connection with it. The engine asks for `path`."""

    def __init__(self) -> None:
        self._port = EnginePort()
        self._socket: socket.socket | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        """Held where a socket is shut down or closed: a descriptor may be another one's as soon as it is closed."""
        self._buffer = b""
        self.authority, self.path = self._port.authority, self._port.path

    def accept(self) -> None:
        """Wait for the engine. Raises `OSError`."""
        opened, self._buffer = self._port.accept()
        opened.setblocking(True)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # parts go out as they come
        with self._lock:
            self._socket = opened
            self._port.release()
            if self._is_closed:  # in the moment before
                _shut(opened)

    def parts(self) -> Iterator[bytes]:
        """The parts of the request's body, as they come, and its end. Raises `Broken` if the body stays incomplete."""
        while size := int(self._line(), 16):
            while size:
                part = self._some(size)
                size -= len(part)
                yield part
            self._line()
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
        """End the answer's body. The engine may not have all of it yet: `wait_until_taken` is needed before
        `release`."""
        self._send(b"0\r\n\r\n")

    def _send(self, content: bytes) -> None:
        try:
            if self._socket is None:
                raise Broken
            self._socket.sendall(content)
        except OSError:
            raise Broken from None

    def wait_until_taken(self, most: int = 0) -> None:
        """Wait, after the end of the answer, until the engine has closed the connection: when the guest has read that
        end, or wants nothing more. What the engine still sends is dropped, `most` bytes at most.

        The system throws away what the engine hasn't got of an answer if a socket is closed, or shut down for reading,
        with bytes of the engine that nobody has read; and after minutes if it is closed without any.
        """
        with suppress(OSError):
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_WR)
                while most >= 0 and (dropped := self._socket.recv(_PART)):
                    most -= len(dropped)

    def close(self) -> None:
        """End the connection, also while another thread waits for it."""
        self._is_closed = True
        with self._lock:
            self._port.close()
            if self._socket is not None:
                _shut(self._socket)

    def release(self) -> None:
        """Close the sockets, once no thread uses the connection."""
        self.close()
        with self._lock:
            self._port.release()
            if self._socket is not None:
                self._socket.close()


def _shut(opened: socket.socket) -> None:
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
