"""Runs of guests, each on a thread of its own: any thread may wait for one, and stop it.

A guest that is told to stop traps in its own code, and ends where it computes as soon as its runtime can be stopped.
One that does neither, since it is asleep in the operating system or in a runtime that can't be stopped, is given up:
its thread goes on until it wakes, and nobody waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from numbers import Real
from typing import Any, Generic, TypeVar

from wasi_nn.errors import ErrorCode, GuestError, GuestStopped, GuestTrap, NNError, one_line, printable
from wasi_nn.limits.limits import Limits, how_to_raise
from wasi_nn.process.threads import Call

Result = TypeVar("Result")

_GRACE = 1.0  # seconds between being told to stop and being given up
_LOOK_EVERY = 0.5  # seconds: whether it is to be given up meanwhile
_MOST_GIVEN_UP = 64
_GOES_ON = (
    "; it can't be stopped while it sleeps, reads or waits for a runtime: it goes on in the background, and counts as "
    f"one of the {_MOST_GIVEN_UP} that a host may have there"
)


@dataclass(frozen=True)
class RunResult:
    """How a guest ended: its exit code, and what it wrote if that was captured."""

    exit_code: int
    stdout: bytes = b""
    stderr: bytes = b""


class Work(Generic[Result]):
    """Something that is done for a guest on a thread of its own, within `Limits.run_time`."""

    def __init__(self, limits: Limits) -> None:
        self.until = inf if limits.run_time is None else time.monotonic() + limits.run_time
        """When it has to be done, a time of `time.monotonic`."""
        self.output: Callable[[], tuple[bytes, bytes]] = _no_output
        """Gives what the guest has written until now, if that is captured."""
        self._limits = limits
        self._give_up_at = self.until + _GRACE
        self._lock = threading.Lock()
        self._reason = ""
        self._stop_part: Callable[[str], None] | None = None
        self._call: Call[Result] | None = None
        self._outcome: Callable[[], Result] | None = None

    def begin(self, function: Callable[[], Result]) -> None:
        """Call a function on a thread of its own. Raises `GuestError` if the process can have no more threads."""
        try:
            self._call = Call(function)
        except RuntimeError as error:
            raise GuestError(f"there is no thread for the guest: {one_line(error)}") from error

    @contextmanager
    def stopped_by(self, stop: Callable[[str], None]) -> Iterator[None]:
        """Have what is done here be stopped by a function, which gets the reason; at once, if it is to stop already."""
        with self._lock:
            self._stop_part, reason = stop, self._reason
        try:
            if reason:
                stop(reason)
            yield
        finally:
            with self._lock:
                self._stop_part = None

    def stop(self, reason: str = "") -> None:
        """Stop it, if it hasn't ended. Returns at once; whoever waits for it gets `GuestStopped` with the reason."""
        with self._lock:
            if self.has_ended or self._reason:
                return
            self._reason = reason = str(reason) or "nobody waits for it any more"
            self._give_up_at = min(self._give_up_at, time.monotonic() + _GRACE)
            stop_part = self._stop_part
        if stop_part is not None:
            stop_part(reason)

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return self._call is not None and self._call.has_ended

    @property
    def is_given_up(self) -> bool:
        """Whether it goes on although it should have stopped, so that nobody waits for it any more."""
        return time.monotonic() >= self._give_up_at and not self.has_ended

    def wait(self, timeout: float | None = None) -> Result:
        """Wait for its end; gives what came of it, as often as it is called.

        Raises `TimeoutError` if it is still under way after `timeout` seconds, and else what ended it: `GuestStopped`
        if it was stopped, `GuestTrap` for another trap, `GuestError` if it couldn't be run. Raises `NNError` with
        `invalid-argument` for a timeout that is no number.
        """
        if timeout is not None and (not isinstance(timeout, Real) or isinstance(timeout, bool) or timeout != timeout):
            message = (
                f"timeout must be a number of seconds, or None to wait for the end: {printable(repr(timeout))[:100]}"
            )
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        self._wait_until(inf if timeout is None else time.monotonic() + timeout)
        if self.has_ended:
            return self._result()
        if self.is_given_up:
            raise self._given_up()
        raise TimeoutError(f"the guest is still running after {timeout:g} s")

    def wait_for_end(self) -> None:
        """Wait until it has ended, or is given up."""
        self._wait_until(inf)

    def _wait_until(self, until: float) -> None:
        assert self._call is not None  # it has begun
        while (left := min(until, self._give_up_at) - time.monotonic()) > 0 and not self._call.wait(
            min(left, _LOOK_EVERY)
        ):
            pass

    def _result(self) -> Result:
        with self._lock:
            if self._outcome is None:
                assert self._call is not None  # it has ended
                self._outcome = _outcome_of(self._call)
                self.output = _no_output  # the outcome has it
        try:
            return self._outcome()
        except GuestError as error:
            if not self._reason:
                raise
            raise self._stopped("", error) from error

    def _stopped(self, how: str, trap: GuestError | None) -> GuestStopped:
        stopped = GuestStopped(f"{self._reason}{how}")
        if isinstance(trap, GuestTrap):
            stopped.stdout, stopped.stderr = trap.stdout, trap.stderr
        return stopped

    def _given_up(self) -> GuestTrap:
        if self._reason:
            trap: GuestTrap = self._stopped(_GOES_ON, None)
        else:
            how = how_to_raise(self._limits, "run_time")
            trap = GuestTrap(f"it ran longer than {self._limits.run_time:g} s ({how}){_GOES_ON}")
        trap.stdout, trap.stderr = self.output()
        return trap


def _no_output() -> tuple[bytes, bytes]:
    return b"", b""


def _outcome_of(call: Call[Result]) -> Callable[[], Result]:
    """What a call gave or raised, to be had again and again."""
    try:
        result = call.result()
    except BaseException as raised:
        failure = raised

        def again() -> Result:
            raise failure

        return again
    return lambda: result


class Run(Work[RunResult]):
    """A guest that runs on a thread of its own: `Host.start` gives one.

    `wait` gives its result, `stop` ends it. Both may be called from any thread, and again.
    """


class RunsUnderWay:
    """What a host has under way, which ends with the host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: set[Work[Any]] = set()
        self._closed = False

    def begin(self, work: Work[Result], function: Callable[[], Result]) -> None:
        """Begin some work. Raises `GuestError` if the host is closed, or too much was given up and still goes on."""

        def call() -> Result:
            try:
                return function()
            except OSError as error:  # no files are left, a disk is full
                raise GuestError(f"the guest can't be run: {one_line(error)}") from error
            finally:
                with self._lock:
                    self._all.discard(work)

        with self._lock:
            if self._closed:
                raise GuestError("this host is closed: it runs no more guests")
            given_up = sum(1 for other in self._all if other.is_given_up)
            if given_up >= _MOST_GIVEN_UP:
                message = f"{given_up} guests that can't be stopped go on in the background beyond their time"
                raise GuestError(
                    f"{message}, which is as many as a host may have there: it runs no more until one ends"
                )
            self._all.add(work)
        try:
            work.begin(call)
        except GuestError:
            with self._lock:
                self._all.discard(work)
            raise

    def close(self, reason: str) -> None:
        """Begin nothing more, stop all, and wait until each has ended or is given up."""
        with self._lock:
            self._closed = True
            left = list(self._all)
        for work in left:
            work.stop(reason)
        for work in left:
            work.wait_for_end()
