"""This host as one that the conformance suite drives, in the process of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import wasi_nn
from conformance.hosts import wasi_nn as wasi_nn_command
from conformance.hosts.driver import Graph, Outcome
from conformance.hosts.wasi_nn_library import run_guest, run_here


class Here(wasi_nn_command.Driver):
    """This host in this process, with a host for each guest, or with one for all of them."""

    def __init__(self, host: wasi_nn.Host | None = None) -> None:
        super().__init__("here")
        self.host = host

    def run(self, guest: Path, graphs: Sequence[Graph], folder: Path, timeout: float) -> Outcome:
        if self.host is not None:
            return run_guest(self.host, guest)
        return run_here(guest, {graph.name: str(graph.files[0]) for graph in graphs}, self.encodings)
