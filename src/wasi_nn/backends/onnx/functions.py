"""The functions of an ONNX model, and what they call: ONNX Runtime puts them into the places of their calls when it
loads it. Field numbers are those of onnx.proto3 (ONNX 1.17).
"""

from __future__ import annotations

from collections import Counter

from wasi_nn.backends.formats.call_bounds import require_bounded
from wasi_nn.backends.formats.protobuf import fields

_MAX_FIELDS = 2_000_000

_MODEL_GRAPH, _MODEL_FUNCTION = 7, 25
_GRAPH_NODE = 1
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN = 1, 7, 10
_NODE_OPERATION, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 6, 11

_Name = tuple[bytes, bytes]  # a domain, and an operation of it


def require_bounded_functions(model: bytes) -> None:
    """Raise `NNError` with `too-large` for a model whose functions make too many nodes of it, and `ValueError` for one
    that is malformed, or whose functions call each other in a circle."""
    reader = _Reader()
    parts = reader.messages(memoryview(model))
    functions: dict[_Name, Counter[_Name]] = {}
    for function in (value for number, value in parts if number == _MODEL_FUNCTION):
        inside = reader.messages(function)
        nodes = [value for number, value in inside if number == _FUNCTION_NODE]
        functions.setdefault(_name(inside, _FUNCTION_DOMAIN, _FUNCTION_NAME), Counter()).update(reader.calls(nodes))
    if functions:
        graphs = [value for number, value in parts if number == _MODEL_GRAPH]
        require_bounded(functions, reader.calls([node for graph in graphs for node in reader.nodes_of(graph)]))


def _name(parts: list[tuple[int, memoryview]], domain: int, name: int) -> _Name:
    last = dict(parts)
    return bytes(last.get(domain, b"")), bytes(last.get(name, b""))


class _Reader:
    """Reads messages until they are too many."""

    def __init__(self) -> None:
        self._left = _MAX_FIELDS

    def messages(self, message: memoryview) -> list[tuple[int, memoryview]]:
        """The fields of a message that are bytes or messages."""
        found = []
        for number, value in fields(message):
            self._left -= 1
            if self._left < 0:
                raise ValueError("too many fields")
            if not isinstance(value, int):
                found.append((number, value))
        return found

    def nodes_of(self, graph: memoryview) -> list[memoryview]:
        """A graph's own nodes."""
        return [value for number, value in self.messages(graph) if number == _GRAPH_NODE]

    def calls(self, nodes: list[memoryview]) -> Counter[_Name]:
        """How often nodes, and those in their subgraphs, call each operation."""
        found: Counter[_Name] = Counter()
        todo = list(nodes)
        while todo:
            parts = self.messages(todo.pop())
            found[_name(parts, _NODE_DOMAIN, _NODE_OPERATION)] += 1
            for attribute in (value for number, value in parts if number == _NODE_ATTRIBUTE):
                for number, graph in self.messages(attribute):
                    if number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                        todo += self.nodes_of(graph)
        return found
