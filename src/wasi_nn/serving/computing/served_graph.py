"""A graph that is served, with the execution contexts that its computes use again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wasi_nn.graph.execution_context import ExecutionContext
from wasi_nn.limits.compute_guard import ComputeGuard
from wasi_nn.limits.limits import Limits
from wasi_nn.limits.usage import HeldBytes, Usage
from wasi_nn.loading.shared_graph import SharedGraph

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.serving.computing.batching import Batching
    from wasi_nn.serving.computing.computes import Computes


class GuardedContext:
    """An execution context with the guard of its computes. The context is made by the first thread that needs it."""

    def __init__(self, graph: Graph, longest: float) -> None:
        self._graph = graph
        limits = Limits(compute_time=longest, tensor_bytes=None)
        self.guard = ComputeGuard(limits)
        self._held = HeldBytes(Usage(limits))
        self._context: ExecutionContext | None = None

    def context(self) -> ExecutionContext:
        """The context. Raises `NNError` as `Graph.init_execution_context` does."""
        if self._context is None:
            context = self._graph.init_execution_context()
            context.keep_to(self.guard, self._held)
            self._context = context
        return self._context


class ServedGraph:
    """A loaded graph. All methods are called in the event loop.

    The context that was used last is used next, so that there are only as many as run at once. A graph that keeps state
    gets a new context for each compute. `is_ours` is false for a graph that its owner closes. `batching` is None for
    one whose requests are computed one by one.
    """

    def __init__(self, graph: Graph, longest: float, *, is_ours: bool = True, batching: Batching | None = None) -> None:
        self.graph = graph
        self.batching = batching
        self.computes: Computes | None = None
        """What computes the requests, once there was one."""
        self.abandoned = 0
        """The computes that didn't end in their time and still go on."""
        self._longest = longest
        self._is_ours = is_ours
        self._idle: list[GuardedContext] = []
        self._users = 0
        self._is_retired = False

    @property
    def is_lost(self) -> bool:
        """Whether the variables that all requests share are lost with a worker, so that another graph must take this
        one's place."""
        return isinstance(self.graph, SharedGraph) and self.graph.is_lost

    def take_context(self) -> GuardedContext:
        """A context for one compute."""
        return self._idle.pop() if self._idle else GuardedContext(self.graph, self._longest)

    def put_back(self, context: GuardedContext) -> None:
        """Keep a context for a further compute."""
        if not self.graph.keeps_state and not self._is_retired:
            self._idle.append(context)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """During the block, the graph stays open."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self._close_if_unused()

    def retire(self) -> None:
        """Close the graph as soon as no request uses it."""
        self._is_retired = True
        self._idle.clear()
        self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._is_retired and not self._users and self._is_ours:
            self.graph.close()
