"""WACS, a host in .NET with both ABIs: https://github.com/kelnishi/WACS. The path is that of its command `wacs`.

Its backend for ONNX loads models from guests' bytes only. The options are those of its documentation; the suite's
authors had no .NET to run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conformance.hosts import driver
from conformance.hosts.driver import CRASH, REFUSED, TRAP, Graph


class Driver(driver.Driver):
    """Core modules, and components of the newest version."""

    abis = ("core", "2024-10-28")
    encodings = ("onnx",)
    named = False

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        component = [] if "core" in guest.parts else ["--wasip2"]
        return [*self.words, "run", str(guest), *component, "--wasi-nn"]

    def end(self, code: int, errors: str) -> str:
        if "Unhandled exception" in errors:
            return CRASH
        if "import" in errors and "not found" in errors:
            return REFUSED
        return TRAP if "trap" in errors.lower() else f"exit {code}"
