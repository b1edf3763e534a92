"""The time that one run of a guest may take: in its own code, in computes and asleep."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf
from typing import Any, TypeVar

from wasmtime import Engine, Store

from wasi_nn.abi import epochs
from wasi_nn.limits import ComputeGuard, Limits, how_to_raise
from wasi_nn.threads import Call
from wasi_nn.types import GuestError, GuestTrap, one_line
from wasi_nn.watchdog import LONGEST_WAIT, Alarm

Result = TypeVar("Result")

_AGAIN = 0.25
_GRACE = 1.0
_MOST_ASLEEP = 64


class RunClock:
    """Traps a guest that runs for too long. It is made on the thread that the guest runs on."""

    def __init__(self, engine: Engine, store: Store, limits: Limits, guard: ComputeGuard) -> None:
        self._engine = engine
        self._limits = limits
        self._guard = guard
        self._stopped = ""
        self._until = guard.run_until
        self._time = inf if limits.guest_time is None else limits.guest_time
        guard.counts = limits.guest_time is not None
        self._began = time.thread_time()
        self._alarm = Alarm()
        epochs.ask_when_raised(store, self._reason)
        self._set(min(self._until, time.monotonic() + self._time))

    def stop(self, reason: str) -> None:
        """Trap the guest as soon as it is in its own code. From any thread."""
        self._stopped = reason
        self._guard.stop()
        self._alarm.hasten()
        self._ring()

    def close(self) -> None:
        """The run is over."""
        self._alarm.discard()

    def _set(self, due: float) -> None:
        if due < inf:
            self._alarm.set(due, self._ring)

    def _ring(self) -> None:
        epochs.raise_epoch(self._engine)

    def _reason(self) -> str:
        """Why the guest is to trap; empty if it may go on."""
        if self._stopped:
            return self._stopped
        now = time.monotonic()
        if now >= self._until:
            return f"it ran longer than {self._limits.run_time:g} s ({how_to_raise(self._limits, 'run_time')})"
        left = self._time - (time.thread_time() - self._began - self._guard.computing)
        if left <= 0:
            name = how_to_raise(self._limits, "guest_time")
            return f"it took more than {self._limits.guest_time:g} s of processor time ({name})"
        self._set(min(self._until, now + max(left, _AGAIN)))
        return ""


class StillAsleep(GuestTrap):
    """A guest was given up."""


class Sleepers:
    """Runs that were given up while their guests were asleep, in the operating system, where nothing wakes them."""

    def __init__(self) -> None:
        self._calls: list[Call[Any]] = []
        self._lock = threading.Lock()

    def run(self, function: Callable[[], Result], limits: Limits, stop: Callable[[str], None]) -> Result:
        """Call a function that runs a guest, on a thread of its own. Gives what it gives, raises what it raises, and
        `StillAsleep` if it isn't back soon after `Limits.run_time`, though it was told to stop."""
        with self._lock:
            self._calls = [call for call in self._calls if not call.has_ended]
            count = len(self._calls)
        if count >= _MOST_ASLEEP:
            raise GuestError(f"{count} guests are asleep beyond their time: this host runs no more until some wake up")
        try:
            call = Call(function)
        except RuntimeError as error:
            raise GuestError(f"there is no thread for the guest: {one_line(error)}") from error
        assert limits.run_time is not None  # else there is nothing to wait for
        try:
            end = time.monotonic() + limits.run_time + _GRACE
            while (left := end - time.monotonic()) > 0 and not call.wait(min(left, LONGEST_WAIT)):
                pass
        except BaseException as interruption:
            stop(f"interrupted by {type(interruption).__name__}")
            call.wait(_GRACE)
            raise
        finally:
            if not call.has_ended:
                with self._lock:
                    self._calls.append(call)
        if not call.has_ended:
            how = how_to_raise(limits, "run_time")
            raise StillAsleep(f"it ran longer than {limits.run_time:g} s, and is asleep ({how})")
        return call.result()
