"""`InferenceService`: the protocol-independent side of a server. Protocols call it in the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wasi_nn.serving.compute_queue import ComputeQueue
from wasi_nn.serving.computes import compute
from wasi_nn.serving.guests.model_registry import ModelRegistry
from wasi_nn.serving.models import VERSION, Model, Models
from wasi_nn.serving.request import InferenceRequest, InferenceResult
from wasi_nn.serving.settings import ServingLimits

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.loading.registry import Registry


class InferenceService:
    """Serves the graphs of a registry, and the guests of its file that serve models, within limits."""

    def __init__(self, registry: Registry, limits: ServingLimits) -> None:
        self.limits = limits
        self.models = Models(ModelRegistry(registry, limits.request_time), limits.request_time)
        self.queue = ComputeQueue(limits.computes, limits.queue)
        self.is_draining = False
        """Whether the server is about to end: balancers should send it no more requests."""

    @property
    def is_ready(self) -> bool:
        """Whether the server takes requests, and all of its models are ready."""
        return not self.is_draining and self.models.are_ready

    def until(self, seconds: float | None) -> float:
        """The end of a request that begins now, on the clock of the event loop; `seconds` is the time that the client
        gives it, None for the server's own limit."""
        longest = self.limits.request_time
        return asyncio.get_running_loop().time() + (longest if seconds is None else min(seconds, longest))

    async def infer(self, request: InferenceRequest) -> InferenceResult:
        """Compute what a request asks for. Cancelling the call ends it, also while it waits. Raises `ServingError`."""
        began = asyncio.get_running_loop().time()
        served = await self.models.served(self.models.find(request.model, request.version), request.until)
        with served.in_use():
            outputs, computed = await compute(self.queue, served, request)
        passed = asyncio.get_running_loop().time() - began
        return InferenceResult(VERSION, outputs, max(0.0, passed - computed), computed)

    async def graph(self, name: str, version: str = "") -> tuple[Model, Graph]:
        """A model and its graph. Raises `ServingError`."""
        model = self.models.find(name, version)
        return model, (await self.models.served(model, self.until(None))).graph
