"""Runs the computes of requests on threads, each within the time of its request."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

from wasi_nn.errors import NNError, one_line
from wasi_nn.serving.compute_queue import ComputeQueue
from wasi_nn.serving.failures import Reason, ServingError, of_compute
from wasi_nn.serving.fitting import graph_inputs, wanted_outputs
from wasi_nn.serving.request import InferenceRequest, NamedArrays
from wasi_nn.serving.thread_calls import call_in_thread
from wasi_nn.serving.timeline import stage

if TYPE_CHECKING:
    from wasi_nn.serving.served_graph import GuardedContext, ServedGraph

_GRACE = 1.0  # seconds between an interruption and giving a compute up
_MOST_ABANDONED = 4  # computes of one graph that don't end: more threads than that aren't lost to it

Computed = tuple[NamedArrays, float]
"""The outputs, and the seconds that the compute took."""


async def compute(queue: ComputeQueue, served: ServedGraph, request: InferenceRequest) -> Computed:
    """The outputs that a request asks for, once it has had its turn.

    A compute whose time is over, or whose request is cancelled, is interrupted. One that doesn't end then, since its
    runtime can't be interrupted, is left behind on its thread, and its turn goes to the next request. Raises
    `ServingError`.
    """
    if served.abandoned >= _MOST_ABANDONED:
        message = f"{served.abandoned} computes of this graph don't end: it takes no more until one of them does"
        raise ServingError(Reason.UNAVAILABLE, message, retry_after=60)
    with stage("queue"):
        await queue.turn(request.until)
    with stage("compute") as computing:
        job = _Job(queue, served, request)
        try:
            computed = await job.outcome
        except asyncio.CancelledError:
            job.stop()
            raise
        computing.tell(lambda: {"seconds": computed[1]})
        return computed


class _Job:
    """One compute with its turn, on a thread. All methods but `_work` run in the event loop."""

    def __init__(self, queue: ComputeQueue, served: ServedGraph, request: InferenceRequest) -> None:
        self._queue = queue
        self._served = served
        self._request = request
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Computed] = self._loop.create_future()
        self._context = served.take_context()
        self._context.guard.run_until = request.until
        self._is_stopped = self._is_abandoned = False
        self._use = served.in_use()
        self._use.__enter__()
        try:
            call_in_thread(partial(_work, self._context, request), self._ended)
        except BaseException:
            self._end()
            raise
        self._alarm = self._loop.call_at(request.until + _GRACE, self._abandon)

    def stop(self) -> None:
        """Interrupt the compute, which nobody waits for any more."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._context.guard.stop()
        self._alarm.cancel()
        self._alarm = self._loop.call_later(_GRACE, self._abandon)

    def _abandon(self) -> None:
        self._is_abandoned = True
        self._served.abandoned += 1
        self._queue.give_back()
        if not self.outcome.done():
            self.outcome.set_exception(_late())

    def _end(self) -> None:
        self._use.__exit__(None, None, None)
        if self._is_abandoned:
            self._served.abandoned -= 1
        else:
            self._queue.give_back()

    def _ended(self, computed: Computed | None, failure: BaseException | None) -> None:
        self._alarm.cancel()
        error = None if failure is None else _serving_error(failure)
        is_late = error is not None and error.reason is Reason.LATE
        if not (self._is_stopped or self._is_abandoned or is_late):
            self._served.put_back(self._context)
        self._end()
        if self.outcome.done():
            return
        if error is not None:
            self.outcome.set_exception(_late() if is_late else error)
        elif computed is not None:
            self.outcome.set_result(computed)


def _work(guarded: GuardedContext, request: InferenceRequest) -> Computed:
    began = time.monotonic()
    context = guarded.context()
    outputs = wanted_outputs(
        context.graph, request.outputs, context.compute_named(graph_inputs(context.graph, request))
    )
    return outputs, time.monotonic() - began


def _late() -> ServingError:
    return ServingError(Reason.LATE, "the compute didn't end within the request's time")


def _serving_error(failure: BaseException) -> ServingError:
    if isinstance(failure, ServingError):
        return failure
    if isinstance(failure, NNError):
        return of_compute(failure)
    return ServingError(Reason.FAILED, f"the compute failed: {one_line(failure)}")
