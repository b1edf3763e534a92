"""The server's ends of the pipes to a guest. They never block the event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
import threading
from collections.abc import Callable

_MOST_AT_ONCE = 64 * 2**10  # bytes, as many as a pipe holds


class PipeEnd:
    """One end of a pipe, which belongs to the event loop. `other` is the other end, for the guest."""

    def __init__(self, *, is_for_reading: bool) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._descriptor, self.other = (reading, writing) if is_for_reading else (writing, reading)
        os.set_blocking(self._descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    def close(self) -> None:
        """Close this end: the guest reads the end of its stream, or can't write any more."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)

    def close_both(self) -> None:
        """Close both ends, where no guest has the other one."""
        os.close(self.other)
        self.close()


class WritingEnd(PipeEnd):
    """Writes to a guest."""

    def __init__(self) -> None:
        super().__init__(is_for_reading=False)
        self._changed = asyncio.Event()

    def write_some(self, content: memoryview) -> memoryview:
        """Write as much as the guest takes now; gives the rest, which is empty for a guest that takes no more."""
        if self._is_closed:
            return content[:0]
        try:
            return content[os.write(self._descriptor, content) :]
        except BlockingIOError:
            return content
        except BrokenPipeError:
            return content[:0]

    async def write(self, content: memoryview) -> None:
        """Write all bytes, as the guest takes them."""
        while content := self.write_some(content):
            self._changed.clear()
            self._loop.add_writer(self._descriptor, self._changed.set)
            try:
                await self._changed.wait()
            finally:
                if not self._is_closed:
                    self._loop.remove_writer(self._descriptor)

    def close(self) -> None:
        super().close()
        self._changed.set()


class ReadingEnd(PipeEnd):
    """Reads what a guest writes."""

    def __init__(self) -> None:
        super().__init__(is_for_reading=True)
        self._lock = threading.Lock()
        self._read = 0
        self.has_lost_bytes = False
        """Whether it was closed before all that the guest had written was read."""

    def read(self) -> bytes | None:
        """The bytes that are there, at most 64 KiB; empty at the end, and None if there are none yet."""
        if self._is_closed:
            return b""
        with self._lock:
            try:
                content = os.read(self._descriptor, _MOST_AT_ONCE)
            except BlockingIOError:
                return None
            self._read += len(content)
        return content

    def watch(self, readable: Callable[[], object] | None) -> None:
        """Have a function called while there are bytes, or the end, to be read; None: no more."""
        if self._is_closed:
            return
        if readable is None:
            self._loop.remove_reader(self._descriptor)
        else:
            self._loop.add_reader(self._descriptor, readable)

    def written(self) -> int:
        """All bytes that the guest has written so far. May be called from any thread."""
        with self._lock:
            return self._read + self._waiting()

    def is_empty(self) -> bool:
        """Whether all that the guest has written so far has been read."""
        return not self._waiting()

    def _waiting(self) -> int:
        count = bytearray(4)
        if not self._is_closed:
            fcntl.ioctl(self._descriptor, termios.FIONREAD, count)
        return int(struct.unpack("i", count)[0])

    def close(self) -> None:
        with self._lock:
            self.has_lost_bytes |= self._waiting() > 0
            super().close()
