"""The protocol over HTTP: its paths, and what each does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wasi_nn.arguments import shown
from wasi_nn.serving.computing.long_calls import LARGE_JSON
from wasi_nn.serving.failures import invalid
from wasi_nn.serving.http.bodies import read_body
from wasi_nn.serving.http.disconnects import while_connected
from wasi_nn.serving.http.door import as_json, begin_work
from wasi_nn.serving.models import State
from wasi_nn.serving.observing.summaries import summaries
from wasi_nn.serving.observing.timeline import stage
from wasi_nn.serving.oip import models_view
from wasi_nn.serving.oip.openapi import description
from wasi_nn.serving.oip.repository import require_no_changes
from wasi_nn.serving.oip.rest_request import (
    parameters_of,
    read_json,
    read_request,
    takes_long as request_takes_long,
)
from wasi_nn.serving.oip.rest_response import JSON_SIZE, takes_long as answer_takes_long, write_response
from wasi_nn.serving.request import InferenceRequest

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from wasi_nn.serving.front import Front
    from wasi_nn.serving.observing.request_log import FinishedRequest


class _ModelName(StringConvertor):
    """The name of a model in a path, which may have slashes. The words at the end of longer paths are no part of it."""

    regex = "(?:[^/]+|.+/(?!(?:infer|ready|config|stats)(?:/|$))[^/]*)"


register_url_convertor("model", _ModelName())


class _Endpoint:
    """An endpoint without the handling of errors that Starlette puts around functions: the door handles them."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer
        self.__name__ = answer.__name__

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)


class RestEndpoints:
    """What the server does for each path."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._service = front.service
        self._description = description()

    def routes(self) -> list[Route]:
        """The routes of all paths; the first that fits is taken."""
        model = "/v2/models/{name:model}"
        version = f"{model}/versions/{{version}}"
        repository = "/v2/repository"
        return [
            Route(f"{version}/infer", _Endpoint(self.infer), methods=["POST"]),
            Route(f"{model}/infer", _Endpoint(self.infer), methods=["POST"]),
            Route(f"{version}/ready", self.model_ready),
            Route(f"{model}/ready", self.model_ready),
            Route(f"{version}/config", self.model_config),
            Route(f"{model}/config", self.model_config),
            Route(f"{version}/stats", self.statistics),
            Route(f"{model}/stats", self.statistics),
            Route("/v2/models/stats", self.all_statistics),
            Route(version, self.model_metadata),
            Route(model, self.model_metadata),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2", self.server_metadata),
            Route(f"{repository}/index", self.index, methods=["POST"]),
            Route(f"{repository}/models/{{name:model}}/load", self.load, methods=["POST"]),
            Route(f"{repository}/models/{{name:model}}/unload", self.unload, methods=["POST"]),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
        ]

    async def live(self, request: Request) -> Response:
        """Whether the server runs."""
        return as_json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether the server takes requests and all models are ready."""
        is_ready = self._service.is_ready
        return as_json({"ready": is_ready}, 200 if is_ready else 503)

    async def server_metadata(self, request: Request) -> Response:
        """The server's name, version and extensions."""
        return as_json(models_view.server_metadata(has_admin=self._front.has_admin))

    async def model_ready(self, request: Request) -> Response:
        """Whether a model is ready."""
        model = self._service.models.find(*_model_of(request))
        is_ready = model.state is State.READY and not self._service.is_draining
        return as_json({"name": model.name, "ready": is_ready}, 200 if is_ready else 503)

    async def model_metadata(self, request: Request) -> Response:
        """The inputs and outputs of a model."""
        model, graph = await while_connected(request.receive, self._service.graph(*_model_of(request)))
        return as_json(models_view.model_metadata(model.name, graph))

    async def model_config(self, request: Request) -> Response:
        """The configuration of a model."""
        model, served = await while_connected(request.receive, self._service.served(*_model_of(request)))
        return as_json(models_view.model_config(model.name, served))

    async def statistics(self, request: Request) -> Response:
        """What a model has done."""
        model = self._service.models.find(*_model_of(request))
        return as_json({"model_stats": models_view.statistics([model])})

    async def all_statistics(self, request: Request) -> Response:
        """What all models have done."""
        if self._service.models.has("stats"):  # the path is that of this model, then
            request.path_params["name"] = "stats"
            return await self.model_metadata(request)
        return as_json({"model_stats": models_view.statistics(self._service.models.all())})

    async def infer(self, request: Request) -> Response:
        """An inference."""
        name, version = _model_of(request)
        self._service.models.find(name, version)  # before the body is read
        facts, limits = begin_work(request), self._service.limits
        with self._front.request_bytes.hold() as held:
            with self._service.reading(name, version), stage("body"):
                body = await read_body(request, limits, held)
            facts.bytes_in = len(body)
            answer = self._inferred(name, version, body, _json_size(request), facts)
            content, headers = await while_connected(request.receive, answer, request.scope.get("connection"))
        return Response(content, headers=headers)

    async def _inferred(
        self, name: str, version: str, body: bytes, json_size: int | None, facts: FinishedRequest
    ) -> tuple[bytes, dict[str, str]]:
        """The body and the headers of the answer to an inference request."""
        limits, long_calls = self._service.limits, self._front.long_calls
        until = self._service.until(None)
        with self._service.reading(name, version), stage("parse") as parsing:
            if request_takes_long(body, json_size):
                reading = partial(read_request, body, json_size, limits, in_pieces=True)
                wanted = await long_calls.make(reading, until)
            else:
                wanted = read_request(body, json_size, limits)
            parsing.tell(lambda: {"inputs": summaries(wanted.inputs)})
        until = min(until, self._service.until(wanted.seconds))
        inference = InferenceRequest(name, version, wanted.inputs, tuple(wanted.outputs), until)
        result = await self._service.infer(inference)
        facts.waited, facts.computed = result.waited, result.computed
        with stage("answer") as answering:
            answering.tell(lambda: {"outputs": summaries(result.outputs)})
            if answer_takes_long(wanted, result):
                return await long_calls.make(partial(write_response, name, wanted, result, limits), until)
            return write_response(name, wanted, result, limits)

    async def index(self, request: Request) -> Response:
        """The models and their states."""
        self._front.require_admin()
        content = await self._json(request)
        only_ready = content.get("ready", False) if isinstance(content, dict) else content
        if not isinstance(only_ready, bool):
            raise invalid(f'the request is an object of JSON, such as {{"ready": true}}, not {shown(content)}')
        return as_json(models_view.index(self._service.models, only_ready=only_ready))

    async def load(self, request: Request) -> Response:
        """Load a model, also anew."""
        self._front.require_admin()
        name, _ = _model_of(request)
        require_no_changes(parameters_of(await self._json(request)))
        await self._service.models.load(name)
        return as_json({})

    async def unload(self, request: Request) -> Response:
        """Unload a model."""
        self._front.require_admin()
        name, _ = _model_of(request)
        await self._json(request)
        await self._service.models.unload(name)
        return as_json({})

    async def metrics(self, request: Request) -> Response:
        """The metrics of the server."""
        return Response(self._front.metrics.text(), media_type=self._front.metrics.content_type)

    async def openapi(self, request: Request) -> Response:
        """The description of these paths."""
        return as_json(self._description)

    async def _json(self, request: Request) -> object:
        """The body of a request, which may be empty, as JSON."""
        with self._front.request_bytes.hold() as held:
            body = await read_body(request, self._service.limits, held)
            if len(body) <= LARGE_JSON:
                return read_json(body, self._service.limits) if body else {}
            reading = partial(read_json, body, self._service.limits, in_pieces=True)
            return await self._front.long_calls.make(reading, self._service.until(None))


def _model_of(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")


def _json_size(request: Request) -> int | None:
    text = request.scope["facts"].headers.get(JSON_SIZE.lower())
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise invalid(f"{JSON_SIZE} is a number of bytes, not {shown(text)}")
    return int(text)
