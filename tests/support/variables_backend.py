"""A backend whose models have signatures and variables: it stands for a runtime that trains, in this process or in a
worker.

A model's bytes are a Python program, which may be empty; it runs when the model is loaded, so that tests can try what a
hostile model does. Signatures:

    infer   x -> y = x * weight + bias
    train   x, target -> loss (of before); moves weight and bias towards it, and counts in `steps`
    spell   text (a string) -> each letter of it with the number of steps, as a string; piece by piece too
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import wasi_nn
from wasi_nn import ExecutionTarget, Graph, GraphEncoding, TensorInfo
from wasi_nn.graph.runner import RunFunction
from wasi_nn.graph.variables import Variables, require_fitting

F32 = np.dtype(np.float32)
SIZE = 4
RATE = np.float32(0.25)
X, TARGET = np.array([1, 2, 3, 4], F32), np.array([2, 4, 6, 8], F32)
PLAIN_BYTES = 2 * 4 * SIZE + 8
"""The bytes of a model's variables without options."""


class TrainingBackend(wasi_nn.Backend):
    """Options: `signature` of the graph, `extra` (elements of one more variable, which nothing uses)."""

    encoding = GraphEncoding.AUTODETECT
    runtime = "numpy"
    withstands_hostile_bytes = True

    def sniff(self, model: memoryview) -> bool:
        return False

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return trained(bytes(builders[0]).decode(), **options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return trained(path.read_text(), **options)


def trained(program: str = "", signature: str = "infer", extra: int = 0) -> Graph:
    """A graph in this process."""
    exec(program, {"options": {"extra": extra}})
    return Trained(signature, extra)


def _text(name: str) -> TensorInfo:
    return TensorInfo(name, np.dtype(object), ("n",), "string")


SIGNATURES = {
    "infer": ([TensorInfo("x", F32, (SIZE,))], [TensorInfo("y", F32, (SIZE,))]),
    "train": ([TensorInfo("x", F32, (SIZE,)), TensorInfo("target", F32, (SIZE,))], [TensorInfo("loss", F32, ())]),
    "spell": ([_text("text")], [_text("letters")]),
}


class TrainedVariables(Variables):
    def __init__(self, extra: int) -> None:
        self.lock = threading.Lock()
        self.values: dict[str, Any] = {
            "weight": np.ones(SIZE, F32),
            "bias": np.zeros(SIZE, F32),
            "steps": np.zeros((), np.int64),
        }
        if extra:
            self.values["extra"] = np.arange(extra, dtype=F32)
        self.extra = extra
        self.nbytes = sum(value.nbytes for value in self.values.values())

    def graph(self, signature: str) -> Graph:
        return Trained(signature, self.extra, self)

    def get(self) -> dict[str, Any]:
        with self.lock:
            return {name: value.copy() for name, value in self.values.items()}

    def set(self, values: Mapping[str, Any]) -> None:
        with self.lock:
            require_fitting(self.values, values)
            for name, value in values.items():
                self.values[name] = value.copy()

    def infer(self, x: Any) -> list[Any]:
        with self.lock:
            return [x * self.values["weight"] + self.values["bias"]]

    def train(self, x: Any, target: Any) -> list[Any]:
        with self.lock:
            values = self.values
            error = x * values["weight"] + values["bias"] - target
            values["weight"] = values["weight"] - RATE * error / x
            values["steps"] = values["steps"] + 1
            return [np.array(np.mean(error**2), F32)]

    def spell(self, text: Any) -> list[Any]:
        return [np.array([letter for word in text for letter in self.letters(word)], object)]

    def letters(self, word: str | bytes) -> list[bytes]:
        word = word.encode() if isinstance(word, str) else word
        return [b"%c%d" % (letter, int(self.values["steps"])) for letter in word]


class Trained(Graph):
    """A graph of one signature. Its contexts have variables of their own unless it has a set."""

    encoding = GraphEncoding.AUTODETECT
    runtime = "numpy"
    keeps_state = True

    def __init__(self, signature: str, extra: int = 0, variables: TrainedVariables | None = None) -> None:
        super().__init__(*SIGNATURES[signature], {"author": "a test"})
        self.signature, self.signatures = signature, tuple(SIGNATURES)
        self._extra, self._variables = extra, variables

    def variables(self) -> Variables:
        return TrainedVariables(self._extra)

    def runner(self) -> RunFunction:
        return _Runner(self._variables or TrainedVariables(self._extra), self.signature)


class _Runner:
    def __init__(self, variables: TrainedVariables, signature: str) -> None:
        self._variables = variables
        self._run = getattr(variables, signature)

    def __call__(self, inputs: Sequence[Any], reuse: object) -> list[Any]:
        return self._run(*inputs)  # type: ignore[no-any-return]

    def steps(self, inputs: Sequence[Any]) -> Generator[list[Any], None, list[Any]]:
        for word in inputs[0].reshape(-1).tolist():
            for letter in self._variables.letters(word):
                yield [np.array([letter], object)]
        return self(inputs, None)
