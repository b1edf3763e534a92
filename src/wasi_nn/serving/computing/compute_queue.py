"""The queue of the requests that wait for a compute: a line for each model, and turns in fair order."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from typing import Protocol

from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.settings import how_to_raise


class Starter(Protocol):
    """What a line consists of."""

    @property
    def is_ready(self) -> bool:
        """Whether the line has something for a turn to begin with."""

    def begin(self) -> None:
        """Begin with a turn, which is taken already. Must not raise."""


class ComputeQueue:
    """Gives turns, at most so many at once. All of it runs in the event loop.

    A turn goes to the line that has the fewest at the time; among these, to the one whose last turn was longest ago. So
    a model with many requests, or slow ones, leaves turns for the others as soon as they ask. At most `longest_line`
    requests wait in one line, and `longest` in all of them.
    """

    def __init__(self, turns: int, longest: int, longest_line: int | None = None) -> None:
        self._free = turns
        self._longest = longest
        self._longest_line = longest if longest_line is None else longest_line
        self._lines: dict[Line, None] = {}  # those that are ready, in the order of becoming so
        self._numbers = itertools.count(1)
        self.running = 0
        """The turns that are taken."""
        self.waiting = 0
        """The requests that wait."""

    def require_place(self, waiting: int) -> None:
        """Raise `ServingError` with `overloaded` if there is no place for one more request in a line where so many
        wait."""
        for there, most, of, name in (
            (waiting, self._longest_line, " for this model", "queue"),
            (self.waiting, self._longest, "", "total_queue"),
        ):
            if there >= most:
                message = f"{most} requests wait already{of} ({how_to_raise(name)})"
                raise ServingError(Reason.OVERLOADED, message, retry_after=1)

    def offer(self, line: Line) -> None:
        """Give free turns to this line, which is the only one that may have become ready since the last call."""
        while self._free and line.starter.is_ready:
            self._give(line)
        if line.starter.is_ready:
            self._lines[line] = None

    def take(self, line: Line) -> bool:
        """Whether a turn is free, which the line has then."""
        if not self._free:
            return False
        self._free -= 1
        self.running += 1
        line.running += 1
        line.last_turn = next(self._numbers)
        return True

    def _give(self, line: Line) -> None:
        self.take(line)
        line.starter.begin()

    def take_back(self, line: Line) -> None:
        """Take a turn back from a line, and give it to the line that has waited for one in fair order."""
        line.running -= 1
        self.running -= 1
        self._free += 1
        while self._free and self._lines:
            best = min(self._lines, key=lambda each: (each.running, each.last_turn))
            if best.starter.is_ready:
                self._give(best)
            if not best.starter.is_ready:
                del self._lines[best]


class Line:
    """The requests of one model in a queue. `starter` says whether there is one that can begin, and begins it."""

    def __init__(self, queue: ComputeQueue, starter: Starter) -> None:
        self._queue = queue
        self.starter = starter
        self.waiting = 0
        """The requests that wait in this line."""
        self.running = 0
        """The turns that the line has."""
        self.last_turn = 0

    def enter(self) -> None:
        """Count one more request that waits. Raises `ServingError` with `overloaded` if there is no place for it."""
        self._queue.require_place(self.waiting)
        self.waiting += 1
        self._queue.waiting += 1

    def leave(self, count: int = 1) -> None:
        """Count fewer requests that wait."""
        self.waiting -= count
        self._queue.waiting -= count

    def take(self) -> bool:
        """Whether a turn is free, which the line has then. For a line of which nothing waits while one is free."""
        return self._queue.take(self)

    def offer(self) -> None:
        """Begin if a turn is free; the starter has become ready."""
        self._queue.offer(self)

    def give_back(self) -> None:
        """Give a turn back."""
        self._queue.take_back(self)


class Turns:
    """A line whose requests have a turn each, in the order of asking."""

    def __init__(self, queue: ComputeQueue) -> None:
        self._line = Line(queue, self)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """The requests that wait."""
        return self._line.waiting

    @property
    def running(self) -> int:
        """The turns that are taken."""
        return self._line.running

    async def turn(self, until: float) -> None:
        """Wait for a turn. Raises `ServingError`: `overloaded` at once if the queue is full, `late` if there is no turn
        by `until`, a time of the event loop."""
        if self._line.take():
            return
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._line.enter()
        self._waiting.append(turn)
        self._line.offer()
        alarm = loop.call_at(until, self._expire, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave()
            elif turn.exception() is None:  # the turn came in the moment of the cancellation
                self.give_back()
            raise
        finally:
            alarm.cancel()

    def give_back(self) -> None:
        """Give a turn back."""
        self._line.give_back()

    @property
    def is_ready(self) -> bool:
        """Whether a request waits."""
        # One that was cancelled is still counted until its task goes on.
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft()
        return bool(self._waiting)

    def begin(self) -> None:
        """Give the turn to the request that has waited longest. There is one, since `is_ready` was looked at."""
        self._line.leave()
        self._waiting.popleft().set_result(None)

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(ServingError(Reason.LATE, "the request's time was over before its turn came"))
            self._leave()

    def _leave(self) -> None:
        self._line.leave()
        if len(self._waiting) > 2 * self._line.waiting:  # most of them don't wait any more
            self._waiting = deque(turn for turn in self._waiting if not turn.done())
