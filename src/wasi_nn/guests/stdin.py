"""A guest's standard input from a binary file of Python, such as a socket's or one of the caller's own making.

The engine reads descriptors only. So a thread reads the file, and writes what it gets into a pipe.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Protocol

from wasi_nn.errors import GuestError, one_line

_STEP = 64 * 2**10


class BinaryReader(Protocol):
    """A file that is open for reading bytes."""

    def read(self, size: int, /) -> bytes | None:
        """At most so many bytes; none at the end."""


class StdinFeed:
    """Feeds a guest's standard input from a file, from `start` until the file or the guest ends.

    The file is read on a thread of its own, as the guest takes its content: at most a pipe's content ahead, 64 KiB.
    Where the file has `read1`, that is called, so that what is there reaches the guest without waiting for more.
    """

    def __init__(self, file: BinaryReader) -> None:
        self.failure: BaseException | None = None
        """The error that the file raised, which ends the run."""
        self.stop: Callable[[str], None] = lambda _: None
        """Stops the guest; called with a reason once there is a `failure`."""
        self._read_end = self._write_end = -1
        self._read = getattr(file, "read1", file.read)
        self._lock = threading.Lock()  # held while the thread writes, so that nobody closes the pipe meanwhile
        self._has_ended = False
        try:
            self._read_end, self._write_end = os.pipe()
        except OSError as error:
            raise GuestError(f"no pipe can be made for the guest's standard input: {one_line(error)}") from error

    @property
    def path(self) -> str:
        """The path by which the engine opens its end of the pipe, before `start`."""
        return f"/proc/self/fd/{self._read_end}"

    def start(self) -> None:
        """Begin to read the file. Raises `GuestError` if the process can have no more threads."""
        try:
            threading.Thread(target=self._feed, name="wasi-nn stdin", daemon=True).start()
        except RuntimeError as error:
            raise GuestError(f"no thread can be started for the guest's input: {one_line(error)}") from error

    def end(self) -> None:
        """Let the guest see the end of its input, also if the file has none yet. Returns at once; the thread ends with
        its next read of the file. May be called from any thread."""
        self._has_ended = True
        if self._lock.acquire(blocking=False):  # else the thread is writing, and ends by itself
            try:
                self._close_write_end()
            finally:
                self._lock.release()

    def close_read_end(self) -> None:
        """Close this process's copy of the guest's end, once the engine has opened its own."""
        if self._read_end >= 0:
            os.close(self._read_end)
            self._read_end = -1

    def __del__(self) -> None:  # of a run that failed before its start, or whose file has ended
        self.close_read_end()
        self.end()

    def _close_write_end(self) -> None:
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1

    def _feed(self) -> None:
        try:
            while not self._has_ended:
                content = self._read(_STEP)
                if not content:
                    break
                if not self._write(memoryview(content).cast("B")):
                    break
        except BaseException as error:
            self.failure = error
            self.stop("its standard input can't be read")
        finally:
            with self._lock:
                self._close_write_end()

    def _write(self, content: memoryview) -> bool:
        """Write all of the content; returns False if nobody reads it any more."""
        while content:
            with self._lock:
                if self._write_end < 0:
                    return False
                try:
                    content = content[os.write(self._write_end, content) :]
                except BrokenPipeError:
                    return False
        return True
