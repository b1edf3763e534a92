"""Direct calls of each ML runtime from Python, as its documentation shows them: the base of the benchmarks' ratios.

A function here loads a model and returns a function that makes a caller. Each calling thread has a separate caller,
which computes on one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

Caller = Callable[[Any], Any]


def onnxruntime(model: Path) -> Callable[[], Caller]:
    """ONNX Runtime: one session for all threads."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(model), options)
    name = session.get_inputs()[0].name
    return lambda: lambda array: session.run(None, {name: array})[0]


def openvino(model: Path) -> Callable[[], Caller]:
    """OpenVINO: one compiled model with two streams of one thread each, and a request for each calling thread."""
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2, "NUM_STREAMS": 2}
    compiled = ov.Core().compile_model(model / "model.xml", "CPU", settings)

    def caller() -> Caller:
        request = compiled.create_infer_request()
        return lambda array: request.infer({0: array}, share_inputs=True)[0]

    return caller


def torchscript(model: Path) -> Callable[[], Caller]:
    """TorchScript: one module for all threads."""
    import torch

    torch.set_num_threads(1)
    module: Any = torch.jit.load(str(model / "model.pt"))  # type: ignore[no-untyped-call]
    return _by_torch(module.eval())


def pt2(model: Path) -> Callable[[], Caller]:
    """An exported program: one module for all threads."""
    import torch

    torch.set_num_threads(1)
    return _by_torch(torch.export.load(model / "model.pt2").module())


def _by_torch(module: Any) -> Callable[[], Caller]:
    import torch

    def call(array: Any) -> Any:
        with torch.inference_mode():
            return module(torch.from_numpy(array)).numpy()

    return lambda: call


def saved_model(model: Path) -> Callable[[], Caller]:
    """TensorFlow: one function for all threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(str(model))
    function = loaded.signatures["serving_default"]

    def call(array: Any, _: Any = loaded) -> Any:
        return next(iter(function(image=tf.constant(array)).values())).numpy()

    return lambda: call


def tflite(model: Path) -> Callable[[], Caller]:
    """LiteRT: an interpreter for each thread."""
    from ai_edge_litert.interpreter import Interpreter

    content = (model / "model.tflite").read_bytes()

    def caller() -> Caller:
        interpreter = Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
        source, result = (it[0]["index"] for it in (interpreter.get_input_details(), interpreter.get_output_details()))

        def call(array: Any) -> Any:
            interpreter.set_tensor(source, array)
            interpreter.invoke()
            return interpreter.get_tensor(result)

        return call

    return caller
