"""Calls to other servers: each has a time by which it must end, and can be ended from another thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.runner import Runner


class Call:
    """A call that is under way. `deadline` gives the time of `time.monotonic` by which the present piece of work must
    end, and `seconds` are all that the call may take."""

    def __init__(self, seconds: float, deadline: Callable[[], float] = lambda: inf) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._deadline = deadline
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._end: Callable[[], object] | None = None

    def seconds_left(self) -> float:
        """The seconds that are left. Raises `NNError` with `timeout` if there are none, or the call was stopped."""
        if self._stopped.is_set():
            raise NNError(ErrorCode.TIMEOUT, "the compute was interrupted")
        left = min(self._until, self._deadline()) - time.monotonic()
        if left <= 0:
            raise self.late()
        return left

    @property
    def until(self) -> float:
        """The time of `time.monotonic` by which the whole call must end."""
        return self._until

    def late(self) -> NNError:
        """The error for a call whose time is over."""
        if self._deadline() < self._until:
            return NNError(ErrorCode.TIMEOUT, "the server didn't answer within the compute's time")
        return NNError(ErrorCode.TIMEOUT, f"the server didn't answer within {self._seconds:g} s (option timeout)")

    @contextmanager
    def ended_by(self, end: Callable[[], object]) -> Iterator[None]:
        """During the block, `stop` calls this function, which must be quick."""
        with self._lock:
            self._end = end
            if self._stopped.is_set():
                end()
        try:
            yield
        finally:
            with self._lock:
                self._end = None

    def stop(self) -> None:
        """End the call. Any thread may call this."""
        with self._lock:
            self._stopped.set()
            if self._end is not None:
                self._end()

    def pause(self, seconds: float) -> None:
        """Wait, unless the call is stopped."""
        self._stopped.wait(min(seconds, self.seconds_left()))


class CallingRunner(Runner):
    """A runner whose computes are calls to a server, each of `timeout` seconds at most."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._deadline: Callable[[], float] = lambda: inf
        self._call: Call | None = None

    def know_deadline(self, deadline: Callable[[], float]) -> None:
        self._deadline = deadline

    def interrupt(self) -> None:
        call = self._call
        if call is not None:
            call.stop()

    def new_call(self) -> Call:
        """The call that begins now, which `interrupt` stops until the next one begins."""
        call = self._call = Call(self._timeout, self._deadline)
        return call
