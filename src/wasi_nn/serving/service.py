"""`InferenceService`: the protocol-independent side of a server. Protocols call it in the event loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from wasi_nn.serving.computing.batches import BatchComputes
from wasi_nn.serving.computing.compute_queue import ComputeQueue
from wasi_nn.serving.computing.computes import Computes, SingleComputes
from wasi_nn.serving.computing.executions import Execution
from wasi_nn.serving.guests.model_registry import ModelRegistry
from wasi_nn.serving.models import VERSION, Model, Models
from wasi_nn.serving.observing.timeline import note_stage, stage
from wasi_nn.serving.request import InferenceRequest, InferenceResult
from wasi_nn.serving.settings import ServingLimits

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.loading.registry import Registry
    from wasi_nn.serving.computing.served_graph import ServedGraph


class InferenceService:
    """Serves the graphs of a registry, and the guests of its file that serve models, within limits."""

    def __init__(self, registry: Registry, limits: ServingLimits) -> None:
        self.limits = limits
        self.models = Models(ModelRegistry(registry, limits.request_time), limits.request_time)
        self.queue = ComputeQueue(limits.computes, limits.total_queue, limits.queue)
        self.watchers: list[Callable[[str, Execution], object]] = []
        """Called after each execution of a graph that computes in batches, with the name of its model."""
        self.is_draining = False
        """Whether the server is about to end: balancers should send it no more requests."""
        self.is_starting = False
        """Whether the guests that answer HTTP requests are being compiled for the first time."""

    @property
    def is_ready(self) -> bool:
        """Whether the server takes requests, all of its models are ready, and its guests over HTTP are or failed."""
        return not self.is_draining and not self.is_starting and self.models.are_ready

    def until(self, seconds: float | None) -> float:
        """The end of a request that begins now, on the clock of `time.monotonic`; `seconds` is the time that the client
        gives it, None for the server's own limit."""
        longest = self.limits.request_time
        return time.monotonic() + (longest if seconds is None else min(seconds, longest))

    @contextmanager
    def reading(self, name: str, version: str) -> Iterator[None]:
        """A block that reads a request to a model. One that is refused there counts as one of the model's that failed.
        Raises `ServingError` if there is no such model."""
        model, began = self.models.find(name, version), time.monotonic()
        try:
            yield
        except BaseException:
            model.statistics.failed(began, time.monotonic())
            raise

    async def infer(self, request: InferenceRequest) -> InferenceResult:
        """Compute what a request asks for. Cancelling the call ends it, also while it waits. Raises `ServingError`."""
        began = time.monotonic()
        model = self.models.find(request.model, request.version)
        try:
            with stage("load"):
                served = await self.models.served(model, request.until)
            asked = time.monotonic()
            with served.in_use():
                computed = await self._computes(model, served).compute(request)
        except BaseException:
            model.statistics.failed(began, time.monotonic())
            raise
        ended = time.monotonic()
        model.statistics.succeeded(began, ended, computed.execution)
        _note_stages(asked, computed.execution)
        seconds = computed.execution.seconds
        return InferenceResult(VERSION, computed.outputs, max(0.0, ended - began - seconds), seconds)

    def _computes(self, model: Model, served: ServedGraph) -> Computes:
        if served.computes is None:
            if served.batching is None:
                served.computes = SingleComputes(self.queue, served, model.statistics.executed)
            else:
                served.computes = BatchComputes(
                    self.queue, served, served.batching, partial(self._executed_batch, model)
                )
        return served.computes

    def _executed_batch(self, model: Model, execution: Execution) -> None:
        model.statistics.executed(execution)
        for watch in self.watchers:
            watch(model.name, execution)

    async def served(self, name: str, version: str = "") -> tuple[Model, ServedGraph]:
        """A model and its graph as it is served. Raises `ServingError`."""
        model = self.models.find(name, version)
        return model, await self.models.served(model, self.until(None))

    async def graph(self, name: str, version: str = "") -> tuple[Model, Graph]:
        """A model and its graph. Raises `ServingError`."""
        model, served = await self.served(name, version)
        return model, served.graph


def _note_stages(asked: float, execution: Execution) -> None:
    """Note the stages of a request: its time in the queue, and the parts of the execution that it was in."""
    note_stage("queue", asked, execution.began)
    parts = (
        ("inputs", execution.input_seconds),
        ("compute", execution.run_seconds),
        ("outputs", execution.output_seconds),
    )
    began = execution.began
    for name, seconds in parts:
        note_stage(name, began, began + seconds, lambda: {"requests": execution.requests, "rows": execution.rows})
        began += seconds
