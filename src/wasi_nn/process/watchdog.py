"""Deadlines: one thread of the process that does what is to be done when the time has come.

An `Alarm` is set and cleared around whatever may take too long, again and again; that costs a third of a microsecond,
since no lock is taken, and the thread isn't told of an alarm that it will look at in any case.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from math import inf

from wasi_nn.process import forks

logger = logging.getLogger("wasi_nn")

_FEW = 1000
_AGAIN = 0.1  # seconds until it rings once more; twice as long each time
LONGEST_WAIT = 3600.0  # seconds: what a lock can wait for is bounded


class Alarm:
    """Calls `ring` on the watchdog's thread when its time has come, and again and again until it is cleared.

    Again, since what is to be stopped may not have begun when it rings first. One thread at a time sets and clears it.
    """

    # Which of two threads comes first is told by what each writes before it reads: `set` and `clear` write `_due`, and
    # then read `looked_at` or `_looking`; the watchdog writes those, and then reads `_due`.

    def __init__(self) -> None:
        self._ringing = threading.Lock()
        self._due = inf
        self._ring: Callable[[], object] | None = None
        self._looking = self._rang = False
        self._again = _AGAIN
        self._hastened = False
        self.looked_at = inf
        """When the watchdog will look at it. Entries of its queue for other times are of the past."""

    @property
    def due(self) -> float:
        """When it is to ring."""
        return 0.0 if self._hastened and self._due < inf else self._due

    def set(self, due: float, ring: Callable[[], object] | None) -> None:
        """Ring at `due`, a time of `time.monotonic`. What rings must be quick; None only makes `clear` say so."""
        self._rang = False
        self._ring = ring
        self._due = due
        if due < self.looked_at:
            _watchdog.queue(self)

    def hasten(self) -> None:
        """Ring now, if it is set. From any thread."""
        self._hastened = True
        _watchdog.queue(self)

    def clear(self) -> bool:
        """Don't ring any more. Gives whether it rang since it was set; what rings isn't under way any more then."""
        self._due = inf
        if not (self._looking or self._rang):
            self._ring = None
            return False
        with self._ringing:
            self._due, self._ring = inf, None  # it may have been set to ring again
            return self._rang

    def discard(self) -> None:
        """Clear it for good."""
        self.clear()
        _watchdog.forget(self)

    def abandon(self) -> None:
        """Let it go, when nobody can set or clear it any more. It waits for no lock: garbage is collected anywhere."""
        _watchdog.forget_later(self)

    def look(self, now: float) -> None:
        """Ring if it is time. For the watchdog."""
        with self._ringing:
            self._looking = True
            if self.due <= now:
                self._again = 2 * self._again if self._rang else _AGAIN
                self._rang, self._hastened = True, False
                self._sound()
                self._due = inf if self._ring is None or self._due == inf else now + self._again
            self._looking = False

    def _sound(self) -> None:
        try:
            if self._ring is not None:
                self._ring()
        except Exception:
            logger.exception("a deadline can't be kept")


class _Watchdog:
    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, without alarms and without a thread, as in a fork."""
        self._queue: list[tuple[float, int, Alarm]] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._forgotten = 0
        self._abandoned: deque[Alarm] = deque()
        self._thread: threading.Thread | None = None

    def queue(self, alarm: Alarm) -> None:
        """Look at an alarm when it is due, if that is before it would be looked at."""
        with self._changed:
            self._forget_abandoned()
            due = alarm.due
            if due >= alarm.looked_at:
                return
            alarm.looked_at = due
            heapq.heappush(self._queue, (due, next(self._numbers), alarm))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="wasi-nn watchdog", daemon=True)
                thread.start()
                self._thread = thread
            elif self._queue[0][2] is alarm:
                self._changed.notify()

    def forget(self, alarm: Alarm) -> None:
        """Look at an alarm no more. When many are forgotten, they are let go."""
        with self._changed:
            self._forget_abandoned()
            self._forget(alarm)

    def forget_later(self, alarm: Alarm) -> None:
        """Look at an alarm no more, from the next time that another one is queued or forgotten. Waits for no lock."""
        self._abandoned.append(alarm)

    def _forget_abandoned(self) -> None:
        while self._abandoned:
            self._forget(self._abandoned.popleft())

    def _forget(self, alarm: Alarm) -> None:
        if alarm.looked_at == inf:
            return
        alarm.looked_at = inf
        self._forgotten += 1
        if self._forgotten > _FEW and 2 * self._forgotten > len(self._queue):
            self._queue = [entry for entry in self._queue if entry[0] == entry[2].looked_at]
            heapq.heapify(self._queue)
            self._forgotten = 0

    def _run(self) -> None:
        while True:
            alarm, now = self._next()
            alarm.look(now)
            self.queue(alarm)
            del alarm  # or it would be kept until the next one

    def _next(self) -> tuple[Alarm, float]:
        """Wait for the next alarm to be looked at."""
        with self._changed:
            while True:
                now = time.monotonic()
                if self._queue and self._queue[0][0] <= now:
                    at, _, alarm = heapq.heappop(self._queue)
                    if at == alarm.looked_at:
                        alarm.looked_at = inf
                        return alarm, now
                else:
                    self._changed.wait(min(self._queue[0][0] - now, LONGEST_WAIT) if self._queue else None)


_watchdog = _Watchdog()
forks.renew(_watchdog)
