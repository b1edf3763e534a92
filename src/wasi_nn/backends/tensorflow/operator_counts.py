"""Counts the operations of a TensorFlow graph without TensorFlow, also those of its functions.

Field numbers are those of TensorFlow's saved_model.proto, meta_graph.proto, graph.proto, function.proto and
node_def.proto.
"""

from __future__ import annotations

from collections import Counter

from wasi_nn.backends.formats.protobuf import FieldReader
from wasi_nn.backends.tensorflow.model import is_graph_def, is_saved_model

_MAX_FIELDS = 1_000_000
_NODE_OP = 2

# The fields of each message that lead to nodes.
_PATHS_TO_NODES = {
    "saved model": {2: "meta graph"},
    "meta graph": {2: "graph"},
    "graph": {1: "node", 2: "library"},
    "library": {1: "function"},
    "function": {3: "node"},
    "node": {},
}


def tensorflow_operators(model: memoryview) -> Counter[str] | None:
    """How often each operation occurs, by its name; None for bytes that are neither a SavedModel's protobuf nor a
    GraphDef. Raises `ValueError` for a malformed model or one that is too large to look through."""
    kind = "saved model" if is_saved_model(model) else "graph" if is_graph_def(model) else None
    if kind is None:
        return None
    reader, counts = FieldReader(_MAX_FIELDS), Counter[str]()
    todo = [(kind, model)]
    while todo:
        kind, message = todo.pop()
        paths = _PATHS_TO_NODES[kind]
        for number, value in reader.fields(message):
            if isinstance(value, int):
                continue
            if number in paths:
                todo.append((paths[number], value))
            elif kind == "node" and number == _NODE_OP:
                counts[bytes(value).decode(errors="replace")] += 1
    return counts
