"""A backend whose models are Python programs: it stands for a runtime that a hostile model has taken over.

A model defines `run(x)`, whose result is the graph's output. Tests use it to try what a worker must not do.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import wasi_nn
from wasi_nn import ExecutionTarget, Graph, GraphEncoding, TensorInfo
from wasi_nn.graph.runner import RunFunction


class ConfinedBackend(wasi_nn.Backend):
    encoding = GraphEncoding.AUTODETECT
    runtime = "numpy"
    extra = ""
    model_files: Sequence[str] = ("model.py",)
    withstands_hostile_bytes = False
    needs_sockets = False

    def sniff(self, model: memoryview) -> bool:
        return False

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return Program(bytes(builders[0]).decode(), options)

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return Program(path.read_text(), options)

    def devices(self) -> Mapping[ExecutionTarget, str]:
        return {ExecutionTarget.CPU: "cpu"}


class ListeningBackend(ConfinedBackend):
    """A backend whose runtime opens a port."""

    needs_sockets = True


class SteppingBackend(ConfinedBackend):
    """A backend whose graphs give outputs piece by piece."""

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return _Stepping()


class _Stepping(Graph):
    encoding = GraphEncoding.AUTODETECT

    def __init__(self) -> None:
        super().__init__([TensorInfo("x", np.dtype(np.float32), (4,))], [TensorInfo("y", np.dtype(np.float32), (2,))])

    def runner(self) -> RunFunction:
        return _Steps()


class _Steps:
    def __call__(self, inputs: Sequence[Any], reuse: object) -> list[Any]:
        return [inputs[0][2:]]

    def steps(self, inputs: Sequence[Any]) -> Generator[list[Any], None, list[Any]]:
        yield [inputs[0][:2]]
        yield [inputs[0][1:3]]
        return self(inputs, None)


class Program(Graph):
    encoding = GraphEncoding.AUTODETECT

    def __init__(self, program: str, options: Mapping[str, Any]) -> None:
        super().__init__([TensorInfo("x", np.dtype(np.float32), ("n",))], [TensorInfo("y", None, None)])
        self._names: dict[str, Any] = {"options": options}
        exec(program, self._names)

    def runner(self) -> RunFunction:
        def run(inputs: Sequence[Any], _: object) -> list[Any]:
            value = self._names["run"](*inputs)
            return [np.array(value, object if isinstance(value, bytes) else None)]

        return run


class TalkingBackend(ConfinedBackend):
    """A backend whose graphs show text without end."""

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return _Talking([], [TensorInfo("y", np.dtype(np.float32), (1,))])


class _Talking(Graph):
    encoding = GraphEncoding.AUTODETECT

    def runner(self) -> RunFunction:
        return _Talker()


class _Talker:
    def __init__(self) -> None:
        self.text_sink: Any = None

    def __call__(self, inputs: Sequence[Any], reuse: object) -> list[Any]:
        while True:
            self.text_sink(b"word ")
