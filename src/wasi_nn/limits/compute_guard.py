"""`ComputeGuard` keeps the computes of a guest within their time; `Turns` limits how many run at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from typing import Protocol, TypeVar
from weakref import finalize

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.limits.limits import HostLimits, Limits, how_to_raise
from wasi_nn.process.watchdog import LONGEST_WAIT, Alarm

Result = TypeVar("Result")

_SHORT = (
    0.001  # seconds: for a shorter compute, reading the processor's clock twice (a microsecond each) isn't worth it
)


class Interruptible(Protocol):
    """A runner whose computes can be interrupted."""

    def interrupt(self) -> None:
        """Make the current call raise soon, if the runtime supports it."""


class Turns:
    """Lets `HostLimits.computes` computes run at once; others wait, in the order of asking.

    A free turn is taken without a lock.
    """

    # Correct because `list.append` and `list.pop` are atomic under the interpreter's lock, and because of this order: a
    # waiter increments `_waiting` and then looks at `_free`; `give_back` appends to `_free` and then looks at
    # `_waiting`. So either the waiter finds the turn, or `give_back` notifies the waiter.

    def __init__(self, limits: HostLimits) -> None:
        self.limits = limits
        self._free: list[None] = [None] * (limits.computes or 0)
        self._waiting = 0
        self._changed = threading.Condition()

    def take(self, until: float) -> None:
        """Wait for a turn. Raises `NNError` with `timeout` if none is free by `until`, a time of `time.monotonic`."""
        if not self._waiting:
            try:
                self._free.pop()
                return
            except IndexError:
                pass
        self._wait(until)

    def _wait(self, until: float) -> None:
        with self._changed:
            self._waiting += 1  # before the look at `_free`
            try:
                while not self._free and (left := until - time.monotonic()) > 0:
                    self._changed.wait(min(left, LONGEST_WAIT))
                self._free.pop()
            except IndexError:
                text = f"the compute couldn't begin in time: at most {self.limits.computes} may run at once"
                raise NNError(ErrorCode.TIMEOUT, f"{text} ({how_to_raise(self.limits, 'computes')})") from None
            finally:
                self._waiting -= 1

    def give_back(self) -> None:
        """Free the turn for another compute."""
        self._free.append(None)
        if self._waiting:
            with self._changed:
                self._changed.notify()


class ComputeGuard:
    """Keeps the computes of one guest within their time.

    A compute past its deadline is interrupted if its runner supports that, and raises `NNError` with `timeout` in any
    case. `run_until` is the end of the run, a time of `time.monotonic`. With `measures_cpu`, `computing` is the
    processor time in seconds that the guest's thread spent in computes; measuring costs a microsecond per compute.
    """

    def __init__(self, limits: Limits, turns: Turns | None = None) -> None:
        self.run_until = inf
        self.computing = 0.0
        self.measures_cpu = False
        self.compute_seconds = 0.0
        """The time of all computes by the clock, in seconds."""
        self.load_seconds = 0.0
        """The time of all loads by the clock, in seconds."""
        self._limits = limits
        self._turns = turns if turns is not None and turns.limits.computes is not None else None
        self._time = inf if limits.compute_time is None else limits.compute_time
        self._alarm = Alarm()
        finalize(self, self._alarm.abandon).atexit = False  # for sessions that are never closed
        self._quick = 0  # the id of the runner whose last compute was short

    @property
    def has_deadlines(self) -> bool:
        """Whether each compute has a deadline of its own."""
        return self._time != inf

    @property
    def due(self) -> float:
        """The time of `time.monotonic` by which the call that is under way must end; infinite if it may take any
        time."""
        return self._alarm.due

    def run(self, runner: Interruptible, call: Callable[[], Result], work: str = "the compute") -> Result:
        """Make a call in which the runner computes. Raises the call's errors, and `NNError` with `timeout`, which says
        what `work` took too long.

        A short compute counts as the guest's own time if the last compute was a short one of the same runner.
        """
        began = time.monotonic()
        due = min(began + self._time, self.run_until)
        if due <= began:
            raise self.late(work=work)
        if self._turns is not None:
            self._turns.take(due)
        before = -1.0 if id(runner) == self._quick or not self.measures_cpu else time.thread_time()
        self._alarm.set(due, runner.interrupt)
        try:
            result = call()
        except Exception as error:
            if self._alarm.clear():
                raise self.late(work=work) from error
            raise
        finally:
            rang = self._alarm.clear()
            if self._turns is not None:
                self._turns.give_back()
            if before >= 0:
                self.computing += time.thread_time() - before
            took = time.monotonic() - began
            self.compute_seconds += took
            self._quick = id(runner) if took < _SHORT else 0
        if rang:
            raise self.late(work=work)
        return result

    def load_until(self) -> float:
        """The deadline of a load that begins now, a time of `time.monotonic`."""
        time_of_load = inf if self._limits.load_time is None else time.monotonic() + self._limits.load_time
        return min(time_of_load, self.run_until)

    def stop(self) -> None:
        """Interrupt the current compute, and let no other begin. May be called from any thread."""
        self.run_until = 0.0
        self._alarm.hasten()

    def late(self, limit: str = "compute_time", work: str = "the compute") -> NNError:
        """The error for work that took longer than its limit; if the run's time is over, the error for the run."""
        if self.run_until == 0.0:
            return NNError(ErrorCode.TIMEOUT, "the run was stopped")
        if time.monotonic() >= self.run_until:
            limit, work = "run_time", "the run"
        text = f"{work} took longer than {getattr(self._limits, limit):g} s"
        return NNError(ErrorCode.TIMEOUT, f"{text} ({how_to_raise(self._limits, limit)})")

    def close(self) -> None:
        """Release the alarm. The guard must not be used afterwards."""
        self._alarm.discard()
