"""Target: ONNX models, which are checked before ONNX Runtime reads them. The checks raise only `NNError`, and
`ValueError` where they document it."""

from __future__ import annotations

from contextlib import suppress

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.onnx.class_labels import keys_of_maps
from wasi_nn.backends.onnx.functions import require_bounded_functions
from wasi_nn.backends.onnx.model import is_onnx, require_self_contained, tensors_with_shape, uses_external_data

MAX_SIZE = 16384


def run(data: bytes) -> None:
    """Check one model."""
    model = memoryview(data)
    is_onnx(model)
    tensors_with_shape(model)
    keys_of_maps(model, {"p", "y"})
    with suppress(ValueError):
        uses_external_data(model)
    with refusals(NNError):
        require_self_contained(data)
    with refusals(NNError), suppress(ValueError):
        require_bounded_functions(data)
