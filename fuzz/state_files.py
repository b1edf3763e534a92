"""Target: safetensors files of a guest that sets a graph's variables."""

from __future__ import annotations

from fuzz.checks import refusals
from wasi_nn import NNError
from wasi_nn.session import state_files

MAX_SIZE = 4096


def run(data: bytes) -> None:
    """Read a file, and write the values again."""
    with refusals(NNError):
        values = state_files.values_in(memoryview(data))
        again = state_files.values_in(memoryview(state_files.written(values)))
        assert {name: (value.dtype, value.shape, value.tobytes()) for name, value in again.items()} == {
            name: (value.dtype, value.shape, value.tobytes()) for name, value in values.items()
        }
