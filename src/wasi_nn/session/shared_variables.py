"""The sets of variables that a guest's graphs share."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import finalize

from wasi_nn.limits.timed_load import load_within

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.graph.variables import Variables
    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.limits.usage import Usage


class SharedVariables:
    """One set for each graph of which the guest asked for another signature or for the variables, by the handle.

    The bytes of a set count as `model_bytes` as long as a graph or a context has it.
    """

    def __init__(self, usage: Usage, guard: ComputeGuard) -> None:
        self._usage, self._guard = usage, guard
        self._sets: dict[int, Variables] = {}

    def of(self, handle: int, graph: Graph) -> Variables:
        """The set of a graph; a new one at the first call. Raises `NNError`: `unsupported-operation` where the model
        has no variables and no other signatures, `too-large` and `timeout` by the limits."""
        shared = self._sets.get(handle)
        if shared is None:
            graph.require_usable()
            shared = load_within(self._usage, self._guard, {}, graph.variables)
            self._usage.take("model_bytes", shared.nbytes)
            finalize(shared, self._usage.give_back, "model_bytes", shared.nbytes).atexit = False
            self._sets[handle] = shared
        return shared

    def share(self, handle: int, shared: Variables) -> None:
        """Note that the graph behind a handle has this set."""
        self._sets[handle] = shared

    def graph_for(self, handle: int, graph: Graph) -> Graph:
        """The graph for a new context: with the shared variables if the graph has a set, else the graph itself."""
        shared = self._sets.get(handle)
        return graph if shared is None else shared.graph(graph.signature)

    def forget(self, handle: int) -> None:
        """A graph's handle was removed. Its contexts keep the set."""
        self._sets.pop(handle, None)

    def clear(self) -> None:
        """All handles were removed."""
        self._sets.clear()
