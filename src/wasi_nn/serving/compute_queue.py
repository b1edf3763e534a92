"""The queue of the requests that wait for a compute."""

from __future__ import annotations

import asyncio
from collections import deque

from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.settings import how_to_raise


class ComputeQueue:
    """Gives turns, at most so many at once, in the order of asking. All of it runs in the event loop."""

    def __init__(self, turns: int, longest: int) -> None:
        self._free = turns
        self._longest = longest
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._left = 0  # of those in `_waiting`, the ones that don't wait any more
        self.running = 0
        """The turns that are taken."""

    @property
    def waiting(self) -> int:
        """The requests that wait."""
        return len(self._waiting) - self._left

    async def turn(self, until: float) -> None:
        """Wait for a turn. Raises `ServingError`: `overloaded` at once if the queue is full, `late` if there is no turn
        by `until`, a time of the event loop."""
        if self._free:
            self._free -= 1
            self.running += 1
            return
        if self.waiting >= self._longest:
            message = f"{self._longest} requests wait already ({how_to_raise('queue')})"
            raise ServingError(Reason.OVERLOADED, message, retry_after=1)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        alarm = loop.call_at(until, self._expire, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.give_back()  # it came in the moment of the cancellation
            elif turn.cancelled():
                self._leave()
            raise
        finally:
            alarm.cancel()

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(ServingError(Reason.LATE, "the request's time was over before its turn came"))
            self._leave()

    def _leave(self) -> None:
        self._left += 1
        if 2 * self._left > len(self._waiting):
            self._waiting = deque(turn for turn in self._waiting if not turn.done())
            self._left = 0

    def give_back(self) -> None:
        """Give a turn to the next request, or keep it for one that comes."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
            self._left -= 1
        self.running -= 1
        self._free += 1
