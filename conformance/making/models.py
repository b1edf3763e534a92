"""The models: each a function, described once, and written in every encoding that has it.

Values in the cases are small whole numbers: runtimes compute these alike, also in 16 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.suite import TYPES

Dims = Sequence[int]
"""-1 is a dimension of any size."""


@dataclass(frozen=True)
class Tensor:
    """An input or output."""

    type: str
    dims: Dims


@dataclass(frozen=True)
class Step:
    """An operation: its name in ONNX, the tensors that it takes, and the one that it makes."""

    operation: str
    takes: Sequence[str]
    makes: str
    dims: Dims
    """The dimensions of the result."""


@dataclass(frozen=True)
class Model:
    """A function: its inputs and outputs in their order, its steps, and its constants."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    steps: Sequence[Step]
    constants: Mapping[str, Any] = field(default_factory=dict)
    encodings: Sequence[str] = ("onnx", "openvino", "tensorflowlite")


def _f32(*values: float) -> Any:
    return np.array(values, np.float32)


def _i64(*values: int) -> Any:
    return np.array(values, np.int64)


def relu(dims: Dims, x: str = "x", y: str = "y") -> Model:
    """y = max(x, 0) over f32."""
    return Model({x: Tensor("f32", dims)}, {y: Tensor("f32", dims)}, [Step("Relu", [x], y, dims)])


def identity(kind: str) -> Model:
    """y = x over 4 elements of a type."""
    return Model({"x": Tensor(kind, [4])}, {"y": Tensor(kind, [4])}, [Step("Identity", ["x"], "y", [4])])


def two() -> Model:
    """product = a * b, sum = a + b."""
    f32 = Tensor("f32", [2])
    steps = [Step("Mul", ["a", "b"], "product", [2]), Step("Add", ["a", "b"], "sum", [2])]
    return Model({"a": f32, "b": f32}, {"product": f32, "sum": f32}, steps)


def digits(*names: str) -> Model:
    """y = 100 * first + 10 * second + third: the inputs as the digits of a number."""
    one = Tensor("f32", [1])
    first, second, third = names
    steps = [
        Step("Mul", [first, "hundred"], "p", [1]),
        Step("Mul", [second, "ten"], "q", [1]),
        Step("Add", ["p", "q"], "r", [1]),
        Step("Add", ["r", third], "y", [1]),
    ]
    return Model(dict.fromkeys(names, one), {"y": one}, steps, {"hundred": _f32(100), "ten": _f32(10)})


def wide() -> Model:
    """y0 = x, y1 = x + 1, ... y11 = x + 11. By the alphabet y10 comes before y2."""
    one, count = Tensor("f32", [1]), 12
    return Model(
        {"x": one},
        {f"y{n}": one for n in range(count)},
        [Step("Add", ["x", f"c{n}"], f"y{n}", [1]) for n in range(count)],
        {f"c{n}": _f32(n) for n in range(count)},
    )


def transpose() -> Model:
    """y[j][i] = x[i][j]."""
    return Model(
        {"x": Tensor("f32", [2, 3])},
        {"y": Tensor("f32", [3, 2])},
        [Step("Transpose", ["x"], "y", [3, 2])],
    )


def pairs() -> Model:
    """y has the elements of x in rows of two: an odd number of elements fails."""
    return Model(
        {"x": Tensor("f32", [-1])},
        {"y": Tensor("f32", [-1, 2])},
        [Step("Reshape", ["x", "shape"], "y", [-1, 2])],
        {"shape": _i64(-1, 2)},
    )


def total() -> Model:
    """y = the sum of x."""
    return Model(
        {"x": Tensor("f32", [-1])},
        {"y": Tensor("f32", [1])},
        [Step("ReduceSum", ["x", "axes"], "y", [1])],
        {"axes": _i64(0)},
    )


def constant() -> Model:
    """y = 5, 7: no inputs."""
    return Model({}, {"y": Tensor("f32", [2])}, [Step("Add", ["c", "d"], "y", [2])], {"c": _f32(1, 2), "d": _f32(4, 5)})


def strings() -> Model:
    """y = x over byte strings."""
    x, y = Tensor("strings", [-1]), Tensor("strings", [-1])
    return Model({"x": x}, {"y": y}, [Step("Identity", ["x"], "y", [-1])], encodings=("onnx",))


def large(weights: int = 2**22) -> Model:
    """y = x + the sum of 16 MiB of weights, all of them zero. A guest makes its file from the first and last bytes."""
    return Model(
        {"x": Tensor("f32", [4])},
        {"y": Tensor("f32", [4])},
        [Step("ReduceSum", ["weights", "axes"], "bias", [1]), Step("Add", ["x", "bias"], "y", [4])],
        {"weights": np.zeros(weights, np.float32), "axes": _i64(0)},
    )


MODELS = {
    "relu": relu([4]),
    "two": two(),
    "zam": digits("z", "a", "m"),
    "numerals": digits("2", "0", "1"),
    "wide": wide(),
    "rows": relu([-1, 2]),
    "any": relu([-1]),
    "scalar": relu([]),
    "rank8": relu([1, 1, 1, 1, 1, 1, 1, 2]),
    "unicode": relu([4], "größe", "模型 ☃"),
    "transpose": transpose(),
    "pairs": pairs(),
    "total": total(),
    "constant": constant(),
    **{kind: identity(kind) for kind in TYPES},
    "strings": strings(),
}
"""The named graphs that are described here. `large` isn't among them, since guests make it."""
NAMED = (*MODELS, "alphabet", "sums")
"""All named graphs, with those that are in one encoding only."""
