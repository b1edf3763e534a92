"""EfficientNet-Lite0 with its published weights in every format, each written by the runtime's own tools.

The TensorFlow models are built operator by operator from PyTorch's graph, since no maintained converter does this
without very large dependencies.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models as real_models

FORMATS = ("onnx", "openvino", "torchscript", "pt2", "saved_model", "graph_def", "tflite")


def classifier(kind: str) -> Path:
    """The network in a format: a file or a directory, which is made once and kept in `build/`."""
    onnx = real_models.efficientnet().model
    if kind == "onnx":
        return onnx
    path = onnx.parent / "formats" / kind
    if not path.exists():
        partial = path.with_name(f"{kind}.partial{os.getpid()}")
        partial.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _MAKE[kind](onnx, partial)
        if path.exists():
            shutil.rmtree(partial)
        else:
            partial.rename(path)
    return path


def _openvino(onnx: Path, folder: Path) -> None:
    import openvino as ov

    ov.save_model(ov.Core().read_model(onnx), folder / "model.xml", compress_to_fp16=False)


def _module(onnx: Path) -> Any:
    return real_models.efficientnet_module(onnx.with_name("weights.pth"))


def _torchscript(onnx: Path, folder: Path) -> None:
    import torch

    traced: Any = torch.jit.trace(_module(onnx), torch.zeros(1, 3, 224, 224))  # type: ignore[no-untyped-call]
    traced.save(str(folder / "model.pt"))


def _exported(onnx: Path) -> Any:
    import torch

    batch = {"inputs": {0: torch.export.Dim("batch")}}
    return torch.export.export(_module(onnx), (torch.zeros(2, 3, 224, 224),), dynamic_shapes=batch)


def _pt2(onnx: Path, folder: Path) -> None:
    import torch

    torch.export.save(_exported(onnx), folder / "model.pt2")


def _saved_model(onnx: Path, folder: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.function = _function(onnx)
    tf.saved_model.save(module, str(folder), signatures=module.function)


def _graph_def(onnx: Path, folder: Path) -> None:
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(_function(onnx).get_concrete_function())
    (folder / "model.pb").write_bytes(frozen.graph.as_graph_def().SerializeToString())


def _tflite(onnx: Path, folder: Path) -> None:
    import tensorflow as tf

    function = _function(onnx, batch=1)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    (folder / "model.tflite").write_bytes(converter.convert())


_MAKE: dict[str, Callable[[Path, Path], None]] = {
    "openvino": _openvino,
    "torchscript": _torchscript,
    "pt2": _pt2,
    "saved_model": _saved_model,
    "graph_def": _graph_def,
    "tflite": _tflite,
}


def _function(onnx: Path, batch: int | None = None) -> Any:
    """The network as a TensorFlow function: image f32 [batch, 3, 224, 224] to logits f32 [batch, 1000]."""
    import tensorflow as tf

    program = _exported(onnx)
    signature = program.graph_signature
    held = {**program.state_dict, **program.constants}
    weights = {
        name: tf.constant(held[target].detach().numpy())
        for name, target in {**signature.inputs_to_parameters, **signature.inputs_to_buffers}.items()
        if held[target].is_floating_point()
    }
    operators = _operators(tf)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([batch, 3, 224, 224], tf.float32, name="image")])  # type: ignore[untyped-decorator]
    def classify(image: Any) -> dict[str, Any]:
        values: dict[str, Any] = {**weights, signature.user_inputs[0]: tf.transpose(image, [0, 2, 3, 1])}
        for node in program.graph.nodes:
            if node.op == "call_function" and node.target.__name__ in operators:
                arguments = [values.get(getattr(argument, "name", ""), argument) for argument in node.args]
                values[node.name] = operators[node.target.__name__](*arguments)
        return {"logits": values[signature.user_outputs[0]]}

    return classify


def _operators(tf: Any) -> dict[str, Callable[..., Any]]:
    """TensorFlow functions for the network's PyTorch operators, by name. Images have their channels last."""

    def conv2d(
        x: Any, w: Any, b: Any = None, stride: Any = (1, 1), pad: Any = (0, 0), dilation: Any = (1, 1), groups: int = 1
    ) -> Any:
        assert b is None
        assert list(dilation) == [1, 1]
        x = tf.pad(x, [[0, 0], [pad[0]] * 2, [pad[1]] * 2, [0, 0]])
        if groups == 1:
            return tf.nn.conv2d(x, tf.transpose(w, [2, 3, 1, 0]), stride, "VALID")
        return tf.nn.depthwise_conv2d(x, tf.transpose(w, [2, 3, 0, 1]), [1, *stride, 1], "VALID")

    def batch_norm(
        x: Any, w: Any, b: Any, mean: Any, variance: Any, _: bool, __: float, epsilon: float, ___: bool
    ) -> Any:
        scale = w / tf.sqrt(variance + epsilon)
        return x * scale + (b - mean * scale)

    return {
        "pad.default": lambda x, pads, *_: tf.pad(x, [[0, 0], pads[2:4], pads[0:2], [0, 0]]),
        "conv2d.default": conv2d,
        "batch_norm.default": batch_norm,
        "hardtanh.default": tf.clip_by_value,
        "add.Tensor": tf.add,
        "adaptive_avg_pool2d.default": lambda x, _: tf.reduce_mean(x, [1, 2]),
        "view.default": lambda x, _: x,
        "dropout.default": lambda x, *_: x,
        "linear.default": lambda x, w, b: tf.linalg.matmul(x, w, transpose_b=True) + b,
    }
