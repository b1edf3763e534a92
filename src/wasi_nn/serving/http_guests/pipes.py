"""The server's ends of the pipes to a guest. They never block the event loop."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
import threading

_MOST_AT_ONCE = 64 * 2**10  # bytes, as many as a pipe holds


class PipeEnd:
    """One end of a pipe, which belongs to the event loop. `other` is the other end, for the guest."""

    def __init__(self, *, is_for_reading: bool) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._descriptor, self.other = (reading, writing) if is_for_reading else (writing, reading)
        os.set_blocking(self._descriptor, False)
        self._loop = asyncio.get_running_loop()
        self._is_closed = False
        self._change: asyncio.Future[None] | None = None

    async def _wait(self, watch: str) -> None:
        """Wait until the pipe can be read or written (`watch`), or is closed here."""
        self._change = change = self._loop.create_future()
        getattr(self._loop, f"add_{watch}")(self._descriptor, self._changed)
        try:
            await change
        finally:
            if not self._is_closed:
                getattr(self._loop, f"remove_{watch}")(self._descriptor)

    def _changed(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    def close(self) -> None:
        """Close this end: the guest reads the end of its stream, or can't write any more."""
        if not self._is_closed:
            self._is_closed = True
            self._loop.remove_reader(self._descriptor)
            self._loop.remove_writer(self._descriptor)
            os.close(self._descriptor)
            self._changed()

    def close_both(self) -> None:
        """Close both ends, where no guest has the other one."""
        os.close(self.other)
        self.close()


class WritingEnd(PipeEnd):
    """Writes to a guest."""

    def __init__(self) -> None:
        super().__init__(is_for_reading=False)

    async def write(self, content: bytes) -> bool:
        """Write all bytes, as the guest takes them. Returns False if it takes no more."""
        rest = memoryview(content)
        while rest and not self._is_closed:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                await self._wait("writer")
            except BrokenPipeError:
                return False
        return not self._is_closed


class ReadingEnd(PipeEnd):
    """Reads what a guest writes."""

    def __init__(self) -> None:
        super().__init__(is_for_reading=True)
        self._lock = threading.Lock()
        self._read = 0

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

    async def wait(self) -> None:
        """Wait until there are bytes, or the end."""
        await self._wait("reader")

    def written(self) -> int:
        """All bytes that the guest has written so far. May be called from any thread."""
        with self._lock:
            waiting = bytearray(4)
            if not self._is_closed:
                fcntl.ioctl(self._descriptor, termios.FIONREAD, waiting)
            return self._read + int(struct.unpack("i", waiting)[0])

    def close(self) -> None:
        with self._lock:
            super().close()
