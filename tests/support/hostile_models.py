"""The corpus of hostile models: those of each encoding, and for each encoding bytes that aren't a model."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import ggml_models
import hostile_gguf
import hostile_onnx
import hostile_openvino
import hostile_pytorch
import hostile_tensorflow
import hostile_tflite
import onnx_models
import tensorflow_models
import tflite_models
from hostile import ENCODING, INVALID, RUNTIME, SECURITY, Hostile, corpus, made, refused

GOOD: Mapping[str, Callable[[], Sequence[bytes]]] = {
    "onnx": lambda: [onnx_models.relu()],
    "tensorflowlite": lambda: [tflite_models.relu()],
    "openvino": hostile_openvino.with_weights,
    "pytorch": lambda: [hostile_pytorch.torchscript()],
    "tensorflow": lambda: [tensorflow_models.relu()],
    "ggml": lambda: [ggml_models.tiny()],
}
"""A harmless model of each encoding."""


def _noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def _beginning(encoding: str, length: int) -> bytes:
    """The first bytes of a good model, followed by noise."""
    return GOOD[encoding]()[0][:length] + _noise(10_000)


def _of_any(encoding: str) -> list[Hostile]:
    """Bytes that aren't a model of the encoding."""
    good = GOOD[encoding]
    other = {"onnx": "tensorflowlite", "openvino": "ggml"}.get(encoding, "onnx")  # OpenVINO reads ONNX too
    return corpus(
        encoding,
        {
            refused(ENCODING if encoding == "ggml" else RUNTIME, SECURITY): [
                made("nothing", bytes),
                made("one byte", bytes, 1),
                made("64 KB of noise", _noise, 1 << 16),
                made("the right beginning and then noise", _beginning, encoding, 8),
                made("more of the right beginning and then noise", _beginning, encoding, 100),
                made("all but the end of a good model", lambda: good()[0][:-9]),
                made("a model of another encoding", GOOD[other]),
                made("zeros of 100 MB", bytes, 100 << 20),
            ],
            refused(INVALID): [made("no builders", list)],
            refused(INVALID, RUNTIME): [  # so many builders don't reach a worker
                made("1,000 builders", lambda: [*good()] * 1_000),
                made("1,000 builders of nothing", lambda: [b""] * 1_000),
            ],
        },
    )


MODELS: Mapping[str, Sequence[Hostile]] = {
    module.MODELS[0].encoding: [*_of_any(module.MODELS[0].encoding), *module.MODELS]
    for module in (
        hostile_onnx,
        hostile_tflite,
        hostile_openvino,
        hostile_pytorch,
        hostile_tensorflow,
        hostile_gguf,
    )
}
"""All hostile models, by encoding."""
