"""Runs of guests, each on a thread of its own. Any thread may wait for a run, and may stop it.

A stopped guest traps in its own code; in a compute, it ends as soon as the runtime can be stopped. A guest that sleeps
in the operating system, or in a runtime that can't be stopped, is abandoned: its thread goes on until it wakes, and no
thread waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, Generic, TypeVar

from wasi_nn.arguments import as_number, require_kind
from wasi_nn.errors import GuestError, GuestStopped, GuestTrap, one_line
from wasi_nn.guests.run_stats import RunStats, StatsRecorder
from wasi_nn.guests.streams import StreamFailed
from wasi_nn.limits.limits import Limits, how_to_raise
from wasi_nn.process.threads import Call

Result = TypeVar("Result")

_GRACE = 1.0  # seconds from a stop, or the end of the run time, until the guest is abandoned
_LOOK_EVERY = 0.5  # seconds: how long a waiting thread takes to see that another thread has stopped the guest
_MOST_ABANDONED = 64
_GOES_ON = (
    "; it can't be stopped while it sleeps, reads or waits for a runtime: it goes on in the background, as one of the "
    f"{_MOST_ABANDONED} abandoned guests that a host may have"
)


@dataclass(frozen=True)
class RunResult:
    """How a guest ended.

    exit_code       the guest's exit code; 0 if it ended without one
    stdout, stderr  its output, if that was captured
    stats           facts about the run, such as its times
    """

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""
    stats: RunStats = field(default_factory=RunStats, repr=False, compare=False)


class Work(Generic[Result]):
    """A task for a guest, such as compiling it or running it, on a thread of its own and within `Limits.run_time`."""

    def __init__(self, limits: Limits) -> None:
        require_kind("limits", limits, Limits, "wasi_nn.Limits(...)")
        self.until = inf if limits.run_time is None else time.monotonic() + limits.run_time
        """The deadline, a time of `time.monotonic`."""
        self.output: Callable[[], tuple[bytes, bytes]] = _no_output
        """Returns the guest's standard output and error so far, if they are captured."""
        self.take_output: Callable[[], tuple[bytes, bytes]] = _no_output
        """Returns the same, and has it captured no more: for a guest that runs on."""
        self.recorder = StatsRecorder()
        """Collects the facts about the task."""
        self._limits = limits
        self._abandon_at = self.until + _GRACE
        self._lock = threading.Lock()
        self._reason = ""
        self._stop_function: Callable[[str], None] | None = None
        self._call: Call[Result] | None = None
        self._stats = RunStats()
        self._has_outcome = False
        self._results: list[Result] = []  # the result of `_call`, which gives it only once
        self._failure: BaseException | None = None  # its error

    def begin(self, function: Callable[[], Result], *, here: bool = False) -> None:
        """Call a function on another thread, or on this one if it is `here`. Raises `GuestError` if the process can
        have no more threads."""
        try:
            self._call = Call(function, here=here)
        except RuntimeError as error:
            raise GuestError(f"no thread can be started for the guest: {one_line(error)}") from error

    @contextmanager
    def stopped_by(self, stop: Callable[[str], None]) -> Iterator[None]:
        """During a `with` block, `stop` is the function that stops the task. It gets the reason.

        If the task has been stopped before, the function is called at once.
        """
        with self._lock:
            self._stop_function, reason = stop, self._reason
        try:
            if reason:
                stop(reason)
            yield
        finally:
            with self._lock:
                self._stop_function = None

    def stop(self, reason: str = "") -> None:
        """Stop the guest, if it hasn't ended. Returns at once. `wait` then raises `GuestStopped` with the reason."""
        with self._lock:
            if self.has_ended or self._reason:
                return
            self._reason = reason = str(reason) or "its run was stopped"
            self._abandon_at = min(self._abandon_at, time.monotonic() + _GRACE)
            stop_function = self._stop_function
        if stop_function is not None:
            stop_function(reason)

    @property
    def has_ended(self) -> bool:
        """Whether the guest has ended."""
        return self._call is not None and self._call.has_ended

    @property
    def is_given_up(self) -> bool:
        """Whether the guest was abandoned: it should have stopped, but still runs, and `wait` doesn't wait for it."""
        return time.monotonic() >= self._abandon_at and not self.has_ended

    def is_to_end(self) -> bool:
        """Whether the guest was stopped or abandoned."""
        return bool(self._reason) or self.is_given_up

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for the guest's end; returns its result. May be called more than once, with the same result.

        Raises `TimeoutError` if the guest still runs after `timeout` seconds, `GuestStopped` if it was stopped,
        `GuestTrap` for another trap, `GuestError` if it can't be run, and `NNError` with `invalid-argument` for a
        timeout that is no number.
        """
        if timeout is not None:
            timeout = as_number("timeout", timeout, "a number of seconds, or None to wait for the end")
        self._wait_until(inf if timeout is None else time.monotonic() + timeout)
        if self.has_ended:
            return self._result()
        if self.is_given_up:
            raise self._abandoned()
        raise TimeoutError(f"the guest is still running after {timeout:g} s")

    def result_or_stop(self) -> Result:
        """Wait for the result; stop the task if the wait is interrupted (Ctrl-C)."""
        try:
            return self.wait()
        except BaseException as interruption:
            if not (self.has_ended or self.is_given_up):
                self.stop(f"interrupted by {type(interruption).__name__}")
                self.wait_for_end()
            raise

    def wait_for_end(self) -> None:
        """Wait until the guest has ended or is abandoned."""
        self._wait_until(inf)

    def _wait_until(self, until: float) -> None:
        assert self._call is not None  # `begin` was called
        while (left := min(until, self._abandon_at) - time.monotonic()) > 0 and not self._call.wait(
            min(left, _LOOK_EVERY)
        ):
            pass

    def _result(self) -> Result:
        with self._lock:
            if not self._has_outcome:
                assert self._call is not None  # it has ended
                try:
                    self._results.append(self._call.result())
                except StreamFailed as error:
                    self._failure = error.failure
                except BaseException as error:
                    if isinstance(error, GuestTrap):
                        error.stats = self.recorder.stats()
                    self._failure = error
                self._has_outcome = True
                self._stats = self.recorder.stats()
                self.output = self.take_output = _no_output
                self.recorder = StatsRecorder()  # frees what the outcome has a copy of
        try:
            if self._failure is not None:
                raise self._failure
            return self._results[0]
        except GuestError as error:
            if not self._reason:
                raise
            stopped = GuestStopped(self._reason)
            stopped.stats = self._stats
            if isinstance(error, GuestTrap):
                stopped.stdout, stopped.stderr = error.stdout, error.stderr
            raise stopped from error

    def _abandoned(self) -> GuestTrap:
        """The error of an abandoned guest."""
        if self._reason:
            trap: GuestTrap = GuestStopped(f"{self._reason}{_GOES_ON}")
        else:
            how = how_to_raise(self._limits, "run_time")
            trap = GuestTrap(f"it ran longer than {self._limits.run_time:g} s ({how}){_GOES_ON}")
        trap.stdout, trap.stderr = self.output()
        trap.stats = self.recorder.stats()
        return trap


def _no_output() -> tuple[bytes, bytes]:
    return b"", b""


class Run(Work[RunResult]):
    """A guest that runs in the background, on a thread of its own. `Host.start` makes it.

    `wait` returns its result, and `stop` ends it. Any thread may call both, any number of times.
    """


class RunsUnderWay:
    """The tasks of a host that have not ended. Closing the host ends them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: set[Work[Any]] = set()
        self._closed = False

    def begin(self, work: Work[Result], function: Callable[[], Result], *, here: bool = False) -> None:
        """Begin a task, by calling its function on a thread of its own; or do it on this thread, if it is `here`.

        Raises `GuestError` if the host is closed or has too many abandoned guests.
        """

        def call() -> Result:
            try:
                return function()
            except OSError as error:  # such as no free descriptors, or a full disk
                raise GuestError(f"the guest can't be run: {one_line(error)}") from error
            finally:
                with self._lock:
                    self._all.discard(work)

        with self._lock:
            if self._closed:
                raise GuestError("this host is closed: it runs no more guests")
            abandoned = sum(other.is_given_up for other in self._all)
            if abandoned >= _MOST_ABANDONED:
                message = f"{abandoned} guests that can't be stopped go on in the background after their time"
                raise GuestError(f"{message}, the most that a host may have: it runs no more until one ends")
            self._all.add(work)
        try:
            work.begin(call, here=here)
        except GuestError:
            with self._lock:
                self._all.discard(work)
            raise

    def close(self, reason: str) -> None:
        """Refuse new tasks, stop all tasks, and wait until each has ended or is abandoned."""
        with self._lock:
            self._closed = True
            remaining = list(self._all)
        for work in remaining:
            work.stop(reason)
        for work in remaining:
            work.wait_for_end()
