"""Computes the requests of a graph, each by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from wasi_nn.serving.computing.compute_queue import ComputeQueue, Turns
from wasi_nn.serving.computing.executions import Computed, Execution
from wasi_nn.serving.computing.fitting import graph_inputs, wanted_outputs
from wasi_nn.serving.computing.jobs import Job, require_free_threads

if TYPE_CHECKING:
    from wasi_nn.serving.computing.served_graph import GuardedContext, ServedGraph
    from wasi_nn.serving.failures import ServingError
    from wasi_nn.serving.request import InferenceRequest

Executed = Callable[[Execution], object]
"""Called in the event loop after each execution of a graph."""


class Computes(Protocol):
    """Computes the requests of one graph, in turns of a queue."""

    async def compute(self, request: InferenceRequest) -> Computed:
        """The outputs that a request asks for. Cancelling the call ends the work for it. Raises `ServingError`."""


class SingleComputes:
    """Computes the requests of one graph one by one."""

    def __init__(self, queue: ComputeQueue, served: ServedGraph, executed: Executed) -> None:
        self._turns = Turns(queue)
        self._served = served
        self._executed = executed

    async def compute(self, request: InferenceRequest) -> Computed:
        """The outputs that a request asks for, as `Computes.compute` gives them."""
        require_free_threads(self._served)
        await self._turns.turn(request.until)
        outcome: asyncio.Future[Computed] = asyncio.get_running_loop().create_future()

        def ended(computed: Computed | None, error: ServingError | None) -> None:
            if outcome.done():
                return
            if error is not None:
                outcome.set_exception(error)
            elif computed is not None:
                self._executed(computed.execution)
                outcome.set_result(computed)

        job = Job(self._turns.give_back, self._served, request.until, partial(_work, request), ended)
        try:
            return await outcome
        except asyncio.CancelledError:
            job.stop()
            raise


def _work(request: InferenceRequest, guarded: GuardedContext) -> Computed:
    began = time.monotonic()
    context = guarded.context()
    inputs = graph_inputs(context.graph, request)
    ready = time.monotonic()
    outputs = context.compute_named(inputs)
    computed = time.monotonic()
    wanted = wanted_outputs(context.graph, request.outputs, outputs)
    execution = Execution(1, 1, began, ready - began, computed - ready, time.monotonic() - computed)
    return Computed(wanted, execution)
