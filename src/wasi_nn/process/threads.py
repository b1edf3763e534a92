"""Threads for calls that may have to be given up: one for each, which is used again when the call has ended.

A thread that waits for its next call is a few times faster than a new one. The stacks of these threads are of one known
size, whatever the process is set to: a guest that calls itself without end must trap before its thread's stack ends.
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

_IDLE = 10.0  # seconds until a thread that has nothing to do ends
_MOST_IDLE = 16
_STACK = 8 * 2**20  # bytes: half a MiB for the guest's own code, the rest for what it calls
_numbers = itertools.count(1)


class Call(Generic[Result]):
    """A call on another thread, in this one's context. Raises `RuntimeError` if there can be no thread."""

    def __init__(self, function: Callable[[], Result]) -> None:
        self._function: Callable[[], Result] | None = function
        self._context = contextvars.copy_context()
        self._outcome: list[Result] = []
        self._failure: BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()
        _pool.give(self)

    def do(self) -> None:
        """Make the call. For the thread."""
        function, self._function = self._function, None
        assert function is not None  # it is called once
        try:
            self._outcome.append(self._context.run(function))
        except BaseException as error:
            self._failure = error

    def end(self) -> None:
        """Let those who wait go on. For the thread."""
        self._ended.release()

    @property
    def has_ended(self) -> bool:
        """Whether the call is over."""
        return not self._ended.locked()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; whether it has ended."""
        if self._ended.acquire(timeout=seconds):
            self._ended.release()
            return True
        return False

    def wait_for_end(self) -> None:
        """Wait for its end, however long that takes."""
        while not self.wait(LONGEST_WAIT):
            pass

    def result(self) -> Result:
        """What it gave, when it has ended; raises what it raised. Once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure
        return self._outcome.pop()


class _Thread(threading.Thread):
    def __init__(self, pool: _Pool) -> None:
        super().__init__(name=f"wasi-nn guest {next(_numbers)}", daemon=True)
        self._pool = pool
        self.calls: SimpleQueue[Call[object]] = SimpleQueue()

    def run(self) -> None:
        while True:
            try:
                call = self.calls.get(timeout=_IDLE)
            except Empty:
                if self._pool.leave(self):
                    return
                continue
            call.do()
            stays = self._pool.rest(self)
            call.end()
            del call
            if not stays:
                return


class _Pool:
    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, as in a fork, where there are no threads."""
        self._lock = threading.Lock()
        self._starting = threading.Lock()  # while the size of new threads' stacks is ours
        self._idle: list[_Thread] = []

    def give(self, call: Call[Result]) -> None:
        """Have a thread make a call: the one that was idle last, or a new one."""
        with self._lock:
            thread = self._idle.pop() if self._idle else None
        if thread is None:
            thread = _Thread(self)
            with self._starting:
                before = threading.stack_size(_STACK)
                try:
                    thread.start()
                finally:
                    threading.stack_size(before)
        thread.calls.put(call)  # type: ignore[arg-type]  # of any result

    def rest(self, thread: _Thread) -> bool:
        """A thread has nothing to do; whether it is to wait for more."""
        with self._lock:
            if len(self._idle) >= _MOST_IDLE:
                return False
            self._idle.append(thread)
            return True

    def leave(self, thread: _Thread) -> bool:
        """A thread would end; whether it may, since it hasn't been given anything meanwhile."""
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
        message = f"this process can't have {count} more threads ({one_line(error)}): see ulimit -u, and pids.max"
        raise GuestError(message) from error
    finally:
        may_end.set()
        for thread in threads[:started]:
            thread.join()


_pool = _Pool()
forks.renew(_pool)
