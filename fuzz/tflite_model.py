"""Target: TensorFlow Lite models, which are checked before LiteRT reads them, trusted or not. The checks raise only
`NNError`, or `ValueError` for a damaged model."""

from __future__ import annotations

from contextlib import suppress

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.tflite.model import require_sound
from wasi_nn.backends.tflite.signatures import read_signatures

MAX_SIZE = 16384


def run(data: bytes) -> None:
    """Check one model."""
    for trusted in (False, True):
        with refusals(NNError), suppress(ValueError):
            require_sound(data, trusted=trusted)
    with suppress(ValueError):
        read_signatures(memoryview(data))
