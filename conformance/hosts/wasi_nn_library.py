"""wasi-nn, a host for Python, as a library. The path is that of the Python that has it.

It is much faster than the command, since a process runs many guests, and keeps their models.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.hosts import wasi_nn
from conformance.hosts.driver import Graph, ask
from conformance.suite import HOME


class Driver(wasi_nn.Driver):
    """The same as that of the command, in processes that run many guests."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.lasting = [path, "-m", "conformance.library"]

    def version(self, timeout: float = 60) -> str:
        code = "import wasi_nn; print('wasi-nn', wasi_nn.__version__, '(library)')"
        said = ask([self.path, "-c", code], timeout, self.whole_environment())
        if not said:
            raise OSError(f"{self.path} is no Python that has wasi-nn")
        return said

    def environment(self) -> Mapping[str, str]:
        places = [str(HOME.parent), os.environ.get("PYTHONPATH", "")]
        return {"PYTHONPATH": os.pathsep.join(place for place in places if place)}

    def task(self, guest: Path, graphs: Sequence[Graph], folder: Path) -> Mapping[str, Any]:
        files = {graph.name: str(graph.files[0]) for graph in graphs}
        return {"guest": str(guest), "graphs": files, "encodings": list(self.encodings)}
