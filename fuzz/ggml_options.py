"""Target: a guest's options for GGML, in JSON. Reading them raises only `NNError`, whatever the operator allows."""

from __future__ import annotations

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.ggml.grammars import GuestPolicy
from wasi_nn.backends.ggml.options import from_guest

MAX_SIZE = 8192


def run(data: bytes) -> None:
    """Read one text of options."""
    for operators in ({}, {"allow-grammar": True}):
        with refusals(NNError):
            from_guest(memoryview(data), GuestPolicy(operators, in_worker=False))
