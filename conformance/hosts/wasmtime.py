"""Wasmtime's command: https://wasmtime.dev. Its usual build has OpenVINO only.

It looks for the library of OpenVINO where the dynamic linker does, and in the folder that the environment variable
OPENVINO_LIBRARY_PATH names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from conformance.hosts import driver
from conformance.hosts.driver import CRASH, REFUSED, TRAP, Graph


class Driver(driver.Driver):
    """Core modules, and components of the newest version."""

    abis = ("core", "2024-10-28")
    encodings = ("openvino",)

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        named = [option for graph in graphs for option in ("-S", f"nn-graph={graph.encoding}::{graph.folder}")]
        return [*self.words, "run", "-S", "nn", *named, str(guest)]

    def environment(self) -> Mapping[str, str]:
        folder = os.environ.get("OPENVINO_LIBRARY_PATH")
        return {"RUST_BACKTRACE": "0", **({"LD_LIBRARY_PATH": folder} if folder else {})}

    def reason(self, errors: str) -> str:
        lines = [line.strip() for line in errors.splitlines() if line.strip()]
        panics = [place for place, line in enumerate(lines) if "panicked at" in line]
        if panics:
            return " ".join(lines[panics[0] : panics[0] + 2])
        causes = [line for line in lines if line[:1].isdigit()]  # "2: the cause", after where it happened
        return causes[-1] if causes else (lines or [""])[-1]

    def end(self, code: int, errors: str) -> str:
        if "panicked at" in errors:
            return CRASH
        if "unknown import" in errors or "matching implementation was not found" in errors:
            return REFUSED
        # An error of a host function ends the command with 1, a trap of WebAssembly with 134.
        return TRAP if code == 134 or (code == 1 and "failed to run main module" in errors) else f"exit {code}"
