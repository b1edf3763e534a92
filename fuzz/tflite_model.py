"""TensorFlow Lite models that are looked through before LiteRT sees them: `NNError`, or `ValueError` for a damaged one,
vouched for or not."""

from __future__ import annotations

from contextlib import suppress

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.tflite.model import require_sound

MAX_SIZE = 16384


def run(data: bytes) -> None:
    """Look through one model."""
    for vouched_for in (False, True):
        with refusals(NNError), suppress(ValueError):
            require_sound(data, vouched_for=vouched_for)
