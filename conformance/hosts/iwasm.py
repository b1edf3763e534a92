"""WAMR's command iwasm, built with wasi-nn: https://github.com/bytecodealliance/wasm-micro-runtime.

A graph's name is a path for iwasm, so that a link of each graph's name lies where iwasm runs. The environment variable
CONFORMANCE_ENCODING names its backend: onnx, openvino or tensorflowlite (the default).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from conformance.hosts import driver
from conformance.hosts.driver import REFUSED, TRAP, Graph, Outcome


class Driver(driver.Driver):
    """Core modules by the specification."""

    encodings = (os.environ.get("CONFORMANCE_ENCODING", "tensorflowlite"),)
    types = ("f16", "f32", "f64", "u8", "i32", "i64")

    def run(self, guest: Path, graphs: Sequence[Graph], folder: Path, timeout: float) -> Outcome:
        for graph in graphs:
            (folder / graph.name).symlink_to(graph.files[0])
        outcome = super().run(guest, graphs, folder, timeout)
        # iwasm prints exceptions on its standard output, after what the guest prints.
        lines = [line for line in outcome.lines if not line.startswith("Exception:")]
        thrown = "\n".join(line for line in outcome.lines if line.startswith("Exception:"))
        return Outcome(lines, self.end(1, thrown) if thrown else outcome.end, thrown or outcome.reason)

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        return [*self.words, "--dir=.", str(guest)]

    def end(self, code: int, errors: str) -> str:
        if "failed to link import function" in errors:
            return REFUSED
        return TRAP if "Exception:" in errors else f"exit {code}"
