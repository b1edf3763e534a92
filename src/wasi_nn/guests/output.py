"""A guest's standard output and error: captured, or passed on to descriptors or functions, within a limit."""

from __future__ import annotations

import atexit
import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from math import inf
from weakref import WeakSet

from wasmtime import WasmtimeError

from wasi_nn.guests.delivery import Delivery
from wasi_nn.limits.limits import Limits, how_to_raise

STDOUT, STDERR = 0, 1

_LONGEST_WAIT = 1.0  # seconds at the end of this process, such as for a guest that was abandoned
_in_engine: WeakSet[Callable[[bytes], int | None]] = WeakSet()


Target = int | Callable[[bytes], object] | None
"""Where a stream of a guest goes: to a descriptor, to a function, or (None) into the result."""


class Output:
    """A guest's output, up to `Limits.output_bytes`. Each of its two streams is captured, or passed on to a descriptor
    or a function (`streams`)."""

    def __init__(self, limits: Limits, streams: tuple[Target, Target] = (None, None)) -> None:
        self.excess = ""
        """Why the guest is stopped, once it has written more than the limit; empty before."""
        self.failure: BaseException | None = None
        """The error of a function that got the output, which ends the run."""
        self.stop: Callable[[str], None] = lambda _: None
        """Stops the guest; called with `excess`, or with a reason once there is a `failure`."""
        self.is_over: Callable[[], bool] = lambda: False
        """Whether the run was stopped or given up: then functions get no more."""
        self._limits = limits
        self._streams = streams
        self._left = _most(limits)
        self._kept = bytearray(), bytearray()
        self._lock = threading.Lock()  # text of an isolated graph arrives on another thread than the guest's output
        self._delivery = Delivery(self._fail, lambda: self.is_over())

    def write(self, stream: int, content: bytes) -> int | None:
        """Write to a stream, 0 or 1. Returns None, or a negative error number, because the engine, which calls this
        method, can't handle exceptions."""
        target = self._streams[stream]
        with self._lock:
            accepted = content if len(content) <= self._left else content[: int(self._left)]
            self._left -= len(accepted)
            if target is None:
                self._kept[stream].extend(accepted)
        if isinstance(target, int):
            try:
                write_all(target, accepted)
            except OSError as error:
                return -(error.errno or errno.EIO)
        elif target is not None and accepted and not self._delivery.put(target, accepted):
            return -errno.EIO
        if accepted is content:
            return None
        how = how_to_raise(self._limits, "output_bytes")
        self.excess = f"it wrote more than {self._limits.output_bytes} bytes of output ({how})"
        self.stop(self.excess)
        return -errno.EFBIG

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self.stop("its output can't be passed on")

    def end(self) -> None:
        """Wait until functions have got all output, and call them no more: the run is over."""
        self._delivery.end()

    def for_engine(self, stream: int) -> Callable[[bytes], int | None]:
        """A function with which the engine writes to a stream. This process doesn't end before the engine has dropped
        the function, or has had a second to do so."""
        function = partial(self.write, stream)
        _in_engine.add(function)
        return function

    @property
    def is_passed_on(self) -> bool:
        """Whether output goes to descriptors."""
        return any(isinstance(target, int) for target in self._streams)

    @property
    def terminals(self) -> frozenset[int]:
        """The guest's descriptors, of 1 and 2, whose output goes to a terminal."""
        targets = enumerate(self._streams, 1)
        return frozenset(number for number, target in targets if isinstance(target, int) and os.isatty(target))

    def open_in_engine(self, stream: int, open_path: Callable[[str], None]) -> bool:
        """Let the engine open the descriptor of a stream and write to it directly, twenty times as fast as `write`.

        `open_path` opens a path in the engine. Returns False if the engine can't: it would write to a file from the
        start, not at the descriptor's position, and it doesn't count output against the limit.
        """
        target = self._streams[stream]
        if not isinstance(target, int) or self._left < inf:
            return False
        path = f"/proc/self/fd/{target}"
        kind = os.fstat(target).st_mode
        reader = None
        try:
            if stat.S_ISFIFO(kind):  # without a reader, opening it would wait for one
                reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            elif not stat.S_ISCHR(kind):
                return False
            open_path(path)
        except (OSError, WasmtimeError):
            return False
        finally:
            if reader is not None:
                os.close(reader)
        return True

    def kept(self) -> tuple[bytes, bytes]:
        """The captured standard output and error."""
        return bytes(self._kept[STDOUT]), bytes(self._kept[STDERR])

    def taken(self) -> tuple[bytes, bytes]:
        """The captured standard output and error, which are captured no more: the limit counts from here on."""
        with self._lock:
            kept = self.kept()
            for stream in self._kept:
                stream.clear()
            self._left = _most(self._limits)
        return kept


def _most(limits: Limits) -> float:
    return inf if limits.output_bytes is None else limits.output_bytes


def write_all(descriptor: int, content: bytes) -> None:
    """Write all bytes to a descriptor, however long that takes."""
    while content:
        content = content[os.write(descriptor, content) :]


def _wait_for_engine() -> None:
    """Wait until the engine has dropped the outputs of guests that have ended.

    It does so on its own threads, soon after the guest's end, and calls Python for that. Python ends a thread that
    calls it during its shutdown, and the engine then aborts the process.
    """
    end = time.monotonic() + _LONGEST_WAIT
    waited = False
    while _in_engine and time.monotonic() < end:
        waited = True
        time.sleep(0.001)
    if waited:
        time.sleep(0.001)  # for the thread to return from Python


atexit.register(_wait_for_engine)
os.register_at_fork(after_in_child=_in_engine.clear)  # the engine's threads aren't in the child
