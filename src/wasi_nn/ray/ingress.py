"""The ingress: takes requests over HTTP, and passes each on to the deployment of its model."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, RayError, RaySystemError, WorkerCrashedError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, ReplicaUnavailableError
from starlette.responses import Response
from starlette.routing import Route, Router

from wasi_nn.errors import nearest, one_line, shortened
from wasi_nn.loading.registry import Registry
from wasi_nn.ray.messages import HttpAnswer, HttpRequest, passed_on
from wasi_nn.ray.model_app import MODELS, front_of
from wasi_nn.serving.access import Tokens
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.http.bodies import read_body
from wasi_nn.serving.http.disconnects import while_connected
from wasi_nn.serving.http.door import Door, as_json
from wasi_nn.serving.oip import models_view
from wasi_nn.serving.oip.openapi import description
from wasi_nn.serving.service import InferenceService

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle
    from starlette.requests import Request

    from wasi_nn.serving.settings import ServingLimits

_GONE = (
    RayActorError,
    NodeDiedError,
    ObjectLostError,
    RaySystemError,
    WorkerCrashedError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
"""The errors of a replica whose process or node is gone, or is just going."""
_PAUSE = 0.1  # seconds before a request goes to another replica


@dataclass(frozen=True)
class RemoteModel:
    """The deployment of a model. `can_repeat` says whether a request may be computed twice: not where requests change
    what the model knows."""

    handle: DeploymentHandle
    can_repeat: bool


class Ingress:
    """The application that clients reach. It has the checks of a server, and no model of its own."""

    def __init__(
        self,
        models: Mapping[str, RemoteModel],
        limits: ServingLimits,
        token_file: os.PathLike[str] | None,
        log_json: bool,
    ) -> None:
        self._models = models
        self._limits = limits
        self._tokens = Tokens(token_file)  # type: ignore[arg-type]  # a path
        self._log_json = log_json

    def application(self) -> Any:
        """The application, for the event loop that this is called in."""
        front = front_of(InferenceService(Registry(), self._limits), self._tokens, log_json=self._log_json)
        self._request_bytes = front.request_bytes
        routes = [
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2", self.server_metadata),
            Route("/openapi.json", self.openapi),
            Route(f"{MODELS}{{path:path}}", self.model, methods=["GET", "POST"]),
        ]
        return Door(front, Router(routes, redirect_slashes=False))

    async def live(self, request: Request) -> Response:
        """Whether the server runs."""
        return as_json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether all models are ready."""
        is_ready = await while_connected(request.receive, self._are_ready())
        return as_json({"ready": is_ready}, 200 if is_ready else 503)

    async def _are_ready(self) -> bool:
        return all(await asyncio.gather(*(self._is_ready(name) for name in self._models)))

    async def _is_ready(self, name: str) -> bool:
        try:
            answer = await self._answer(name, HttpRequest("GET", f"{MODELS}{name}/ready", b"", [], b""))
        except ServingError:
            return False
        return answer.status == 200

    async def server_metadata(self, request: Request) -> Response:
        """The server's name, version and extensions."""
        return as_json(models_view.server_metadata(has_admin=False))

    async def openapi(self, request: Request) -> Response:
        """The description of these paths."""
        return as_json(description())

    async def model(self, request: Request) -> Response:
        """A request for a model, which its deployment answers."""
        path = str(request.path_params["path"])
        name = self._name_in(path)
        facts = request.scope["facts"]
        facts.model = name
        with self._request_bytes.hold() as held:
            body = await read_body(request, self._limits, held)
            facts.bytes_in = len(body)
            headers = passed_on(request.headers.raw, body, facts.id)
            passed = HttpRequest(request.method, MODELS + path, request.scope["query_string"], headers, body)
            answer = await while_connected(request.receive, self._answer(name, passed))
        response = Response(answer.body, answer.status)
        response.raw_headers = answer.headers
        return response

    def _name_in(self, path: str) -> str:
        """The name of the model that a path begins with. Raises `ServingError` with `not-found` if there is none."""
        # A name may have slashes: the longest one counts.
        found = [name for name in self._models if path == name or path.startswith(f"{name}/")]
        if found:
            return max(found, key=len)
        name = path.partition("/")[0]
        near = nearest(name, self._models) if len(name) < 200 else ""
        raise ServingError(Reason.NOT_FOUND, f"no model is named {shortened(name)!r}{near}")

    async def _answer(self, name: str, request: HttpRequest) -> HttpAnswer:
        """The answer of a model's deployment. If its replica goes before it answers, another one is asked, within the
        time of the request. Raises `ServingError`."""
        model = self._models[name]
        try:
            async with asyncio.timeout(self._limits.request_time):
                while True:
                    try:
                        return await self._asked(model, request)
                    except _GONE as error:
                        if not model.can_repeat:
                            message = f"the replica of model {name!r} is gone, and its requests can't be repeated"
                            raise ServingError(Reason.UNAVAILABLE, message, retry_after=1) from error
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            message = f"model {name!r} didn't answer within the request's time"
            raise ServingError(Reason.LATE, message) from None
        except BackPressureError:
            message = f"the queue of model {name!r} is full"
            raise ServingError(Reason.OVERLOADED, message, retry_after=1) from None
        except RayError as error:
            raise ServingError(Reason.FAILED, f"model {name!r} failed: {one_line(error)[:500]}") from error

    async def _asked(self, model: RemoteModel, request: HttpRequest) -> HttpAnswer:
        """The answer of some replica. Cancelling the call ends the compute there."""
        response = model.handle.answer.remote(request)
        try:
            answer: HttpAnswer = await response
        except asyncio.CancelledError:
            response.cancel()
            raise
        return answer
