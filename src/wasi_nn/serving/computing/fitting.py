"""Fits the arrays of a request to a graph, and the outputs of a graph to a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.fitting import find
from wasi_nn.graph.guest_types import is_text
from wasi_nn.serving.request import InferenceRequest, NamedArrays

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.types import Array


def graph_inputs(graph: Graph, request: InferenceRequest) -> list[tuple[str, Array]]:
    """The inputs as the graph takes them: one string for an input of bytes becomes these bytes. Raises `NNError` with
    `invalid-argument`."""
    for name in request.outputs:  # before the compute
        if not graph.outputs_vary:
            find(graph.outputs, name, "output")
    return [(name, _for_graph(graph, name, array)) for name, array in request.inputs]


def _for_graph(graph: Graph, name: str, array: Array) -> Array:
    if array.dtype != object:
        return array
    info = graph.inputs[find(graph.inputs, name, "input")]
    if info.opaque:
        if array.size != 1:
            message = f"input {name!r} takes one string of bytes, got {array.size}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        return np.frombuffer(array.item(), np.uint8)
    if not is_text(info):
        message = f"input {name!r} is {info.type_name}, got strings"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return array


def wanted_outputs(graph: Graph, names: Sequence[str], outputs: Sequence[tuple[str, Array]]) -> NamedArrays:
    """The outputs of these names, in their order and by these names, which may be aliases; all for no names. Raises
    `NNError` with `invalid-argument` for a name that no output has."""
    if not names:
        return outputs
    if not graph.outputs_vary:
        return [(name, outputs[find(graph.outputs, name, "output")][1]) for name in names]
    arrays = dict(outputs)
    for name in names:
        if name not in arrays:
            there = ", ".join(map(repr, arrays))
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no output is named {name!r}; this compute gave {there}")
    return [(name, arrays[name]) for name in names]
