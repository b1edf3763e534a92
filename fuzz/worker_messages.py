"""Target: messages of a worker that a hostile model has taken over. The host checks all of them.

The first byte says what the rest is: bytes on the socket, or the JSON of an error, of a graph, of strings with dims, of
dims, of outputs, or of a set of variables. Invalid messages raise only the errors that the host expects.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fuzz.checks import refusals
from wasi_nn import Graph, NNError, Runner, TensorInfo
from wasi_nn.isolation.shared_memory import WorkerMemory
from wasi_nn.isolation.wire.channel import Channel, Gone
from wasi_nn.isolation.wire.descriptions import Description, InvalidWorkerMessage, dims_of, error_of, texts_of
from wasi_nn.isolation.wire.outputs import OutputReader, declared_outputs
from wasi_nn.isolation.wire.variables import nbytes_of, templates_of, values_of
from wasi_nn.session import state_files

MAX_SIZE = 4096

_INVALID = (KeyError, TypeError, ValueError, IndexError)
"""The errors by which the host recognises invalid outputs. Elsewhere, `ValueError` is the only one."""


def run(data: bytes) -> None:
    """Read one message and its content."""
    if not data:
        return
    if data[0] >= len(KINDS):
        with suppress(ValueError, Gone):
            _received(data[1:])
        return
    with suppress(ValueError, Gone):
        message = _received(_framed(data[1:]))
        KINDS[data[0]](message["said"])


def _framed(content: bytes) -> bytes:
    text = b'{"said":' + content + b"}"
    return len(text).to_bytes(4, "little") + bytes(8) + text


def _received(content: bytes) -> dict[str, Any]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(content)
        theirs.shutdown(socket.SHUT_WR)
        return Channel(ours).receive()[0]


def _error(content: Any) -> None:
    assert str(error_of(content)).isprintable()


def _graph(content: Any) -> None:
    graph = Description(content, b"")
    for info in (*graph.inputs, *graph.outputs):
        assert str(info).isprintable()
    assert sum(map(len, graph.signatures)) < 2**20


def _texts(said: Any) -> None:
    with suppress(*_INVALID):
        content, dims = said
        if isinstance(content, str):
            texts_of(content.encode("latin-1", "replace"), dims_of(dims))


def _dims(content: Any) -> None:
    with suppress(*_INVALID):
        dims_of(content)


def _outputs(content: Any) -> None:
    if not isinstance(content, dict):
        return
    for reader in _READERS:
        with suppress(InvalidWorkerMessage):
            for array in reader.read(content):
                array.tobytes()


def _variables(content: Any) -> None:
    if not isinstance(content, dict):
        return
    with suppress(InvalidWorkerMessage):
        assert nbytes_of(content) >= 0
    with suppress(InvalidWorkerMessage):
        assert all(array.strides == (0,) * array.ndim for array in templates_of(content.get("templates")).values())
    with suppress(InvalidWorkerMessage), refusals(NNError):
        state_files.written(values_of(_READERS[1].read(content)))


class _Graph(Graph):
    def __init__(self, outputs_vary: bool) -> None:
        super().__init__([], [] if outputs_vary else [TensorInfo(name, None, None) for name in "ab"])
        self.outputs_vary = outputs_vary

    def runner(self) -> Runner:
        raise NotImplementedError


_READERS = [OutputReader(declared_outputs(_Graph(outputs_vary)), WorkerMemory()) for outputs_vary in (False, True)]
for _reader in _READERS:
    _reader.give_room(4096)

KINDS: tuple[Callable[[Any], None], ...] = (_error, _graph, _texts, _dims, _outputs, _variables)
