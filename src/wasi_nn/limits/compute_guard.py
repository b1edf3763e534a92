"""Keeping the computes of guests within their time, and taking turns at them."""

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

_SHORT = 0.001  # seconds: a compute of less isn't worth two looks at the processor's clock


class Interruptible(Protocol):
    """What computes, and can be told to stop."""

    def interrupt(self) -> None:
        """Have the call that is under way raise soon, where that can be done."""


class Turns:
    """So many computes at once, in the order of asking. A free turn is taken without a lock."""

    def __init__(self, limits: HostLimits) -> None:
        self.limits = limits
        self._free: list[None] = [None] * (limits.computes or 0)
        self._waiting = 0
        self._changed = threading.Condition()

    def take(self, until: float) -> None:
        """Wait for a turn. Raises `NNError` with `timeout` if there is none until then."""
        if not self._waiting:
            try:
                self._free.pop()
                return
            except IndexError:
                pass
        self._wait(until)

    def _wait(self, until: float) -> None:
        with self._changed:
            self._waiting += 1  # before it looks: whoever gives a turn back then tells
            try:
                while not self._free and (left := until - time.monotonic()) > 0:
                    self._changed.wait(min(left, LONGEST_WAIT))
                self._free.pop()
            except IndexError:
                text = f"no turn came in time: {self.limits.computes} computes are under way, and no more may be"
                raise NNError(ErrorCode.TIMEOUT, f"{text} ({how_to_raise(self.limits, 'computes')})") from None
            finally:
                self._waiting -= 1

    def give_back(self) -> None:
        """Let another one have the turn."""
        self._free.append(None)
        if self._waiting:
            with self._changed:
                self._changed.notify()


class ComputeGuard:
    """Keeps the computes of one guest within their time.

    A compute past its deadline is stopped where its runner can be (`interrupt`), and is an error with `timeout` in any
    case. `run_until` is when the run has to end, a time of `time.monotonic`. `computing` are the seconds of processor
    time that the guest's thread spent in computes, if somebody `counts` them, which costs a microsecond each.
    """

    def __init__(self, limits: Limits, turns: Turns | None = None) -> None:
        self.run_until = inf
        self.computing = 0.0
        self.counts = False
        self._limits = limits
        self._turns = turns if turns is not None and turns.limits.computes is not None else None
        self._time = inf if limits.compute_time is None else limits.compute_time
        self._alarm = Alarm()
        finalize(self, self._alarm.abandon).atexit = False  # for sessions that nobody closes
        self._quick = 0  # the id of the runner whose last compute was short

    def run(self, runner: Interruptible, call: Callable[[], Result]) -> Result:
        """Make a call that has the runner compute. Raises what it raises, and `NNError` with `timeout`.

        A short compute on a runner whose last one was short counts as the guest's own time.
        """
        began = time.monotonic()
        due = min(began + self._time, self.run_until)
        if due <= began:
            raise self.late()
        if self._turns is not None:
            self._turns.take(due)
        before = -1.0 if id(runner) == self._quick or not self.counts else time.thread_time()
        self._alarm.set(due, runner.interrupt)
        try:
            result = call()
        except Exception as error:
            if self._alarm.clear():
                raise self.late() from error
            raise
        finally:
            rang = self._alarm.clear()
            if self._turns is not None:
                self._turns.give_back()
            if before >= 0:
                self.computing += time.thread_time() - before
            self._quick = id(runner) if time.monotonic() - began < _SHORT else 0
        if rang:
            raise self.late()
        return result

    def load_until(self) -> float:
        """When a load that begins now has to end, a time of `time.monotonic`."""
        time_of_load = inf if self._limits.load_time is None else time.monotonic() + self._limits.load_time
        return min(time_of_load, self.run_until)

    def stop(self) -> None:
        """End the compute that is under way, and let no other begin. From any thread."""
        self.run_until = 0.0
        self._alarm.hasten()

    def late(self, limit: str = "compute_time", what: str = "the compute") -> NNError:
        """The error where what took its time is over: for the run, or for the limit of what was done."""
        if self.run_until == 0.0:
            return NNError(ErrorCode.TIMEOUT, "the run was stopped")
        if time.monotonic() >= self.run_until:
            limit, what = "run_time", "the run"
        text = f"{what} took longer than {getattr(self._limits, limit):g} s"
        return NNError(ErrorCode.TIMEOUT, f"{text} ({how_to_raise(self._limits, limit)})")

    def close(self) -> None:
        """Guard no more."""
        self._alarm.discard()
