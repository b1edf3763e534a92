"""A backend whose runtime prints to descriptors 1 and 2 in every function, or crashes the process."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import wasi_nn
from wasi_nn import ExecutionTarget, Graph, GraphEncoding, TensorInfo


def prints(when: str) -> None:
    for descriptor in (1, 2):
        os.write(descriptor, f"noise {when} {descriptor}\n".encode())


prints("import")


class NoisyBackend(wasi_nn.Backend):
    encoding = GraphEncoding.AUTODETECT
    runtime = "numpy"
    extra = ""
    model_files: Sequence[str] = ("noisy.txt",)
    withstands_hostile_bytes = True

    def sniff(self, model: memoryview) -> bool:
        return bytes(model[:5]) == b"noisy"

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        prints("load")
        return _Noisy(bytes(builders[0]))

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        return self.load([memoryview(path.read_bytes())], target, options)

    def devices(self) -> Mapping[ExecutionTarget, str]:
        prints("devices")
        return {ExecutionTarget.CPU: "cpu"}


class _Noisy(Graph):
    encoding = GraphEncoding.AUTODETECT

    def __init__(self, model: bytes) -> None:
        super().__init__([TensorInfo("x", np.dtype(np.float32), (4,))], [TensorInfo("y", np.dtype(np.float32), (4,))])
        self._model = model

    def runner(self) -> Any:
        return self._run

    def _run(self, inputs: Any, _: Any) -> Any:
        prints("compute")
        thread = threading.Thread(target=prints, args=["thread"])
        thread.start()
        thread.join()
        if b"aborts" in self._model:
            os.abort()
        if b"crashes" in self._model:
            ctypes.string_at(0)
        return [inputs[0]]
