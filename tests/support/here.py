"""This host as one that the conformance suite drives, in the process of the tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import wasi_nn
from conformance.hosts import wasi_nn as wasi_nn_command
from conformance.hosts.driver import Graph, Outcome
from conformance.library import Hosts, run_guest
from wasi_nn.guests import compiler


class Here(wasi_nn_command.Driver):
    """This host in this process, with a host for each set of named graphs, or with one for all guests."""

    def __init__(self, host: wasi_nn.Host | None = None, **settings: Any) -> None:
        """`settings` are those of the hosts that are made."""
        super().__init__("here")
        self.host = host
        self.hosts = Hosts(**settings)

    def run(self, guest: Path, graphs: Sequence[Graph], folder: Path, timeout: float) -> Outcome:
        if self.host is not None:
            return self.outcome(*run_guest(self.host, guest))
        return self.outcome(*self.hosts.run(guest, {it.name: str(it.files[0]) for it in graphs}, self.encodings))

    def close(self) -> None:
        self.hosts.close()


@pytest.fixture(scope="module", autouse=True)
def compiled_here() -> Iterator[None]:
    """Have guests compiled in this process, in the modules of tests that have this fixture: where the cache has none
    of them, the start of a process for each takes ten times as long as the compilation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "compile_guest", lambda kind, engine, wasm, *_: kind(engine, wasm))
        yield
