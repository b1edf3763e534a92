"""Work that another thread may stop: a load or a compute, by whatever it is at when it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from wasi_nn.errors import ErrorCode, NNError

LOOK_EVERY = 0.1  # seconds: whether work is to be stopped


class Stoppable:
    """Some work of one thread. `stop` ends it, from any thread, as far as what it is at can be ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stopper: Callable[[str], None] | None = None
        self._reason: str | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether it was stopped."""
        return self._reason is not None

    def stop(self, reason: str) -> None:
        """Stop it. Of no effect if it was stopped before."""
        with self._lock:
            if self.is_stopped:
                return
            self._reason = reason
            stopper = self._stopper
        if stopper is not None:
            stopper(reason)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """This thread does the work: `stopped_by` and `turn` are about it."""
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


_current: ContextVar[Stoppable | None] = ContextVar("the work that a thread does", default=None)


@contextmanager
def stopped_by(stopper: Callable[[str], None]) -> Iterator[None]:
    """Have the work that this thread does be stopped by a function, which gets the reason. Of no effect where it can't
    be stopped."""
    work = _current.get()
    if work is None:
        yield
        return
    with work._stopped_by(stopper):
        yield


@contextmanager
def turn(lock: threading.Lock | threading.RLock) -> Iterator[None]:
    """Hold a lock that others hold for long. Raises `NNError` with `timeout` if the work is stopped meanwhile."""
    work = _current.get()
    while not lock.acquire(timeout=LOOK_EVERY):
        if work is not None and work.is_stopped:
            raise NNError(ErrorCode.TIMEOUT, "it was stopped while it waited for its turn")
    try:
        yield
    finally:
        lock.release()
