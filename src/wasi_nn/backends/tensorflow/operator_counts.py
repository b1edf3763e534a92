"""Counts the operations of a TensorFlow graph without TensorFlow, also those of its functions.

Field numbers are those of TensorFlow's saved_model.proto, meta_graph.proto, graph.proto, function.proto and
node_def.proto.
"""

from __future__ import annotations

from collections import Counter

from wasi_nn.backends.formats.protobuf import FieldReader, Paths, nodes
from wasi_nn.backends.tensorflow.model import is_graph_def, is_saved_model

_MAX_FIELDS = 1_000_000
_NODE_OP = 2

_PATHS_TO_NODES: Paths = {
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
    found = nodes(FieldReader(_MAX_FIELDS), kind, model, _PATHS_TO_NODES)
    return Counter(bytes(node[_NODE_OP]).decode(errors="replace") for node in found if _NODE_OP in node)
