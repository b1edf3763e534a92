"""GGUF files, of which the header is read before llama.cpp sees them: only `NNError` comes out."""

from __future__ import annotations

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.backends.ggml.gguf import read_header

MAX_SIZE = 16384


def run(data: bytes) -> None:
    """Read one header, and what it says of itself."""
    with refusals(NNError):
        read_header(memoryview(data)).described()
