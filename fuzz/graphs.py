"""The named graphs for the ABIs' targets: small graphs in Python with all features that concern an ABI, and one in a
real runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fuzz import HERE
from wasi_nn import ErrorCode, Graph, GraphEncoding, NNError, Registry, TensorInfo
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import RunFunction
from wasi_nn.graph.variables import Variables

if TYPE_CHECKING:
    from wasi_nn.types import Array

MODEL = (HERE / "corpus" / "onnx_model" / "relu").read_bytes()

_F32, _U8 = np.dtype(np.float32), np.dtype(np.uint8)


class _Echo(Graph):
    """A graph whose outputs are its inputs."""

    encoding = GraphEncoding.ONNX

    def runner(self) -> RunFunction:
        return lambda inputs, reuse: [array.copy() for array in inputs]


class _Varying(Graph):
    """A graph that takes any input and declares no outputs."""

    encoding = GraphEncoding.ONNX
    outputs_vary = True

    def runner(self) -> RunFunction:
        return lambda inputs, reuse: Outputs.named((f"of {array.ndim} dims", array.copy()) for array in inputs)


class _Writer(Graph):
    """Gives its prompt back, byte by byte on request, and takes a configuration, like a language model."""

    encoding = GraphEncoding.GGML

    def __init__(self) -> None:
        super().__init__(
            [TensorInfo.of_bytes("prompt"), TensorInfo.of_bytes("state", optional=True)],
            [TensorInfo.of_bytes("text"), TensorInfo.of_bytes("told")],
        )

    def configured(self, config: memoryview) -> Graph:
        try:
            json.loads(bytes(config))
        except (ValueError, RecursionError) as error:
            raise NNError(ErrorCode.INVALID_ENCODING, "not JSON") from error
        return self

    def runner(self) -> RunFunction:
        return _Writing()


class _Writing:
    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        return [inputs[0].copy(), _told(len(inputs[0]))]

    def check_input(self, index: int, data: memoryview) -> None:
        if index == 0 and bytes(data[:1]) == b"!":
            raise NNError(ErrorCode.TOO_LARGE, "a prompt that won't do")

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        return _told(0) if index == 1 and inputs[0] is not None else None

    def steps(self, inputs: Sequence[Array]) -> Iterator[Sequence[Array]]:
        for place in range(len(inputs[0])):
            yield [inputs[0][place : place + 1].copy(), _told(place)]


class _Learner(Graph):
    """Gives x times its variable; its signature `train` adds x to the variable."""

    encoding = GraphEncoding.TENSORFLOWLITE
    keeps_state = True
    signatures = ("infer", "train")

    def __init__(self, signature: str = "infer", factor: _Factor | None = None) -> None:
        super().__init__([TensorInfo("x", _F32, ())], [TensorInfo("y", _F32, ())], {"key": "text"})
        self.signature, self._factor = signature, factor

    def variables(self) -> _Factor:
        return _Factor()

    def runner(self) -> RunFunction:
        factor = self._factor or _Factor()

        def compute(inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
            if self.signature == "train":
                factor.value += inputs[0]
            return [inputs[0] * factor.value]

        return compute


class _Factor(Variables):
    nbytes = 4

    def __init__(self) -> None:
        self.value = np.ones(1, _F32)

    def graph(self, signature: str) -> Graph:
        return _Learner(signature, self)

    def get(self) -> dict[str, Array]:
        return {"factor": self.value.copy()}

    def set(self, values: Mapping[str, Array]) -> None:
        for value in values.values():
            self.value[...] = value


def _told(count: int) -> Array:
    return np.frombuffer(b'{"count": %d}' % count, np.uint8)


def registry() -> Registry:
    """The graphs, with names of one letter."""
    fixed, anything = TensorInfo("x", _F32, (4,)), TensorInfo("x", None, None)
    open_dims = TensorInfo("x", _F32, ("n", "?"))
    scalar, quantised = TensorInfo("s", _F32, ()), TensorInfo("q", _U8, ("n",), quantization=(0.5, 3))
    odd = TensorInfo("o", np.dtype(np.int8), ("n",))
    strings = TensorInfo("s", np.dtype(object), ("n", "?"), "string")
    return Registry(
        {
            "f": _Echo([fixed], [fixed]),
            "a": _Echo([anything], [anything]),
            "v": _Varying([anything], []),
            "q": _Echo([quantised, scalar], [quantised, scalar]),
            "m": _Echo([open_dims, odd], [open_dims, odd]),
            "w": _Writer(),
            "r": MODEL,
            "s": _Echo([strings], [strings]),
            "t": _Learner(),
        }
    )
