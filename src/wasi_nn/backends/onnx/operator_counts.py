"""Counts the operators of an ONNX model without ONNX Runtime, also those of subgraphs and of the model's functions.

Field numbers are those of onnx.proto3 (ONNX 1.17).
"""

from __future__ import annotations

from collections import Counter

from wasi_nn.backends.formats.protobuf import FieldReader, Paths, nodes
from wasi_nn.backends.onnx.model import is_onnx

_MAX_FIELDS = 1_000_000
_NODE_OPERATOR, _NODE_DOMAIN = 4, 7
_OWN_DOMAINS = ("", "ai.onnx")

_PATHS_TO_NODES: Paths = {
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
    counts = Counter[str]()
    for node in nodes(FieldReader(_MAX_FIELDS), "model", model, _PATHS_TO_NODES):
        name, domain = (
            bytes(node.get(field, b"")).decode(errors="replace") for field in (_NODE_OPERATOR, _NODE_DOMAIN)
        )
        counts[name if domain in _OWN_DOMAINS else f"{domain}::{name}"] += 1
    return counts
