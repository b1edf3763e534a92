"""Target: headers of GGUF files, which are checked before llama.cpp reads them. The checks raise only `NNError`."""

from __future__ import annotations

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.ggml.gguf import read_header

MAX_SIZE = 16384


def run(data: bytes) -> None:
    """Read one header and its metadata."""
    with refusals(NNError):
        read_header(memoryview(data)).described()
