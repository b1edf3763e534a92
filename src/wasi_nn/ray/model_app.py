"""`ModelApp`: one model of a server, whole: with its queue, its times, its threads and the protocol over HTTP.

The same application serves all models in `wasi_nn.serving.server`; here it has one model, and its requests come from
the ingress.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from starlette.routing import Router

from wasi_nn.loading.registry import Registry
from wasi_nn.ray.messages import HttpAnswer, HttpRequest, handed_back
from wasi_nn.serving.access import Tokens
from wasi_nn.serving.failures import ServingError
from wasi_nn.serving.front import Front
from wasi_nn.serving.guests.model_registry import ModelRegistry
from wasi_nn.serving.http.door import Door
from wasi_nn.serving.observing.metrics import Metrics
from wasi_nn.serving.observing.request_log import RequestLog
from wasi_nn.serving.oip.rest import RestEndpoints
from wasi_nn.serving.request_bytes import RequestBytes
from wasi_nn.serving.service import InferenceService

if TYPE_CHECKING:
    from wasi_nn.loading.named_graph import NamedGraph
    from wasi_nn.loading.rules import LoadRules
    from wasi_nn.loading.served_guest import ServedGuest
    from wasi_nn.serving.settings import ServingLimits

MODELS = "/v2/models/"


def front_of(service: InferenceService, tokens: Tokens, *, log_json: bool) -> Front:
    """What the protocol needs in front of a service."""
    request_bytes = RequestBytes(service.limits.total_bytes)
    return Front(service, tokens, RequestLog(is_on=log_json), Metrics(service, request_bytes), request_bytes)


@dataclass(frozen=True)
class DeployedModel:
    """A model as the operator describes it, to be sent to where it is loaded: a graph, or a guest that serves a model
    with the graphs that it may load. `rules` say how graphs are loaded."""

    name: str
    graphs: Mapping[str, NamedGraph]
    rules: LoadRules
    guest: ServedGuest | None = None

    @property
    def can_repeat(self) -> bool:
        """Whether a request may be computed twice: not where requests change what graphs know."""
        return not any(graph.share_variables for graph in self.graphs.values())

    def registry(self) -> Registry:
        """A registry of this model alone."""
        registry = Registry(self.graphs, rules=self.rules)
        if self.guest is not None:
            registry.guests = {self.name: self.guest}
        return registry


def models_of(registry: Registry, longest: float) -> list[DeployedModel]:
    """The models of a registry, each by itself: its graphs, and the guests of its file that serve models. `longest` is
    the time in seconds of a request."""
    graphs = {name: registry.named(name) for name in registry}
    models = []
    for name in ModelRegistry(registry, longest):
        guest = registry.guests.get(name)
        if guest is None:
            own = {name: graphs[name]}
        else:
            own = {key: graph for key, graph in graphs.items() if any(fnmatchcase(key, it) for it in guest.graphs)}
        models.append(DeployedModel(name, own, registry.rules, guest))
    return models


class ModelApp:
    """Answers the requests for one model. All methods are called in the event loop."""

    def __init__(self, model: DeployedModel, limits: ServingLimits, *, log_json: bool) -> None:
        self._name = model.name
        self._service = InferenceService(model.registry(), limits)
        front = front_of(self._service, Tokens(None), log_json=log_json)
        routes = [route for route in RestEndpoints(front).routes() if route.path.startswith(MODELS)]
        self._door: Any = Door(front, Router(routes, redirect_slashes=False))

    async def load(self) -> None:
        """Load the model. A failure is logged, and requests try again later."""
        with contextlib.suppress(ServingError):
            await self._service.served(self._name)

    async def answer(self, request: HttpRequest) -> HttpAnswer:
        """The answer to a request. Cancelling the call ends its compute."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": request.query,
            "root_path": "",
            "headers": request.headers,
        }
        answer = _Answer(request.body)
        await self._door(scope, answer.receive, answer.send)
        return HttpAnswer(answer.status, handed_back(answer.headers), b"".join(answer.parts))

    def close(self) -> None:
        """Retire the model."""
        self._service.models.close()


class _Answer:
    """The two ends of a connection, as the application sees them."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.parts: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is None:
            await asyncio.Event().wait()  # a client that goes is a cancelled call
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.parts.append(message.get("body", b""))
