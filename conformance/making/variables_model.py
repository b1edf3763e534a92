"""A model with variables: a sum of two numbers that one signature adds to, and another one reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

DIMS = [2]
FIRST = np.array([10, 20], np.float32)
"""The sum at first."""


class _Graphs:
    """A model in TensorFlow Lite that is being written, graph by graph."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, b"case"
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.model.subgraphs, self.model.signatureDefs = [], []

    def graph(self, name: str) -> None:
        """Begin another graph."""
        graph = self.schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = name.encode(), [], []
        graph.inputs = graph.outputs = np.array([], np.int32)
        self.model.subgraphs.append(graph)

    def tensor(self, name: str, content: Any = None, kind: int | None = None) -> int:
        """Add a tensor, maybe a constant; f32 where no kind is given. Returns its number."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.buffer = name.encode(), 0
        tensor.type = self.schema.TensorType.FLOAT32 if kind is None else kind
        tensor.shape = np.array(DIMS if kind is None else [], np.int32)
        if content is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(content.tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        tensors = self.model.subgraphs[-1].tensors
        tensors.append(tensor)
        return len(tensors) - 1

    def run(self, operation: str, takes: list[int], makes: list[int], options: Any = None, kind: int = 0) -> None:
        """Add an operator."""
        code, operator = self.schema.OperatorCodeT(), self.schema.OperatorT()
        number = getattr(self.schema.BuiltinOperator, operation)
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, min(number, 127), 1
        operator.opcodeIndex = len(self.model.operatorCodes)
        operator.inputs, operator.outputs = np.array(takes, np.int32), np.array(makes, np.int32)
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.model.operatorCodes.append(code)
        self.model.subgraphs[-1].operators.append(operator)

    def sum(self) -> int:
        """The handle of the variable."""
        options = self.schema.VarHandleOptionsT()
        options.container, options.sharedName = b"", b"sum"
        handle = self.tensor("handle", kind=self.schema.TensorType.RESOURCE)
        self.run("VAR_HANDLE", [], [handle], options, self.schema.BuiltinOptions.VarHandleOptions)
        return handle

    def begin_by(self, graph: int) -> None:
        """Run another graph first, once for a set of variables."""
        options = self.schema.CallOnceOptionsT()
        options.initSubgraphIndex = graph
        self.run("CALL_ONCE", [], [], options, self.schema.BuiltinOptions.CallOnceOptions)

    def signature(self, name: str, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> None:
        """Make the last graph a signature."""
        graph = self.model.subgraphs[-1]
        graph.inputs = np.array(list(inputs.values()), np.int32)
        graph.outputs = np.array(list(outputs.values()), np.int32)
        made = self.schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = name.encode(), len(self.model.subgraphs) - 1
        made.inputs, made.outputs = (
            [self.schema.TensorMapT(key.encode(), place) for key, place in ports.items()] for ports in (inputs, outputs)
        )
        self.model.signatureDefs.append(made)


def sums() -> bytes:
    """The model. `get`: y = the sum. `increase`: y = the sum, after x was added."""
    import flatbuffers

    g = _Graphs()
    g.graph("get")
    g.begin_by(2)
    y = g.tensor("y")
    g.run("READ_VARIABLE", [g.sum()], [y])
    g.signature("get", {}, {"y": y})
    g.graph("increase")
    g.begin_by(2)
    x, before, y, handle = g.tensor("x"), g.tensor("before"), g.tensor("y"), g.sum()
    g.run("READ_VARIABLE", [handle], [before])
    g.run("ADD", [before, x], [y], g.schema.AddOptionsT(), g.schema.BuiltinOptions.AddOptions)
    g.run("ASSIGN_VARIABLE", [handle, y], [])
    g.signature("increase", {"x": x}, {"y": y})
    g.graph("begin")
    g.run("ASSIGN_VARIABLE", [g.sum(), g.tensor("first", FIRST)], [])
    builder = flatbuffers.Builder(1024)
    builder.Finish(g.model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
