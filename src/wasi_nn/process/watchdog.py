"""Deadlines: an `Alarm` calls a function when its time has come, on one thread for the whole process, the watchdog.

An alarm is set and cleared around each call that may take too long. Both together cost a third of a microsecond: they
take no lock, and don't wake the watchdog if it will look at the alarm in time anyway.
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

_MAX_OUTDATED = 1000  # entries of forgotten alarms that may stay in the queue, since removing them takes a new queue
_RING_INTERVAL = 0.1  # seconds until an alarm rings for the second time; twice as long each time after that
LONGEST_WAIT = 3600.0  # seconds: a lock's timeout has a maximum (threading.TIMEOUT_MAX), so long waits are repeated


class Alarm:
    """Calls `ring` on the watchdog's thread when its time has come, and again and again until it is cleared.

    It rings again because the call to be stopped may not have begun at the first ring. One thread at a time sets and
    clears an alarm.
    """

    # `set` and `clear` take no lock. They are correct because the interpreter's lock orders reads and writes of
    # attributes: `set` and `clear` write `_due` and then read `next_look` or `_looking`; the watchdog writes those two
    # and then reads `_due`. So at least one of the two threads sees the other's write.

    def __init__(self) -> None:
        self._ringing = threading.Lock()
        self._due = inf
        self._ring: Callable[[], object] | None = None
        self._looking = self._rang = False
        self._interval = _RING_INTERVAL
        self._hastened = False
        self.next_look = inf
        """The time when the watchdog will look at the alarm. Entries of the queue with another time are outdated."""

    @property
    def due(self) -> float:
        """The time to ring."""
        return 0.0 if self._hastened and self._due < inf else self._due

    def set(self, due: float, ring: Callable[[], object] | None) -> None:
        """Call `ring`, which must be quick, at `due`, a time of `time.monotonic`.

        If `ring` is None, only the result of `clear` says that the time has come.
        """
        self._rang = False
        self._ring = ring
        self._due = due
        if due < self.next_look:
            _watchdog.queue(self)

    def hasten(self) -> None:
        """Ring now, if the alarm is set. May be called from any thread."""
        self._hastened = True
        _watchdog.queue(self)

    def clear(self) -> bool:
        """Stop ringing, and wait for a call of `ring` to end. Returns whether the alarm rang since it was set."""
        self._due = inf
        if not (self._looking or self._rang):
            self._ring = None
            return False
        with self._ringing:
            self._due, self._ring = inf, None  # `look` may have set the time of the next ring
            return self._rang

    def discard(self) -> None:
        """Clear the alarm, and remove it from the watchdog."""
        self.clear()
        _watchdog.forget(self)

    def abandon(self) -> None:
        """Remove an alarm that no code can set or clear any more.

        Never waits for a lock: the garbage collector calls it, on any thread.
        """
        _watchdog.forget_later(self)

    def look(self, now: float) -> None:
        """Ring if it is time. Called by the watchdog."""
        with self._ringing:
            self._looking = True
            if self.due <= now:
                self._interval = 2 * self._interval if self._rang else _RING_INTERVAL
                self._rang, self._hastened = True, False
                self._call_ring()
                self._due = inf if self._ring is None or self._due == inf else now + self._interval
            self._looking = False

    def _call_ring(self) -> None:
        try:
            if self._ring is not None:
                self._ring()
        except Exception:
            logger.exception("the function of a deadline failed")


class _Watchdog:
    def __init__(self) -> None:
        self.reset_in_child()

    def reset_in_child(self) -> None:
        """Start without alarms and without a thread, as in a fork."""
        self._queue: list[tuple[float, int, Alarm]] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._forgotten = 0
        self._abandoned: deque[Alarm] = deque()
        self._thread: threading.Thread | None = None

    def queue(self, alarm: Alarm) -> None:
        """Plan to look at an alarm when it is due, unless an earlier look is planned."""
        with self._changed:
            self._forget_abandoned()
            due = alarm.due
            if due >= alarm.next_look:
                return
            alarm.next_look = due
            heapq.heappush(self._queue, (due, next(self._numbers), alarm))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="wasi-nn watchdog", daemon=True)
                thread.start()
                self._thread = thread
            elif self._queue[0][2] is alarm:
                self._changed.notify()

    def forget(self, alarm: Alarm) -> None:
        """Don't look at an alarm any more. Its entry stays in the queue until many are outdated."""
        with self._changed:
            self._forget_abandoned()
            self._forget(alarm)

    def forget_later(self, alarm: Alarm) -> None:
        """Forget an alarm when the next one is queued or forgotten. Never waits for a lock."""
        self._abandoned.append(alarm)

    def _forget_abandoned(self) -> None:
        while self._abandoned:
            self._forget(self._abandoned.popleft())

    def _forget(self, alarm: Alarm) -> None:
        if alarm.next_look == inf:
            return
        alarm.next_look = inf
        self._forgotten += 1
        if self._forgotten > _MAX_OUTDATED and 2 * self._forgotten > len(self._queue):
            self._queue = [entry for entry in self._queue if entry[0] == entry[2].next_look]
            heapq.heapify(self._queue)
            self._forgotten = 0

    def _run(self) -> None:
        while True:
            alarm, now = self._next()
            alarm.look(now)
            self.queue(alarm)
            del alarm  # or this thread would keep it alive until the next alarm

    def _next(self) -> tuple[Alarm, float]:
        """Wait for the next alarm that is due. Returns it, and the time."""
        with self._changed:
            while True:
                now = time.monotonic()
                if self._queue and self._queue[0][0] <= now:
                    due, _, alarm = heapq.heappop(self._queue)
                    if due == alarm.next_look:
                        alarm.next_look = inf
                        return alarm, now
                else:
                    self._changed.wait(min(self._queue[0][0] - now, LONGEST_WAIT) if self._queue else None)


_watchdog = _Watchdog()
forks.reset_in_child(_watchdog)
