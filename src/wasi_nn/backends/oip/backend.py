"""Models on servers that speak the Open Inference Protocol over gRPC: Triton, KServe, another `wasi-nn serve`.

A model is at `grpc://HOST:PORT/MODEL` or, with TLS, at `grpcs://HOST:PORT/MODEL`, or at a list of such addresses. Its
inputs and outputs are those that the server tells. Options beside those of `wasi_nn.backends.remote.settings`:
`version` (of the model) and `optional` (the names of inputs that need not be set).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wasi_nn.backends.devices import Device
from wasi_nn.backends.oip.graph import OipGraph
from wasi_nn.backends.oip.metadata import described
from wasi_nn.backends.oip.server import OipServer, imported_grpc
from wasi_nn.backends.options import Check, is_names, is_text, taking
from wasi_nn.backends.remote.addresses import RemoteModel
from wasi_nn.backends.remote.failover import Servers
from wasi_nn.backends.remote.settings import check, settings_of
from wasi_nn.backends.remote_backend import RemoteBackend, ask_about
from wasi_nn.errors import ErrorCode, ModelNotFound, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.types import GraphEncoding


@taking("the version of a model, such as 3")
def _is_version(value: Any) -> bool:
    return is_text(value) or type(value) is int


_OPTIONS: dict[str, Check] = {"version": _is_version, "optional": is_names}


class OipBackend(RemoteBackend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.AUTODETECT
    runtime = "oip"
    module = "grpc"
    extra = "remote"
    schemes = ("grpc", "grpcs")
    works_in_forks = False

    def load_remote(self, model: RemoteModel, options: Mapping[str, Any]) -> Graph:
        self.check_options(options)
        settings = settings_of(options)
        has_tls, version = self.has_tls(model, settings), str(options.get("version", ""))
        made = [OipServer(address, settings, version, has_tls=has_tls) for address in model.addresses]
        try:
            answer, server = ask_about(made, settings, lambda server, call: (server.described(call), server))
        except NNError as error:
            if error.code is ErrorCode.NOT_FOUND:
                raise ModelNotFound(error.message) from None
            raise
        inputs, outputs, metadata = described(server.name, answer, options.get("optional", ()))
        return OipGraph(
            inputs, outputs, metadata, Servers(made, rotates=settings.rotates, repeats=settings.repeats), settings
        )

    def check_options(self, options: Mapping[str, Any]) -> None:
        check("models at grpc://", options, _OPTIONS)

    def list_devices(self) -> Sequence[Device]:
        imported_grpc()  # without it, there is no device
        return super().list_devices()
