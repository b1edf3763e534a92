"""Language models on servers that speak OpenAI's API: vLLM, llama.cpp's server, another `wasi-nn serve` and others.

A model is at `openai+http://HOST:PORT/v1#MODEL` or, with TLS, at `openai+https://...`, or at a list of such addresses.
Guests use it as a model of ggml: a prompt in, a text out, whole or piece by piece. Options beside those of
`wasi_nn.backends.remote.settings` are in `wasi_nn.backends.openai.options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wasi_nn.backends.openai.graph import OpenAIGraph
from wasi_nn.backends.openai.options import OPERATORS
from wasi_nn.backends.openai.server import OpenAIServer
from wasi_nn.backends.remote.addresses import RemoteModel
from wasi_nn.backends.remote.failover import Servers
from wasi_nn.backends.remote.settings import check, settings_of
from wasi_nn.backends.remote_backend import RemoteBackend, ask_about
from wasi_nn.graph.graph import Graph
from wasi_nn.types import GraphEncoding


class OpenAIBackend(RemoteBackend):
    """See `wasi_nn.backends.Backend`."""

    encoding = GraphEncoding.GGML
    runtime = "openai"
    module = "http"  # of the standard library
    schemes = ("openai+http", "openai+https")

    def load_remote(self, model: RemoteModel, options: Mapping[str, Any]) -> Graph:
        self.check_options(options)
        settings = settings_of(options)
        has_tls = self.has_tls(model, settings)
        made = [OpenAIServer(address, settings, has_tls=has_tls) for address in model.addresses]
        found = ask_about(made, settings, lambda server, call: server.find_model(call))
        for server in made:
            server.model = server.model or found
        return OpenAIGraph(Servers(made, rotates=settings.rotates, repeats=settings.repeats), settings, options, {})

    def check_options(self, options: Mapping[str, Any]) -> None:
        check("models at openai+http://", options, OPERATORS)
