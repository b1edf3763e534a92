"""Graphs for tests of the extensions: one that spells words letter by letter, one that gives back strings, and one that
learns a factor."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn import Graph, TensorInfo
from wasi_nn.graph.variables import Variables, require_fitting
from wasi_nn.types import GraphEncoding

if TYPE_CHECKING:
    from wasi_nn.types import Array

F32 = np.dtype(np.float32)


class Speller(Graph):
    """Spells its input letter by letter, and counts the letters. At `?`, a compute fails."""

    encoding = GraphEncoding.GGML

    def __init__(self) -> None:
        super().__init__([TensorInfo.of_bytes("prompt")], [TensorInfo.of_bytes("letter"), TensorInfo.of_bytes("count")])
        self.closed: list[str] = []

    def runner(self) -> SpellingRunner:
        return SpellingRunner(self)


class SpellingRunner:
    def __init__(self, graph: Speller) -> None:
        self.graph = graph

    def __call__(self, inputs: Sequence[Any], _: Sequence[Any] | None) -> Sequence[Any]:
        return [_array(bytes(inputs[0])), _array(b"%d" % len(inputs[0]))]

    def steps(self, inputs: Sequence[Any]) -> Generator[Sequence[Any], None, Sequence[Any]]:
        word = bytes(inputs[0])
        try:
            for count, letter in enumerate(word, 1):
                if letter == ord("?"):
                    raise ArithmeticError("what?")
                yield [_array(bytes((letter,))), _array(b"%d" % count)]
            return self(inputs, None)
        finally:
            self.graph.closed.append(word.decode())


def _array(content: bytes) -> Array:
    return np.frombuffer(bytearray(content), np.uint8)


class Echo(Graph):
    """y = x, over byte strings of any bytes."""

    encoding = GraphEncoding.ONNX

    def __init__(self) -> None:
        x, y = (TensorInfo(name, np.dtype(object), ("n",), "tensor(string)") for name in "xy")
        super().__init__([x], [y])

    def runner(self) -> Any:
        return lambda inputs, _: [inputs[0].copy()]


class Learner(Graph):
    """`infer`: y = factor * x. `train` adds x to the factor; y = the new factor. The factor is f32 [size], first of
    ones."""

    encoding = GraphEncoding.TENSORFLOWLITE
    runtime = "a test's own"
    device = "npu:7"
    signatures = ("infer", "train")

    def __init__(self, size: int = 2, signature: str = "infer", variables: Factor | None = None) -> None:
        info = TensorInfo("x", F32, (size,))
        super().__init__([info], [TensorInfo("y", F32, (size,))], {"made by": "a t\u00e9st"})
        self.size, self.signature = size, signature
        self.own = variables

    def variables(self) -> Factor:
        return Factor(self.size)

    def runner(self) -> Any:
        factor = self.own or Factor(self.size)

        def run(inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
            if self.signature == "train":
                factor.value = factor.value + inputs[0]
                return [factor.value.copy()]
            return [factor.value * inputs[0]]

        return run


class Factor(Variables):
    """The learner's variable."""

    def __init__(self, size: int) -> None:
        self.value: Array = np.ones(size, F32)
        self.nbytes = self.value.nbytes

    def graph(self, signature: str) -> Graph:
        return Learner(len(self.value), signature, self)

    def get(self) -> dict[str, Array]:
        return {"factor": self.value.copy()}

    def set(self, values: Mapping[str, Array]) -> None:
        require_fitting({"factor": self.value}, values)
        for value in values.values():
            self.value = value.copy()
