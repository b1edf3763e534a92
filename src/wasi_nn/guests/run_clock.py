"""The time limits of one run of a guest: processor time of its own code, and the time of the whole run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from math import inf

from wasmtime import Engine, Store

from wasi_nn.abi import epochs
from wasi_nn.limits.compute_guard import ComputeGuard
from wasi_nn.limits.limits import Limits, how_to_raise
from wasi_nn.process.watchdog import Alarm

_AGAIN = 0.25  # seconds: the least time between two checks of the guest's processor time


class RunClock:
    """Traps a guest that runs for too long. Must be made on the guest's thread, whose processor time it reads."""

    def __init__(self, engine: Engine, store: Store, limits: Limits, guard: ComputeGuard) -> None:
        self._engine = engine
        self._limits = limits
        self._guard = guard
        self.end_input: Callable[[], None] | None = None
        """Wakes a guest that waits for input, when its time is over."""
        self.input_ended = ""
        """Why the guest's input was ended, once it was: the guest may take that for the end of its input."""
        self._lock = threading.RLock()  # a signal's handler may stop the guest on the guest's own thread
        self._is_closed = False
        self._stopped = ""
        self._until = guard.run_until
        self._time = inf if limits.guest_time is None else limits.guest_time
        guard.measures_cpu = limits.guest_time is not None
        self._began = time.thread_time()
        self._alarm = Alarm()
        epochs.ask_when_raised(store, self._why_trap)
        self._set(min(self._until, time.monotonic() + self._time))

    def stop(self, reason: str) -> None:
        """Trap the guest as soon as it is in its own code. May be called from any thread, and does nothing after the
        end of the watch: the guard may keep the time of a further request then."""
        with self._lock:
            if self._is_closed:
                return
            self._stopped = reason
            self._guard.stop()
        self._alarm.hasten()
        self._ring()

    def restart(self) -> None:
        """Give the guest the whole processor time again, for a further request."""
        self._began = time.thread_time() - self._guard.computing

    def close(self) -> None:
        """End the watch, after the run."""
        with self._lock:
            self._is_closed = True
        self._alarm.discard()

    def _set(self, due: float) -> None:
        if due < inf:
            self._alarm.set(due, self._ring)

    def _ring(self) -> None:
        epochs.raise_epoch(self._engine)
        if self.end_input is not None:
            reason = self._stopped or (self._too_long() if time.monotonic() >= self._until else "")
            if reason:
                self.input_ended = reason
                self.end_input()

    def _too_long(self) -> str:
        return f"it ran longer than {self._limits.run_time:g} s ({how_to_raise(self._limits, 'run_time')})"

    def _why_trap(self) -> str:
        """Why the guest must trap now; empty if it may go on."""
        if self._stopped:
            return self._stopped
        now = time.monotonic()
        if now >= self._until:
            return self._too_long()
        left = self._time - (time.thread_time() - self._began - self._guard.computing)
        if left <= 0:
            how = how_to_raise(self._limits, "guest_time")
            return f"it took more than {self._limits.guest_time:g} s of processor time ({how})"
        self._set(min(self._until, now + max(left, _AGAIN)))
        return ""
