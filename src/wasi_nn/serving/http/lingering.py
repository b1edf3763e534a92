"""`LingeringTransport`: the end of a connection whose client may still be sending its request.

A system that closes a connection with bytes that nobody has read resets it, and throws away what the client hasn't got
of the answer. So what the client still sends is read, and dropped, until the client closes the connection.
"""

from __future__ import annotations

import asyncio
from typing import Any

_IDLE = 5.0  # seconds for which the client sends nothing
_LONGEST = 30.0  # seconds in which it doesn't come to an end
_MOST = 32 * 2**20  # bytes that are dropped


class LingeringTransport:
    """A connection's transport, with `linger` beside `close`. The protocol calls `received` with each part that it gets
    once the transport is closing, and `lost` at the end."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.write = transport.write
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._until = self._last = 0.0
        self._left = _MOST

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def lingers(self) -> bool:
        """Whether the connection waits for its client's end."""
        return self._alarm is not None

    def is_closing(self) -> bool:
        """Whether nothing more is written, and what comes is dropped."""
        return self.lingers or self._transport.is_closing()

    def linger(self) -> None:
        """Close the connection once the client has done so, or sends no more; at once where TLS has no such end."""
        if self.is_closing():
            return
        if not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._transport.resume_reading()
        self._last = self._loop.time()
        self._until = self._last + _LONGEST
        self._alarm = self._loop.call_at(self._due, self._look)

    @property
    def _due(self) -> float:
        return min(self._last + _IDLE, self._until)

    def received(self, size: int) -> None:
        """Note that the client has sent something, of this many bytes."""
        self._last = self._loop.time()
        self._left -= size
        if self._left < 0:
            self._transport.close()

    def end(self) -> None:
        """Close the connection now, once the client has all of the answer."""
        self._transport.close()

    def lost(self) -> None:
        """Note that the connection is closed."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _look(self) -> None:
        due = self._due
        if self._transport.get_write_buffer_size():  # the client still takes the answer
            due = max(due, self._loop.time() + _IDLE)
        if due > self._loop.time():
            self._alarm = self._loop.call_at(due, self._look)
        else:
            self._transport.close()
