"""`Job`: work with a graph on a thread, within a time and with a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from wasi_nn.errors import NNError, one_line
from wasi_nn.serving.computing.thread_calls import call_in_thread
from wasi_nn.serving.failures import Reason, ServingError, of_compute

if TYPE_CHECKING:
    from wasi_nn.serving.computing.served_graph import GuardedContext, ServedGraph

_GRACE = 1.0  # seconds between an interruption and giving a compute up
_MOST_ABANDONED = 4  # computes of one graph that don't end: more threads than that aren't lost to it

Result = TypeVar("Result")


def require_free_threads(served: ServedGraph) -> None:
    """Raise `ServingError` with `unavailable` for a graph with too many computes that don't end."""
    if served.abandoned >= _MOST_ABANDONED:
        message = f"{served.abandoned} computes of this graph don't end: it takes no more until one of them does"
        raise ServingError(Reason.UNAVAILABLE, message, retry_after=60)


class Job(Generic[Result]):
    """Work with a context of a graph, on a thread. All methods run in the event loop.

    Its turn is taken already; `give_back` frees it. `ended` gets the result, or the error, at the end or where the work
    is given up. Work whose time is over is interrupted. If it doesn't end then, since its runtime can't be interrupted,
    it is left behind on its thread, and its turn goes to the next request. Raises `ServingError` if no thread can be
    started; the turn is free then, and `ended` isn't called.
    """

    def __init__(
        self,
        give_back: Callable[[], None],
        served: ServedGraph,
        until: float,
        work: Callable[[GuardedContext], Result],
        ended: Callable[[Result | None, ServingError | None], None],
    ) -> None:
        self._give_back = give_back
        self._served = served
        self._tell = ended
        self._loop = asyncio.get_running_loop()
        self._context = served.take_context()
        self._context.guard.run_until = until
        self._is_abandoned = self._has_ended = False
        self.is_stopped = False
        """Whether nobody waits for the work any more."""
        self._use = served.in_use()
        self._use.__enter__()
        try:
            call_in_thread(partial(work, self._context), self._ended)
        except BaseException:
            self._end()
            raise
        self._alarm = self._loop.call_at(until + _GRACE, self._abandon)

    def stop(self) -> None:
        """Interrupt the work, for which nobody waits any more. Without effect on work that has ended or was given up:
        that may have come just before."""
        if self.is_stopped or self._has_ended or self._is_abandoned:
            return
        self.is_stopped = True
        self._context.guard.stop()
        self._alarm.cancel()
        self._alarm = self._loop.call_later(_GRACE, self._abandon)

    def _abandon(self) -> None:
        self._is_abandoned = True
        self._served.abandoned += 1
        self._give_back()
        self._tell(None, late())

    def _end(self) -> None:
        self._use.__exit__(None, None, None)
        if self._is_abandoned:
            self._served.abandoned -= 1
        else:
            self._give_back()

    def _ended(self, result: Result | None, failure: BaseException | None) -> None:
        self._has_ended = True
        self._alarm.cancel()
        error = None if failure is None else serving_error(failure)
        is_late = error is not None and error.reason is Reason.LATE
        if not (self.is_stopped or self._is_abandoned or is_late):
            self._served.put_back(self._context)
        was_abandoned = self._is_abandoned
        self._end()
        if not was_abandoned:
            self._tell(result, error)


def late() -> ServingError:
    """The error for a request whose compute takes too long."""
    return ServingError(Reason.LATE, "the compute didn't end within the request's time")


def serving_error(failure: BaseException) -> ServingError:
    """The error of a request whose compute raised this one."""
    if isinstance(failure, ServingError):
        return failure
    if isinstance(failure, NNError):
        error = of_compute(failure)
        return late() if error.reason is Reason.LATE else error
    return ServingError(Reason.FAILED, f"the compute failed: {one_line(failure)}")
