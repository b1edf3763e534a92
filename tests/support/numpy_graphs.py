"""Small graphs in numpy for the extensions: variables and signatures, sequences, byte strings, metadata."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn import ErrorCode, Graph, GraphEncoding, NNError, TensorInfo
from wasi_nn.graph.runner import RunFunction
from wasi_nn.graph.variables import Variables, require_fitting

if TYPE_CHECKING:
    from wasi_nn.types import Array

F32, I32 = np.dtype(np.float32), np.dtype(np.int32)
FEATURES, CLASSES = 4, 3


class Weights(Variables):
    """The weights of a softmax regression."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values = {"weight": np.zeros((FEATURES, CLASSES), F32), "bias": np.zeros(CLASSES, F32)}
        self.nbytes = sum(array.nbytes for array in self.values.values())
        self.reads = 0
        """The number of times that the values were copied."""

    def graph(self, signature: str) -> Graph:
        return Trainable(signature, self)

    def get(self) -> dict[str, Array]:
        self.reads += 1
        with self.lock:
            return {name: array.copy() for name, array in self.values.items()}

    def set(self, values: Mapping[str, Array]) -> None:
        with self.lock:
            require_fitting(self.values, values)
            for name, array in values.items():
                self.values[name][...] = array

    def scores(self, features: Array) -> Array:
        with self.lock:
            scores: Array = features @ self.values["weight"] + self.values["bias"]
        return scores

    def train(self, features: Array, labels: Array) -> Array:
        """One step of gradient descent; returns the loss before it."""
        scores = self.scores(features)
        scores -= scores.max(1, keepdims=True)
        probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        rows = np.arange(len(labels))
        loss = -np.log(probabilities[rows, labels] + 1e-9).mean()
        probabilities[rows, labels] -= 1
        gradient = probabilities / max(len(labels), 1)
        with self.lock:
            self.values["weight"] -= features.T @ gradient
            self.values["bias"] -= gradient.sum(0)
        return np.asarray(loss, F32)


class Trainable(Graph):
    """A softmax regression with the signatures `infer` and `train`."""

    encoding = GraphEncoding.TENSORFLOWLITE
    runtime = "numpy"
    keeps_state = True
    signatures = ("infer", "train")

    def __init__(self, signature: str = "infer", weights: Weights | None = None) -> None:
        features, labels = TensorInfo("features", F32, ("rows", FEATURES)), TensorInfo("labels", I32, ("rows",))
        if signature == "train":
            super().__init__([features, labels], [TensorInfo("loss", F32, ())])
        else:
            super().__init__([features], [TensorInfo("scores", F32, ("rows", CLASSES))])
        self.signature, self._weights = signature, weights

    def variables(self) -> Weights:
        return Weights()

    def runner(self) -> RunFunction:
        weights = self._weights or Weights()
        if self.signature == "train":
            return lambda inputs, reuse: [weights.train(inputs[0], inputs[1])]
        return lambda inputs, reuse: [weights.scores(inputs[0])]


class Shouting(Graph):
    """Byte strings in upper case."""

    encoding = GraphEncoding.ONNX
    runtime = "numpy"

    def __init__(self) -> None:
        text = np.dtype(object)
        super().__init__(
            [TensorInfo("texts", text, ("n", "?"), "string")], [TensorInfo("shouts", text, ("n", "?"), "string")]
        )

    def runner(self) -> RunFunction:
        def shout(inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
            shouts = np.empty(inputs[0].shape, object)
            shouts.reshape(-1)[:] = [text.upper() for text in inputs[0].reshape(-1).tolist()]
            return [shouts]

        return shout


class Counting(Graph):
    """Counts down from a number: a piece for each number, and all of them where it is computed at once. At the number
    `fails_at`, the sequence fails."""

    encoding = GraphEncoding.GGML
    runtime = "numpy"

    def __init__(self, fails_at: int = -1) -> None:
        super().__init__([TensorInfo("from", I32, (1,))], [TensorInfo("numbers", I32, ("n",))])
        self._fails_at = fails_at

    def runner(self) -> CountingRunner:
        return CountingRunner(self._fails_at)


class CountingRunner:
    def __init__(self, fails_at: int) -> None:
        self._fails_at = fails_at

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        return [np.arange(_first(inputs), 0, -1, dtype=I32)]

    def steps(self, inputs: Sequence[Array]) -> Generator[Sequence[Array], None, Sequence[Array]]:
        for number in range(_first(inputs), 0, -1):
            if number == self._fails_at:
                raise NNError(ErrorCode.RUNTIME_ERROR, f"no {number} here")
            yield [np.array([number], I32)]
        return self(inputs, None)


def _first(inputs: Sequence[Array]) -> int:
    return min(int(inputs[0][0]), 1000)


class Described(Graph):
    """A graph with a long description; its outputs don't matter."""

    encoding = GraphEncoding.PYTORCH
    runtime = "numpy"

    def runner(self) -> RunFunction:
        return lambda inputs, reuse: [array.copy() for array in inputs]
