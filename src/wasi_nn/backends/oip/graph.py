"""A model on other servers, and the runners that have them compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.backends.oip.messages import Requests, read_outputs
from wasi_nn.backends.remote.calls import CallingRunner
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.runner import Runner, can_write_into

if TYPE_CHECKING:
    from wasi_nn.backends.oip.server import OipServer
    from wasi_nn.backends.remote.failover import Servers
    from wasi_nn.backends.remote.settings import RemoteSettings
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.types import Array


class OipGraph(Graph):
    """A model on one server or on several."""

    runtime = "oip"
    device = "remote"

    def __init__(
        self,
        inputs: Iterable[TensorInfo],
        outputs: Iterable[TensorInfo],
        metadata: Mapping[str, str],
        servers: Servers[OipServer],
        settings: RemoteSettings,
    ) -> None:
        super().__init__(inputs, outputs, metadata)
        self.outputs_vary = not self.outputs
        self.servers = servers
        self.settings = settings

    def runner(self) -> Runner:
        return _OipRunner(self)


class _OipRunner(CallingRunner):
    """Has a server compute. Nothing is kept of one compute for the next."""

    def __init__(self, graph: OipGraph) -> None:
        super().__init__(graph.settings.timeout)
        self._graph = graph
        self._requests = Requests(graph.inputs, graph.outputs)

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        call, graph = self.new_call(), self._graph

        def ask(server: OipServer) -> Sequence[tuple[str, Array]]:
            response = server.infer(self._requests.request(server.model, server.version, inputs), call)
            if response.ByteSize() > graph.settings.max_answer_bytes:
                message = f"{server.name}: the answer has {response.ByteSize()} bytes (option max-answer-bytes)"
                raise NNError(ErrorCode.TOO_LARGE, message)
            return read_outputs(server.name, response, graph.outputs)

        named = graph.servers.ask(call, ask)
        if graph.outputs_vary:
            return Outputs.named((name, array.copy()) for name, array in named)
        return _own([array for _, array in named], reuse)


def _own(arrays: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
    """The outputs in memory of their own: that of an earlier compute, where it fits. They are views of the answer."""
    if reuse and len(reuse) == len(arrays) and all(map(_fits_into, arrays, reuse)):
        for old, new in zip(reuse, arrays, strict=True):
            np.copyto(old, new)
        return reuse
    return [array.copy() for array in arrays]


def _fits_into(array: Array, old: Array) -> bool:
    return array.shape == old.shape and not array.dtype.hasobject and can_write_into(old, array.dtype)
