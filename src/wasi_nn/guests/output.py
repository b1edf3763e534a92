"""What a guest writes to its standard output and error, where it passes through us: kept, or passed on."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from math import inf

from wasmtime import WasmtimeError

from wasi_nn.limits.limits import Limits, how_to_raise

STDOUT, STDERR = 0, 1


class Output:
    """A guest's output, no more of it than its limit. It is kept, unless there are descriptors to pass it on `to`.

    A guest that writes more is ended: `excess` says why, once it is so, and `stop` is called with that.
    """

    def __init__(self, limits: Limits, to: tuple[int, int] | None = None) -> None:
        self.excess = ""
        self.stop: Callable[[str], None] = lambda _: None
        self._limits = limits
        self._to = to
        self._left = inf if limits.output_bytes is None else limits.output_bytes
        self._kept = bytearray(), bytearray()
        self._lock = threading.Lock()  # a worker's text comes on a thread of its own

    def write(self, stream: int, content: bytes) -> int | None:
        """Take what is written to a stream. Gives None, or an error number below zero. Called by the engine, which can
        make nothing of exceptions."""
        with self._lock:
            taken = content if len(content) <= self._left else content[: int(self._left)]
            self._left -= len(taken)
            if self._to is None:
                self._kept[stream].extend(taken)
        if self._to is not None:
            try:
                write_all(self._to[stream], taken)
            except OSError as error:
                return -(error.errno or errno.EIO)
        if taken is content:
            return None
        how = how_to_raise(self._limits, "output_bytes")
        self.excess = f"it wrote more than {self._limits.output_bytes} bytes of output ({how})"
        self.stop(self.excess)
        return -errno.EFBIG

    @property
    def terminals(self) -> frozenset[int]:
        """Which of the guest's descriptors, 1 and 2, are passed on to a terminal."""
        passed_on = zip((1, 2), self._to or (), strict=False)
        return frozenset(descriptor for descriptor, to in passed_on if os.isatty(to))

    def opened(self, stream: int, by: Callable[[str], None]) -> bool:
        """Have the engine open by itself what a stream is passed on to, which is twenty times as fast as passing it on
        here. Gives whether it could: a file has a place where it is written, and what is counted has to come here."""
        if self._to is None or self._left < inf:
            return False
        path = f"/proc/self/fd/{self._to[stream]}"
        kind = os.fstat(self._to[stream]).st_mode
        reader = None
        try:
            if stat.S_ISFIFO(kind):  # opening it would wait for a reader, if the last one has gone
                reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            elif not stat.S_ISCHR(kind):
                return False
            by(path)
        except (OSError, WasmtimeError):
            return False
        finally:
            if reader is not None:
                os.close(reader)
        return True

    def kept(self) -> tuple[bytes, bytes]:
        """What is kept of its standard output and error."""
        return bytes(self._kept[STDOUT]), bytes(self._kept[STDERR])


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it to a descriptor, however long that takes."""
    while content:
        content = content[os.write(descriptor, content) :]
