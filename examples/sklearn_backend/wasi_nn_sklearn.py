"""scikit-learn's classifiers as graphs of wasi-nn: a backend in a package of its own.

A model is what `joblib.dump` writes, as a rule `*.joblib`. Its one input is `features`, f32 [n, features]; its outputs
are `classes`, i64 [n], the place of the likeliest class, and `probabilities`, f32 [n, classes].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wasi_nn import ErrorCode, ExecutionTarget, GraphEncoding, NNError
from wasi_nn.backends import Backend, Graph, RunFunction, TensorInfo, choose_device

F32, I64 = np.dtype(np.float32), np.dtype(np.int64)


class SklearnGraph(Graph):
    encoding = GraphEncoding.AUTODETECT
    runtime = "sklearn"

    def __init__(self, model: Any) -> None:
        names = ",".join(map(str, model.classes_))
        inputs = [TensorInfo("features", F32, ("n", int(model.n_features_in_)))]
        outputs = [TensorInfo("classes", I64, ("n",)), TensorInfo("probabilities", F32, ("n", len(model.classes_)))]
        super().__init__(inputs, outputs, {"model": type(model).__name__, "classes": names})
        self.model = model

    def runner(self) -> RunFunction:
        def run(inputs: Sequence[Any], reuse: Sequence[Any] | None) -> Sequence[Any]:
            probabilities = self.model.predict_proba(inputs[0])
            return [probabilities.argmax(1), probabilities.astype(F32)]

        return run


class SklearnBackend(Backend):
    encoding = GraphEncoding.AUTODETECT  # the specification has no encoding for these models
    runtime = "sklearn"
    model_files = ("model.joblib",)

    def sniff(self, model: memoryview) -> bool:
        return bytes(model[:1]) == b"\x80" and b"sklearn" in bytes(model[:4096])

    def load(self, builders: Sequence[memoryview], target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        raise NNError(ErrorCode.SECURITY, "scikit-learn models are loaded by name only: their bytes can run any code")

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        import joblib

        choose_device(self.list_devices(), target, "scikit-learn")  # raises an error for any device but the cpu
        return SklearnGraph(joblib.load(path))
