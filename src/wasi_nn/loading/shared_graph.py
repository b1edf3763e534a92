"""Named graphs whose variables all guests share, because the operator says so (`NamedGraph.share_variables`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasi_nn.graph.graph import Graph
from wasi_nn.graph.variables import OtherVariables, Variables

if TYPE_CHECKING:
    from wasi_nn.graph.runner import RunFunction, Runner


class SharedGraph(Graph):
    """A graph on one set of its variables, which every context has, whoever makes the context: `variables` gives this
    set too. Raises `NNError` with `unsupported-operation` for a graph without variables."""

    def __init__(self, graph: Graph) -> None:
        self._set = graph.variables()
        self._graph = on_set = self._set.graph(graph.signature)
        super().__init__(on_set.inputs, on_set.outputs, on_set.metadata)
        self.take_after(on_set)
        self.runtime = on_set.runtime or graph.runtime

    @property
    def is_lost(self) -> bool:
        """Whether the set is lost: another graph must take this one's place."""
        return self._set.is_lost

    def configured(self, config: memoryview) -> Graph:
        configured = self._graph.configured(config)
        return self if configured is self._graph else configured

    def variables(self) -> Variables:
        return _OfAll(self._set)

    def runner(self) -> Runner | RunFunction:
        return self._graph.runner()


class _OfAll(OtherVariables):
    """The set of all guests, for one of them: it takes no memory beside what the named graph takes, and so it counts
    for no guest."""
