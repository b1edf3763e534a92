"""Work that another thread may stop: a load, for example.

The thread that works registers, step by step, a function that can stop the current step (`stopped_by`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from wasi_nn.errors import ErrorCode, NNError

LOOK_EVERY = 0.1  # seconds between two looks at whether the work was stopped


class Stoppable:
    """Work of one thread. `stop`, from any thread, ends it if its current step can be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopper: Callable[[str], None] | None = None
        self._reason: str | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._reason is not None

    def stop(self, reason: str) -> None:
        """Stop the work. No effect if it was stopped before."""
        with self._lock:
            if self.is_stopped:
                return
            self._reason = reason
            stopper = self._stopper
        if stopper is not None:
            stopper(reason)

    def interrupt(self) -> None:
        """Stop the work at its deadline."""
        self.stop("it went on past its deadline")

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Make this the work of the current thread: `stopped_by` and `turn` apply to it."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    @contextmanager
    def _stopped_by(self, stopper: Callable[[str], None]) -> Iterator[None]:
        with self._lock:
            self._stopper = stopper
        try:
            if self._reason is not None:
                stopper(self._reason)
            yield
        finally:
            with self._lock:
                self._stopper = None


_current: ContextVar[Stoppable | None] = ContextVar("the current thread's work", default=None)


@contextmanager
def stopped_by(stopper: Callable[[str], None]) -> Iterator[None]:
    """During the block, `stop` on the current thread's work calls `stopper` with the reason.

    No effect if the thread has no work that can be stopped.
    """
    work = _current.get()
    if work is None:
        yield
        return
    with work._stopped_by(stopper):
        yield


@contextmanager
def turn(lock: threading.Lock | threading.RLock) -> Iterator[None]:
    """Hold a lock that other threads may hold for long. Raises `NNError` with `timeout` if the current thread's work is
    stopped while it waits."""
    work = _current.get()
    while not lock.acquire(timeout=LOOK_EVERY):
        if work is not None and work.is_stopped:
            raise NNError(ErrorCode.TIMEOUT, "the run was stopped while it waited for another thread")
    try:
        yield
    finally:
        lock.release()
