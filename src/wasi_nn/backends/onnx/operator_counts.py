"""Counts the operators of an ONNX model without ONNX Runtime, also those of subgraphs and of the model's functions.

Field numbers are those of onnx.proto3 (ONNX 1.17).
"""

from __future__ import annotations

from collections import Counter

from wasi_nn.backends.formats.protobuf import FieldReader
from wasi_nn.backends.onnx.model import is_onnx

_MAX_FIELDS = 1_000_000
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
_OWN_DOMAINS = ("", "ai.onnx")

# The fields of each message that lead to nodes.
_PATHS_TO_NODES = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node"},
    "node": {5: "attribute"},
    "attribute": {6: "graph", 11: "graph"},
}


def onnx_operators(model: memoryview) -> Counter[str] | None:
    """How often each operator occurs, by its name, with its domain before it if that isn't ONNX's own; None for bytes
    that are no ONNX model. Raises `ValueError` for a malformed model or one that is too large to look through."""
    if not is_onnx(model):
        return None
    reader, counts = FieldReader(_MAX_FIELDS), Counter[str]()
    todo = [("model", model)]
    while todo:
        kind, message = todo.pop()
        paths, name, domain = _PATHS_TO_NODES[kind], "", ""
        for number, value in reader.fields(message):
            if isinstance(value, int):
                continue
            if number in paths:
                todo.append((paths[number], value))
            elif kind == "node" and number == _NODE_OPERATOR:
                name = bytes(value).decode(errors="replace")
            elif kind == "node" and number == _NODE_DOMAIN:
                domain = bytes(value).decode(errors="replace")
        if kind == "node":
            counts[name if domain in _OWN_DOMAINS else f"{domain}::{name}"] += 1
    return counts
