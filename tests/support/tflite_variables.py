"""TensorFlow Lite models with variables, built by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from hostile_tflite import F32, OPERATION, RESOURCE, Model


class Variable:
    """A variable of a model: its name, type and initial values. Without values, nothing initialises it."""

    def __init__(
        self, name: str, values: Any = None, element: int = F32, container: str = "", read_as: int | None = None
    ) -> None:
        self.name, self.container, self.element = name, container, element
        self.values = None if values is None else np.asarray(values, np.float32 if element == F32 else None)
        self.read_as = element if read_as is None else read_as


def handle(model: Model, variable: Variable) -> int:
    tensor = model.tensor([], RESOURCE)
    options = schema.VarHandleOptionsT()
    options.container, options.sharedName = variable.container.encode(), variable.name.encode()
    model.run(OPERATION.VAR_HANDLE, [], [tensor], options, schema.BuiltinOptions.VarHandleOptions)
    return tensor


def call_once(model: Model, graph: int) -> None:
    options = schema.CallOnceOptionsT()
    options.initSubgraphIndex = graph
    model.run(OPERATION.CALL_ONCE, [], [], options, schema.BuiltinOptions.CallOnceOptions)


def sign(model: Model, name: str, graph: int, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
    it = schema.SignatureDefT()
    it.signatureKey, it.subgraphIndex = name.encode(), graph
    it.inputs, it.outputs = (
        [schema.TensorMapT(key.encode(), place) for key, place in ports.items()] for ports in (inputs, outputs)
    )
    model.it.signatureDefs = [*(model.it.signatureDefs or []), it]


def swapping(*variables: Variable, signatures: Sequence[str] = ("read", "swap")) -> Model:
    """The first signature gives variable 0, the second one sets it to `x` and gives its value before."""
    model, first = Model(), variables[0]
    assert first.values is not None
    dims = first.values.shape
    for graph, name in enumerate(signatures or ("", "")):
        if graph:
            model.graph()
        call_once(model, 2)
        x, y, variable = model.tensor(dims), model.tensor(dims), handle(model, first)
        model.run(OPERATION.READ_VARIABLE, [variable], [y])
        if graph:
            model.run(OPERATION.ASSIGN_VARIABLE, [variable, x], [])
        for other in variables[1:]:
            if other.values is None or other.read_as != other.element:
                model.run(OPERATION.READ_VARIABLE, [handle(model, other)], [model.tensor([1], other.read_as)])
        model.ports([x], [y])
        if name:
            sign(model, name, graph, {"x": x}, {"y": y})
    model.graph()
    for it in variables:
        if it.values is not None:
            value = model.tensor(it.values.shape, it.element, it.values.tobytes())
            model.run(OPERATION.ASSIGN_VARIABLE, [handle(model, it), value], [])
    return model
