"""Small ONNX models for the tests, built with ONNX's own tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from wasi_nn import TensorType

ELEMENTS = {
    TensorType.F16: TensorProto.FLOAT16,
    TensorType.BF16: TensorProto.BFLOAT16,
    TensorType.F32: TensorProto.FLOAT,
    TensorType.F64: TensorProto.DOUBLE,
    TensorType.U8: TensorProto.UINT8,
    TensorType.I32: TensorProto.INT32,
    TensorType.I64: TensorProto.INT64,
}

Dims = Sequence[int | str] | None


def f32(values: Any) -> Any:
    """An array of f32."""
    return np.array(values, np.float32)


def build(
    nodes: Sequence[Any],
    inputs: Mapping[str, tuple[int, Dims]],
    outputs: Mapping[str, tuple[int, Dims] | Any],
    initializers: Sequence[Any] = (),
    opset: int = 17,
    **graph: Any,
) -> bytes:
    """A model's bytes. Inputs and outputs are {name: (element type, dims)}; dims are None for an unknown rank."""
    value = helper.make_tensor_value_info
    graph_proto = helper.make_graph(
        nodes,
        "test",
        [value(name, *info) for name, info in inputs.items()],
        [value(name, *info) if isinstance(info, tuple) else info for name, info in outputs.items()],
        initializers,
        **graph,
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph_proto, opset_imports=opsets, ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


def identity(kind: TensorType = TensorType.F32, dims: Dims = (4,)) -> bytes:
    """y = x."""
    element = ELEMENTS[kind]
    return build([helper.make_node("Identity", ["x"], ["y"])], {"x": (element, dims)}, {"y": (element, dims)})


def relu(dims: Dims = (4,)) -> bytes:
    """y = max(x, 0), in f32."""
    return build([helper.make_node("Relu", ["x"], ["y"])], {"x": (1, dims)}, {"y": (1, dims)})


def negated(kind: TensorType = TensorType.F32, dims: Dims = (4,)) -> bytes:
    """y = -x, of any type that has a sign."""
    return build([helper.make_node("Neg", ["x"], ["y"])], {"x": (ELEMENTS[kind], dims)}, {"y": (ELEMENTS[kind], dims)})


def add_and_mul() -> bytes:
    """sum = a + b, product = a * b, over f32 [n]. The order of the outputs is product, sum."""
    return build(
        [helper.make_node("Add", ["a", "b"], ["sum"]), helper.make_node("Mul", ["a", "b"], ["product"])],
        {"a": (1, ["n"]), "b": (1, ["n"])},
        {"product": (1, ["n"]), "sum": (1, ["n"])},
    )


def cast(element: int, to: int, dims: Dims = (4,)) -> bytes:
    """y = x cast to another element type."""
    return build([helper.make_node("Cast", ["x"], ["y"], to=to)], {"x": (element, dims)}, {"y": (to, dims)})


def nonzero(dims: Dims = ("n",)) -> bytes:
    """y = the indexes of x's elements that aren't 0; the dims of y depend on the values of x."""
    return build([helper.make_node("NonZero", ["x"], ["y"])], {"x": (1, dims)}, {"y": (7, (1, "found"))})


def strings() -> bytes:
    """y = x, over strings [n]."""
    string = TensorProto.STRING
    return build([helper.make_node("Identity", ["x"], ["y"])], {"x": (string, ["n"])}, {"y": (string, ["n"])})


def sequence() -> bytes:
    """s = the sequence of x and x, a value that isn't a tensor; y = x."""
    return build(
        [helper.make_node("SequenceConstruct", ["x", "x"], ["s"]), helper.make_node("Identity", ["x"], ["y"])],
        {"x": (1, ["n"])},
        {"s": helper.make_tensor_sequence_value_info("s", 1, None), "y": (1, ["n"])},
    )


def maps_info(labels: Sequence[int] | Sequence[str]) -> Any:
    """The type of an output `p` that is a sequence of maps from labels to f32."""
    key = TensorProto.INT64 if isinstance(labels[0], int) else TensorProto.STRING
    kind = helper.make_map_type_proto(key, helper.make_tensor_type_proto(1, None))
    return onnx.ValueInfoProto(name="p", type=helper.make_sequence_type_proto(kind))


def zip_map(labels: Sequence[int] | Sequence[str]) -> Any:
    """The node of a classifier that makes p, maps from labels to the columns of x."""
    name = "classlabels_int64s" if isinstance(labels[0], int) else "classlabels_strings"
    return helper.make_node("ZipMap", ["x"], ["p"], domain="ai.onnx.ml", **dict[str, Any]({name: labels}))


def labelled(labels: Sequence[int] | Sequence[str]) -> bytes:
    """p = the rows of x, f32 [n, labels], as maps from these labels to numbers."""
    return build([zip_map(labels)], {"x": (1, ["n", len(labels)])}, {"p": maps_info(labels)})


def failing() -> bytes:
    """y = x reshaped to [2, 2]: a compute fails unless x has 4 elements."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [2, 2])
    return build([helper.make_node("Reshape", ["x", "shape"], ["y"])], {"x": (1, ["n"])}, {"y": (1, None)}, [shape])


def constant_of_shape(elements: int) -> bytes:
    """y = x + zeros, f32 [elements]. The model has the same size for any number of elements."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [elements])
    zeros = helper.make_node("ConstantOfShape", ["shape"], ["zeros"])
    return build([zeros, helper.make_node("Add", ["zeros", "x"], ["y"])], {"x": (1, [1])}, {"y": (1, None)}, [shape])


def loop() -> bytes:
    """y = 0 + 1 + 1 + ..., with x additions, in a loop: i64 [1] to f32 [1]."""
    boolean, i64 = TensorProto.BOOL, TensorProto.INT64
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Add", ["sum", "one"], ["more"])],
        "body",
        [
            helper.make_tensor_value_info("turn", i64, []),
            helper.make_tensor_value_info("go", boolean, []),
            helper.make_tensor_value_info("sum", 1, [1]),
        ],
        [helper.make_tensor_value_info("goes", boolean, []), helper.make_tensor_value_info("more", 1, [1])],
        [helper.make_tensor("one", 1, [1], [1.0])],
    )
    return build(
        [
            helper.make_node("Squeeze", ["x"], ["turns"]),
            helper.make_node("Loop", ["turns", "true", "zero"], ["y"], body=body),
        ],
        {"x": (i64, [1])},
        {"y": (1, [1])},
        [helper.make_tensor("true", boolean, [], [True]), helper.make_tensor("zero", 1, [1], [0.0])],
    )


def matrix_power(times: int, size: int) -> bytes:
    """y = x multiplied by itself so many times, f32 [size, size]."""
    names = ["x", *(f"h{n}" for n in range(times - 1)), "y"]
    nodes = [helper.make_node("MatMul", [before, "x"], [after]) for before, after in pairwise(names)]
    return build(nodes, {"x": (1, [size, size])}, {"y": (1, [size, size])})


def convolution(size: int = 224, channels: int = 16) -> bytes:
    """A small convolutional network: image f32 [1, 3, size, size] to scores f32 [1, 10], with random weights."""
    random = np.random.default_rng(1)

    def weights(name: str, *dims: int) -> Any:
        return onnx.numpy_helper.from_array(random.standard_normal(dims, np.float32) * 0.1, name)

    return build(
        [
            helper.make_node("Conv", ["image", "w1"], ["c1"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c1"], ["r1"]),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], strides=[2, 2], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c2"], ["r2"]),
            helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w3"], ["scores"]),
        ],
        {"image": (1, [1, 3, size, size])},
        {"scores": (1, [1, 10])},
        [
            weights("w1", channels, 3, 3, 3),
            weights("w2", 2 * channels, channels, 3, 3),
            weights("w3", 2 * channels, 10),
        ],
    )


def with_external_data(folder: Path, location: str = "weights.bin", **keys: str) -> bytes:
    """y = x + w over f32 [16], where w, the numbers from 1000 on, is in a file that this writes into the folder."""
    np.arange(1000, 1016, dtype=np.float32).tofile(folder / "weights.bin")
    return build(
        [helper.make_node("Add", ["x", "w"], ["y"])], {"x": (1, [16])}, {"y": (1, [16])}, [external(location, **keys)]
    )


def external(location: str, **keys: str) -> Any:
    """A tensor w, f32 [16], whose data is in a file."""
    tensor = TensorProto(name="w", data_type=1, dims=[16], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "64", **keys}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor
