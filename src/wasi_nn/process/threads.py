"""A pool of threads for calls that may have to be abandoned: each call has a thread to itself, which then takes others.

An idle thread takes a call a few times faster than a new one. All these threads have stacks of one known size, whatever
size the process has set: a guest with endless recursion must trap before its thread's stack ends.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from wasi_nn.errors import GuestError, one_line
from wasi_nn.process import forks
from wasi_nn.process.watchdog import LONGEST_WAIT

Result = TypeVar("Result")

_IDLE_SECONDS = 10.0  # until an idle thread ends
MOST_IDLE = 16  # idle threads that are kept
_STACK = 8 * 2**20  # bytes: half a MiB for the guest's own code, the rest for the host functions that it calls
_numbers = itertools.count(1)


class Call(Generic[Result]):
    """A call on another thread, with the context variables of this one; or at once on this thread, if it is `here`.
    Raises `RuntimeError` if no thread can be started."""

    def __init__(self, function: Callable[[], Result], *, here: bool = False) -> None:
        self._function: Callable[[], Result] | None = function
        self._context = contextvars.copy_context()
        self._outcome: list[Result] = []
        self._failure: BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()
        if here:
            self.do()
            self.end()
        else:
            pool.give(self)

    def do(self) -> None:
        """Make the call. Called on the call's thread."""
        function, self._function = self._function, None
        assert function is not None  # it is called once
        try:
            self._outcome.append(self._context.run(function))
        except BaseException as error:
            self._failure = error

    def end(self) -> None:
        """Wake the waiting threads. Called on the call's thread."""
        self._ended.release()

    @property
    def has_ended(self) -> bool:
        """Whether the call is over."""
        return not self._ended.locked()

    def wait(self, seconds: float) -> bool:
        """Wait for the call's end. Returns whether it has ended."""
        if self._ended.acquire(timeout=seconds):
            self._ended.release()
            return True
        return False

    def wait_for_end(self) -> None:
        """Wait for the call's end without a timeout."""
        while not self.wait(LONGEST_WAIT):
            pass

    def result(self) -> Result:
        """The result of a call that has ended; raises its error. May be called once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
        return self._outcome.pop()


class PoolThread(threading.Thread):
    """A thread of a pool."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(name=f"wasi-nn guest {next(_numbers)}", daemon=True)
        self._pool = pool
        self.calls: SimpleQueue[Call[object]] = SimpleQueue()

    def run(self) -> None:
        while True:
            try:
                call = self.calls.get(timeout=_IDLE_SECONDS)
            except Empty:
                if self._pool.leave(self):
                    return
                continue
            call.do()
            is_kept = self._pool.rest(self)  # before the caller wakes, so that this thread can take its next call
            call.end()
            del call  # or the thread would keep its function and result while idle
            if not is_kept:
                return


class Pool:
    """Threads that wait for calls."""

    def __init__(self) -> None:
        self.reset_in_child()

    def reset_in_child(self) -> None:
        """Start without threads, as in a fork."""
        self._lock = threading.Lock()
        self._starting = threading.Lock()  # held while the process's stack size for new threads is changed
        self._idle: list[PoolThread] = []

    @property
    def idle(self) -> list[PoolThread]:
        """The threads that wait for a call; the one that became idle last is the last."""
        return list(self._idle)

    def give(self, call: Call[Result]) -> None:
        """Pass a call to the thread that became idle last, or to a new thread."""
        with self._lock:
            thread = self._idle.pop() if self._idle else None
        if thread is None:
            thread = PoolThread(self)
            with self._starting:
                before = threading.stack_size(_STACK)
                try:
                    thread.start()
                finally:
                    threading.stack_size(before)
        thread.calls.put(call)  # type: ignore[arg-type]  # the result may have any type

    def rest(self, thread: PoolThread) -> bool:
        """Take back a thread without a call. Returns whether it should wait for the next call."""
        with self._lock:
            if len(self._idle) >= MOST_IDLE:
                return False
            self._idle.append(thread)
            return True

    def leave(self, thread: PoolThread) -> bool:
        """Let an idle thread end. Returns False if it has been given a call meanwhile."""
        with self._lock:
            if thread not in self._idle:
                return False
            self._idle.remove(thread)
            return True


def require_threads(count: int) -> None:
    """Raise `GuestError` unless this process may start `count` more threads."""
    may_end = threading.Event()
    threads = [threading.Thread(target=may_end.wait, daemon=True) for _ in range(count)]
    started = 0
    try:
        for thread in threads:
            thread.start()
            started += 1
    except RuntimeError as error:
        noun = "thread" if count == 1 else "threads"
        message = f"this process can't start {count} more {noun} ({one_line(error)}): see ulimit -u, and pids.max"
        raise GuestError(message) from error
    finally:
        may_end.set()
        for thread in threads[:started]:
            thread.join()


pool = Pool()
forks.reset_in_child(pool)
