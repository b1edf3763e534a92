"""TensorFlow Lite models that are looked through before LiteRT sees them: `NNError`, or `ValueError` for a damaged one,
trusted or not."""

from __future__ import annotations

from contextlib import suppress

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.tflite.model import require_sound

MAX_SIZE = 16384


def run(data: bytes) -> None:
    """Look through one model."""
    for trusted in (False, True):
        with refusals(NNError), suppress(ValueError):
            require_sound(data, trusted=trusted)
