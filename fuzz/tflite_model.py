"""Target: TensorFlow Lite models, which are checked before LiteRT reads them, trusted or not. The checks raise only
`NNError`, or `ValueError` for a damaged model. A model that passes gets signatures that read and set its variables, and
passes still."""

from __future__ import annotations

from contextlib import suppress

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.tflite.model import require_sound
from wasi_nn.backends.tflite.signatures import read_signatures
from wasi_nn.backends.tflite.variable_access import has_variables, with_variable_access

MAX_SIZE = 16384


def run(data: bytes) -> None:
    """Check one model."""
    with refusals(NNError), suppress(ValueError):
        require_sound(data, trusted=False)
    with suppress(ValueError):
        read_signatures(memoryview(data))
    access = None
    with refusals(NNError), suppress(ValueError):
        require_sound(data, trusted=True)
        access = with_variable_access(data) if has_variables(data) else None
    if access is not None:
        require_sound(access.model, trusted=True)
