"""Deadlines: one thread of the process that does what is to be done when the time has come.

An `Alarm` is set and cleared around whatever may take too long, again and again; that costs about a microsecond, since
the thread isn't told of an alarm that it will look at in any case.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from math import inf

logger = logging.getLogger("wasi_nn")

_FEW = 1000
_LONG = 3600.0  # seconds; threads can't wait for any number of them


class Alarm:
    """Calls `ring` on the watchdog's thread when its time has come, unless it is cleared before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due = inf
        self._ring: Callable[[], object] | None = None
        self._rang = False
        self._looked_at = inf  # when the watchdog will look at it at the latest

    def set(self, due: float, ring: Callable[[], object] | None) -> None:
        """Ring at `due`, a time of `time.monotonic`. What rings must be quick; None only makes `clear` say so."""
        with self._lock:
            self._due, self._ring, self._rang = due, ring, False
            if due < self._looked_at:
                self._looked_at = due
                _watchdog.look_at(self, due)

    def clear(self) -> bool:
        """Don't ring any more. Gives whether it rang since it was set; what rings isn't under way any more then."""
        with self._lock:
            self._due, self._ring = inf, None
            return self._rang

    def discard(self) -> None:
        """Clear it for good."""
        self.clear()
        with self._lock:
            queued = self._looked_at < inf
        if queued:
            _watchdog.forget_one()

    def look(self, now: float) -> None:
        """Ring if it is time. For the watchdog."""
        with self._lock:
            self._looked_at = inf
            if self._due <= now:
                ring, self._due, self._ring, self._rang = self._ring, inf, None, True
                if ring is not None:
                    try:
                        ring()
                    except Exception:
                        logger.exception("a deadline can't be kept")
            elif self._due < inf:
                self._looked_at = self._due
                _watchdog.look_at(self, self._due)

    @property
    def is_set(self) -> bool:
        """Whether it is to ring."""
        return self._due < inf


class _Watchdog:
    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Alarm]] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._forgotten = 0
        self._thread: threading.Thread | None = None

    def look_at(self, alarm: Alarm, due: float) -> None:
        """Look at an alarm at some time."""
        with self._changed:
            heapq.heappush(self._queue, (due, next(self._numbers), alarm))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wasi-nn watchdog", daemon=True)
                self._thread.start()
            elif self._queue[0][2] is alarm:
                self._changed.notify()

    def forget_one(self) -> None:
        """Know of one alarm more that need not be looked at; when there are many, they are let go."""
        with self._changed:
            self._forgotten += 1
            if self._forgotten > _FEW and 2 * self._forgotten > len(self._queue):
                self._queue = [entry for entry in self._queue if entry[2].is_set]
                heapq.heapify(self._queue)
                self._forgotten = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                while not self._queue or self._queue[0][0] > now:
                    self._changed.wait(min(self._queue[0][0] - now, _LONG) if self._queue else None)
                    now = time.monotonic()
                alarm = heapq.heappop(self._queue)[2]
            alarm.look(now)


def _start_anew() -> None:
    global _watchdog
    _watchdog = _Watchdog()


_watchdog = _Watchdog()
os.register_at_fork(after_in_child=_start_anew)
