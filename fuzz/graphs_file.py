"""Target: files of named graphs. Reading them raises only `NNError`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fuzz.checks import refusals
from wasi_nn import NNError, Registry
from wasi_nn.loading import graphs_file

MAX_SIZE = 8192

_FOLDER = tempfile.TemporaryDirectory(prefix="wasi-nn-fuzz-")
_FILE = Path(_FOLDER.name) / "graphs.toml"
(_FILE.parent / "model.onnx").write_bytes(b"never loaded")


def run(data: bytes) -> None:
    """Read one file and make a registry from it."""
    _FILE.write_bytes(data)
    with refusals(NNError):
        graphs_file.read(_FILE)
    with refusals(NNError):
        registry = Registry(_FILE)
        registry.reload()
        for name in registry:
            registry.named(name)
