"""The port on which the engine connects to this process. It is open until the engine has done so.

Any program of this machine may connect to it. Only the engine knows the secret path of its request.
"""

from __future__ import annotations

import hmac
import secrets
import selectors
import socket
import time
from contextlib import suppress

_CONNECT_TIME = 10.0  # seconds for the engine
_HEAD = 8192  # bytes of the engine's head, at most
_BUFFER = 64 * 2**10  # bytes that wait in each direction, of which the system may make twice as many
_SEGMENT = 4096  # bytes: the engine's own buffer grows with it, to 4 MB for the segments that are usual here
_MOST_CALLERS = 64  # connections whose heads haven't come: a further one takes the place of the oldest


class EnginePort:
    """Listens for the engine at `authority`. The engine asks for `path`."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        try:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # connections have these of their listener
                self._listener.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
            self._listener.bind(("127.0.0.1", 0))
            self._listener.listen(_MOST_CALLERS)
            self._listener.setblocking(False)
        except OSError:
            self._listener.close()
            raise
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.path = f"/{secrets.token_hex(16)}"

    def accept(self) -> tuple[socket.socket, bytes]:
        """Wait for the engine; gives its connection, and what it has sent after the head. The heads of all connections
        are awaited at the same time, so that a stranger who says nothing takes no time from the engine. Raises
        `OSError`."""
        until = time.monotonic() + _CONNECT_TIME
        callers: dict[_Caller, None] = {}  # the oldest first
        with selectors.PollSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            try:
                while True:
                    for key, _ in selector.select(_left(until)):
                        caller: _Caller | None = key.data
                        if caller is None:
                            self._admit(selector, callers)
                        elif caller in callers and caller.has_head():
                            _dismiss(selector, callers, caller)
                            if caller.asks_for(self.path):
                                return caller.socket, caller.rest
                            caller.socket.close()
            finally:
                for caller in callers:
                    caller.socket.close()

    def _admit(self, selector: selectors.BaseSelector, callers: dict[_Caller, None]) -> None:
        """Take a connection. Raises `OSError` if the port is closed."""
        try:
            opened, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has gone again
        if len(callers) == _MOST_CALLERS:
            oldest = next(iter(callers))
            _dismiss(selector, callers, oldest)
            oldest.socket.close()
        caller = _Caller(opened)
        callers[caller] = None
        selector.register(opened, selectors.EVENT_READ, caller)

    def close(self) -> None:
        """Let no more connections in, which also ends `accept` on another thread."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close the socket, once no thread uses the port."""
        self._listener.close()


class _Caller:
    """A connection whose head hasn't come yet."""

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.rest = b""
        """What has come after the head."""
        self._received = b""
        opened.setblocking(False)

    def has_head(self) -> bool:
        """Read what there is; gives whether the head is there, or no head can come any more."""
        part = b""
        try:
            part = self.socket.recv(_HEAD)
        except BlockingIOError:
            return False
        except OSError:
            pass
        self._received += part
        return not part or b"\r\n\r\n" in self._received or len(self._received) >= _HEAD

    def asks_for(self, path: str) -> bool:
        """Whether this is the head of a request for a path."""
        head, end, self.rest = self._received.partition(b"\r\n\r\n")
        target = b"".join(head.split(b" ")[1:2])
        return bool(end) and hmac.compare_digest(target, path.encode())


def _dismiss(selector: selectors.BaseSelector, callers: dict[_Caller, None], caller: _Caller) -> None:
    selector.unregister(caller.socket)
    del callers[caller]


def _left(until: float) -> float:
    """Seconds until a time. Raises `TimeoutError` if it is over."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the engine didn't connect in time")
    return left
