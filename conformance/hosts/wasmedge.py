"""WasmEdge's command with a plugin wasi_nn: https://wasmedge.org. A plugin has one backend.

The environment variable CONFORMANCE_ENCODING names it: openvino, ggml or tensorflowlite (the default).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from conformance.hosts import driver
from conformance.hosts.driver import REFUSED, TRAP, Graph


class Driver(driver.Driver):
    """Core modules, with WasmEdge's own functions."""

    abis = ("core", "wasmedge")
    encodings = (os.environ.get("CONFORMANCE_ENCODING", "tensorflowlite"),)
    types = ("f16", "f32", "u8", "i32")

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        named = [
            f"--nn-preload={graph.name}:{graph.encoding}:CPU:{':'.join(map(str, graph.files))}" for graph in graphs
        ]
        return [*self.words, *named, str(guest)]

    def end(self, code: int, errors: str) -> str:
        if "unknown import" in errors:
            return REFUSED
        return TRAP if "execution failed" in errors else f"exit {code}"
