"""Small TensorFlow Lite models for the tests, built with LiteRT's own schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from wasi_nn import TensorType

ELEMENTS = {
    TensorType.F16: schema.TensorType.FLOAT16,
    TensorType.BF16: schema.TensorType.BFLOAT16,
    TensorType.F32: schema.TensorType.FLOAT32,
    TensorType.F64: schema.TensorType.FLOAT64,
    TensorType.U8: schema.TensorType.UINT8,
    TensorType.I32: schema.TensorType.INT32,
    TensorType.I64: schema.TensorType.INT64,
}
INT8, STRING = schema.TensorType.INT8, schema.TensorType.STRING
CAST, RELU, ADD = schema.BuiltinOperator.CAST, schema.BuiltinOperator.RELU, schema.BuiltinOperator.ADD

Signatures = Mapping[str, tuple[Mapping[str, int], Mapping[str, int]]]


def tensor(name: str, element: int, dims: Sequence[int], scale: float = 0, zero_point: int = 0) -> Any:
    """A tensor; -1 stands for a dynamic dimension."""
    it = schema.TensorT()
    it.name, it.type = name.encode(), element
    it.shape = np.array([max(dim, 1) for dim in dims], np.int32)
    if -1 in dims:
        it.shapeSignature = np.array(dims, np.int32)
    if scale:
        it.quantization = schema.QuantizationParametersT()
        it.quantization.scale, it.quantization.zeroPoint = (
            np.array([scale], np.float32),
            np.array([zero_point], np.int64),
        )
    return it


def build(
    tensors: Sequence[Any],
    operators: Sequence[tuple[int, Sequence[int], Sequence[int]]],
    inputs: Sequence[int],
    outputs: Sequence[int],
    signatures: Signatures | None = None,
) -> bytes:
    """A model's bytes: tensors, operators over the tensors' indexes, and named signatures of the only graph."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.buffers, model.subgraphs = 3, b"test", [schema.BufferT()], [graph]
    graph.tensors, graph.inputs, graph.outputs = tensors, np.array(inputs, np.int32), np.array(outputs, np.int32)
    model.operatorCodes, graph.operators, model.signatureDefs = [], [], []
    for place, (code, ins, outs) in enumerate(operators):
        operator_code, operator = schema.OperatorCodeT(), schema.OperatorT()
        operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
        operator_code.version = 1
        operator.opcodeIndex, operator.inputs, operator.outputs = (
            place,
            np.array(ins, np.int32),
            np.array(outs, np.int32),
        )
        model.operatorCodes.append(operator_code)
        graph.operators.append(operator)
    for key, (ins_by_name, outs_by_name) in (signatures or {}).items():
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = key.encode(), 0
        signature.inputs, signature.outputs = _mapped(ins_by_name), _mapped(outs_by_name)
        model.signatureDefs.append(signature)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _mapped(names: Mapping[str, int]) -> list[Any]:
    maps = []
    for name, index in names.items():
        it = schema.TensorMapT()
        it.name, it.tensorIndex = name.encode(), index
        maps.append(it)
    return maps


def identity(kind: TensorType, dims: Sequence[int] = (4,), signature: bool = False) -> bytes:
    """y = x. With a signature, the tensors are named in and out."""
    signatures = {"serving_default": ({"in": 0}, {"out": 1})} if signature else None
    tensors = [tensor("x", ELEMENTS[kind], dims), tensor("y", ELEMENTS[kind], dims)]
    return build(tensors, [(CAST, [0], [1])], [0], [1], signatures)


def relu(dims: Sequence[int] = (4,)) -> bytes:
    """y = max(x, 0), in f32."""
    f32 = ELEMENTS[TensorType.F32]
    return build([tensor("x", f32, dims), tensor("y", f32, dims)], [(RELU, [0], [1])], [0], [1])
