"""A guest's options of ggml, in JSON: only `NNError` comes out, wherever the operator allows more than usual or not."""

from __future__ import annotations

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.ggml.options import from_guest

MAX_SIZE = 8192


def run(data: bytes) -> None:
    """Read one text of options."""
    for operators in ({}, {"allow-grammar": True}):
        with refusals(NNError):
            from_guest(memoryview(data), operators)
