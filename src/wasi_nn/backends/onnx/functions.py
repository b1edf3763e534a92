"""Bounds the functions of an ONNX model: ONNX Runtime replaces each call by the function's nodes as it loads the model.

Field numbers are those of onnx.proto3 (ONNX 1.17).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from wasi_nn.backends.formats.call_bounds import require_bounded
from wasi_nn.backends.formats.protobuf import FieldReader

_MAX_FIELDS = 6_000_000  # a field that is read several times counts each time
_MAX_NESTING = 1000

_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE = 1
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN = 1, 7, 10
_NODE_OPERATION, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11

_Name = tuple[bytes, bytes]  # a domain, and an operation of it


def require_bounded_functions(model: bytes) -> None:
    """Raise `NNError` with `too-large` if a model has too many nodes once its calls are replaced, and `ValueError` if
    it is malformed or its functions call each other in a circle."""
    reader = _FunctionReader(_MAX_FIELDS)
    functions: dict[_Name, Counter[_Name]] = {}
    for function in reader.messages(memoryview(model), _MODEL_FUNCTION):
        nodes = reader.messages(function, _FUNCTION_NODE)
        functions.setdefault(reader.name(function, _FUNCTION_DOMAIN, _FUNCTION_NAME), Counter()).update(
            reader.calls(nodes)
        )
    if functions:
        graphs = reader.messages(memoryview(model), _MODEL_GRAPH)
        require_bounded(
            functions, reader.calls(node for graph in graphs for node in reader.messages(graph, _GRAPH_NODE))
        )


class _FunctionReader(FieldReader):
    """Reads the calls of nodes."""

    def name(self, message: memoryview, domain: int, name: int) -> _Name:
        """The domain and the name of a message."""
        return self.last(message, domain), self.last(message, name)

    def calls(self, nodes: Iterator[memoryview]) -> Counter[_Name]:
        """How often nodes, and those in their subgraphs, call each operation."""
        counts: Counter[_Name] = Counter()
        todo = [nodes]
        while todo:
            node = next(todo[-1], None)
            if node is None:
                todo.pop()
                continue
            counts[self.name(node, _NODE_DOMAIN, _NODE_OPERATION)] += 1
            todo.append(self._nodes_in(node))
            if len(todo) > _MAX_NESTING:
                raise ValueError("its subgraphs are nested too deep")
        return counts

    def _nodes_in(self, node: memoryview) -> Iterator[memoryview]:
        """The nodes of a node's subgraphs, but not those in these."""
        for attribute in self.messages(node, _NODE_ATTRIBUTE):
            for graph in self.messages(attribute, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                yield from self.messages(graph, _GRAPH_NODE)
