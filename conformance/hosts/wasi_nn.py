"""wasi-nn, a host for Python. The path is that of its command `wasi-nn`.

A process that has loaded the command forks for each guest. Where the Python of the command isn't to be found, each
guest starts the command anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from conformance.hosts import driver
from conformance.hosts.driver import REFUSED, TRAP, Graph
from conformance.suite import HOME


class Driver(driver.Driver):
    """All interfaces; the encodings whose runtimes are installed beside it."""

    abis = ("core", "2024-06-25", "2024-08-19", "2024-10-28", "wasmedge", "wamr", "core-ext", "component-ext")

    def __init__(self, path: str) -> None:
        super().__init__(path)
        python = python_of(self.words)
        self.lasting = [*python, "-c", (HOME / "forking.py").read_text(encoding="utf-8")] if python else []

    def command(self, guest: Path, graphs: Sequence[Graph]) -> list[str]:
        named = [f"--graph={graph.name}={graph.files[0]}" for graph in graphs]
        loads = [f"--allow-load={encoding}" for encoding in self.encodings]
        return [*self.words, "run", *named, *loads, str(guest)]

    def reason(self, errors: str) -> str:
        return next((line for line in reversed(errors.splitlines()) if line.startswith("wasi-nn: ")), "")

    def end(self, code: int, errors: str) -> str:
        refused = code == 1 and ("can't be run" in errors or "exports no memory" in errors)
        return REFUSED if refused else TRAP if code == 134 else f"exit {code}"


def python_of(words: Sequence[str]) -> Sequence[str]:
    """The Python that runs the command: that of `python -m wasi_nn`, or the one in the first line of a script. Empty if
    it isn't known."""
    if words[-2:] == ["-m", "wasi_nn"]:
        return words[:-2]
    path = shutil.which(words[0]) if len(words) == 1 else None
    if path is None:
        return ()
    with open(path, "rb") as file:
        first = file.readline(1000).decode(errors="replace")
    python = first.removeprefix("#!").split()
    return python if first.startswith("#!/") and len(python) == 1 and Path(python[0]).name.startswith("python") else ()
