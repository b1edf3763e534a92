"""wasi-nn, a host for Python. The path is that of its command `wasi-nn`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conformance.hosts import driver
from conformance.hosts.driver import REFUSED, TRAP, Graph


class Driver(driver.Driver):
    """All interfaces; the encodings whose runtimes are installed beside it."""

    abis = ("core", "2024-06-25", "2024-08-19", "2024-10-28", "wasmedge", "wamr", "core-ext", "component-ext")

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        named = [f"--graph={graph.name}={graph.files[0]}" for graph in graphs]
        loads = [f"--allow-load={encoding}" for encoding in self.encodings]
        return [*self.words, "run", *named, *loads, str(guest)]

    def reason(self, errors: str) -> str:
        return next((line for line in reversed(errors.splitlines()) if line.startswith("wasi-nn: ")), "")

    def end(self, code: int, errors: str) -> str:
        if code == 134:
            return TRAP
        refused = "can't be run" in errors or "exports no memory" in errors
        return REFUSED if code == 1 and refused else f"exit {code}"
