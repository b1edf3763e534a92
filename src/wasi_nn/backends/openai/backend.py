"""Language models on servers that speak OpenAI's API: vLLM, llama.cpp's server, another `wasi-nn serve` and others.

A model is at `openai+http://HOST:PORT/v1#MODEL` or, with TLS, at `openai+https://...`, or at a list of such addresses.
Guests use it as a model of ggml: a prompt in, a text out, whole or piece by piece. Options beside those of
`wasi_nn.backends.remote.settings` are in `wasi_nn.backends.openai.options`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wasi_nn.backends.backend import Backend
from wasi_nn.backends.devices import REMOTE, Device
from wasi_nn.backends.openai.graph import OpenAIGraph
from wasi_nn.backends.openai.options import OPERATORS
from wasi_nn.backends.openai.server import OpenAIServer
from wasi_nn.backends.remote.addresses import RemoteModel
from wasi_nn.backends.remote.calls import Call
from wasi_nn.backends.remote.failover import Servers
from wasi_nn.backends.remote.settings import check, settings_of
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.types import ExecutionTarget, GraphEncoding

_TIME_TO_LOAD = 30.0  # seconds for all servers together


class OpenAIBackend(Backend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.GGML
    runtime = "openai"
    module = "http"  # of the standard library
    schemes = ("openai+http", "openai+https")

    def sniff(self, model: memoryview) -> bool:
        return False

    def load_path(self, path: Path, target: ExecutionTarget, options: Mapping[str, Any]) -> Graph:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, "openai runs models on other servers, not those in files")

    def load_remote(self, model: RemoteModel, options: Mapping[str, Any]) -> Graph:
        self.check_options(options)
        settings, has_tls = settings_of(options), model.scheme == "openai+https"
        for address in model.addresses:
            settings.require_safe(address, is_encrypted=has_tls)
        made = [OpenAIServer(address, settings, has_tls=has_tls) for address in model.addresses]
        call = Call(_TIME_TO_LOAD)
        found = Servers(made, rotates=settings.rotates, repeats=True).ask(call, lambda server: server.find_model(call))
        for server in made:
            server.model = server.model or found
        return OpenAIGraph(Servers(made, rotates=settings.rotates, repeats=settings.repeats), settings, options, {})

    def check_options(self, options: Mapping[str, Any]) -> None:
        check("models at openai+http://", options, OPERATORS)

    def list_devices(self) -> Sequence[Device]:
        return [REMOTE]
