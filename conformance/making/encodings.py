"""Writes models as ONNX, OpenVINO IR and TensorFlow Lite."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from conformance.making.models import Model, Tensor

Files = Mapping[str, bytes]
"""The files of a model by name, in the order of its builders."""


def onnx(model: Model) -> Files:
    """An ONNX model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    elements = {
        "f16": TensorProto.FLOAT16,
        "f32": TensorProto.FLOAT,
        "f64": TensorProto.DOUBLE,
        "bf16": TensorProto.BFLOAT16,
        "u8": TensorProto.UINT8,
        "i32": TensorProto.INT32,
        "i64": TensorProto.INT64,
        "strings": TensorProto.STRING,
    }

    def value(name: str, tensor: Tensor) -> Any:
        dims = [f"d{place}" if size == -1 else size for place, size in enumerate(tensor.dims)]
        return helper.make_tensor_value_info(name, elements[tensor.type], dims)

    nodes = []
    for step in model.steps:
        attributes: dict[str, Any] = {}
        if step.operation == "Transpose":
            attributes["perm"] = [1, 0]
        nodes.append(helper.make_node(step.operation, step.takes, [step.makes], **attributes))
    graph = helper.make_graph(
        nodes,
        "case",
        [value(*each) for each in model.inputs.items()],
        [value(*each) for each in model.outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in model.constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return {"model.onnx": made.SerializeToString()}


def openvino(model: Model) -> Files:
    """A model in OpenVINO's intermediate representation."""
    import openvino as ov
    from openvino import opset13 as ops

    kinds = {name: getattr(ov.Type, name) for name in ("f16", "f32", "f64", "bf16", "u8", "i32", "i64")}
    values: dict[str, Any] = {name: ops.constant(array, name=name) for name, array in model.constants.items()}
    for name, tensor in model.inputs.items():
        values[name] = ops.parameter(ov.PartialShape(list(tensor.dims)), kinds[tensor.type], name=name)
        values[name].output(0).set_names({name})
    for step in model.steps:
        first, *rest = (values[name] for name in step.takes)
        match step.operation:
            case "Relu":
                made = ops.relu(first)
            case "Identity":  # a step that changes nothing, since the name of an output needs a step
                made = ops.convert(first, model.inputs["x"].type)
            case "Add":
                made = ops.add(first, *rest)
            case "Mul":
                made = ops.multiply(first, *rest)
            case "Transpose":
                made = ops.transpose(first, ops.constant(np.array([1, 0], np.int64)))
            case "Reshape":
                made = ops.reshape(first, *rest, special_zero=False)
            case "ReduceSum":
                made = ops.reduce_sum(first, *rest, keep_dims=True)
        made.output(0).set_names({step.makes})
        made.set_friendly_name(step.makes)
        values[step.makes] = made
    results = [ops.result(values[name]) for name in model.outputs]
    whole = ov.Model(results, [values[name] for name in model.inputs], "case")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        ov.save_model(whole, path, compress_to_fp16=False)
        xml = path.read_text()
        return {"model.xml": xml.encode(), "model.bin": path.with_suffix(".bin").read_bytes()}


def tensorflowlite(model: Model) -> Files:
    """A TensorFlow Lite model."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    kinds = {
        "f16": schema.TensorType.FLOAT16,
        "f32": schema.TensorType.FLOAT32,
        "f64": schema.TensorType.FLOAT64,
        "bf16": schema.TensorType.BFLOAT16,
        "u8": schema.TensorType.UINT8,
        "i32": schema.TensorType.INT32,
        "i64": schema.TensorType.INT64,
    }
    codes = {
        "Relu": schema.BuiltinOperator.RELU,
        "Identity": schema.BuiltinOperator.CAST,
        "Add": schema.BuiltinOperator.ADD,
        "Mul": schema.BuiltinOperator.MUL,
        "Transpose": schema.BuiltinOperator.TRANSPOSE,
        "Reshape": schema.BuiltinOperator.RESHAPE,
        "ReduceSum": schema.BuiltinOperator.SUM,
    }
    buffers, places = [schema.BufferT()], {}
    tensors: list[Any] = []

    def add(name: str, kind: str, dims: Any, buffer: int = 0) -> None:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name.encode(), kinds[kind], buffer
        tensor.shape = np.array([max(size, 1) for size in dims], np.int32)
        if -1 in dims:
            tensor.shapeSignature = np.array(dims, np.int32)
        places[name] = len(tensors)
        tensors.append(tensor)

    constants = dict(model.constants)
    if any(step.operation == "Transpose" for step in model.steps):
        constants["order"] = np.array([1, 0], np.int32)
    for name, tensor in model.inputs.items():
        add(name, tensor.type, tensor.dims)
    for name, array in constants.items():
        narrow = array.astype(np.int32) if array.dtype == np.int64 else array
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(narrow.tobytes(), np.uint8)
        buffers.append(buffer)
        add(name, "i32" if narrow.dtype == np.int32 else "f32", narrow.shape, len(buffers) - 1)
    for step in model.steps:
        add(step.makes, model.outputs[step.makes].type if step.makes in model.outputs else "f32", step.dims)
    graph, whole = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators, whole.operatorCodes = tensors, [], []
    for number, step in enumerate(model.steps):
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = codes[step.operation]
        code.version = 1
        takes = [*step.takes, *(["order"] if step.operation == "Transpose" else [])]
        operator.opcodeIndex, operator.inputs = number, np.array([places[name] for name in takes], np.int32)
        operator.outputs = np.array([places[step.makes]], np.int32)
        if step.operation == "ReduceSum":
            operator.builtinOptionsType = schema.BuiltinOptions.ReducerOptions
            operator.builtinOptions = schema.ReducerOptionsT()
            operator.builtinOptions.keepDims = True
        whole.operatorCodes.append(code)
        graph.operators.append(operator)
    graph.inputs = np.array([places[name] for name in model.inputs], np.int32)
    graph.outputs = np.array([places[name] for name in model.outputs], np.int32)
    whole.version, whole.description, whole.buffers, whole.subgraphs = 3, b"case", buffers, [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return {"model.tflite": bytes(builder.Output())}


ENCODINGS = {"onnx": onnx, "openvino": openvino, "tensorflowlite": tensorflowlite}
