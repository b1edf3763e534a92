"""The protocol over gRPC: its calls, and what each does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from wasi_nn.errors import one_line
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.models import State
from wasi_nn.serving.oip import models_view
from wasi_nn.serving.oip.grpc_tensors import read_request, write_response
from wasi_nn.serving.oip.proto import open_inference_pb2 as messages
from wasi_nn.serving.oip.proto.open_inference_pb2_grpc import GRPCInferenceServiceServicer
from wasi_nn.serving.oip.repository import require_no_changes
from wasi_nn.serving.request import InferenceRequest
from wasi_nn.serving.request_log import FinishedRequest, request_id

if TYPE_CHECKING:
    from wasi_nn.serving.front import Front

logger = logging.getLogger("wasi_nn.serving")

Response = TypeVar("Response")

CODES = {
    Reason.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Reason.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.TOO_SLOW: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.UNSUPPORTED: grpc.StatusCode.UNIMPLEMENTED,
    Reason.OVERLOADED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.FAILED: grpc.StatusCode.INTERNAL,
    Reason.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    Reason.LATE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Reason.CANCELLED: grpc.StatusCode.CANCELLED,
}
"""The code of each error."""

_PROBES = ("live", "ready")
"""The calls that need no token: those that a probe makes."""


class GrpcService(GRPCInferenceServiceServicer):
    """What the server does for each call. A call that is cancelled, or whose deadline is over, cancels its method."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._service = front.service

    async def _answer(
        self,
        call: str,
        request: Any,
        context: Any,
        answer: Callable[[FinishedRequest], Awaitable[Response]],
        model: str = "",
    ) -> Response:
        """The answer to a request, which is checked before and noted afterwards; errors become codes of gRPC."""
        metadata = dict(context.invocation_metadata())
        facts = FinishedRequest(request_id(_text(metadata.get("x-request-id"))), "grpc", call, model, status="OK")
        facts.bytes_in = request.ByteSize()
        try:
            with self._front.noting(facts), self._front.request_bytes.hold() as held:
                try:
                    if call not in _PROBES:
                        self._front.tokens.require(_text(metadata.get("authorization")))
                    held.add(facts.bytes_in)
                    response = await answer(facts)
                    facts.bytes_out = response.ByteSize()  # type: ignore[attr-defined]  # a message
                    return response
                except ServingError as error:
                    facts.status = CODES[error.reason].name
                    raise
                except asyncio.CancelledError:
                    facts.status = grpc.StatusCode.CANCELLED.name
                    raise
        except ServingError as error:
            trailers = (("retry-after", str(error.retry_after)),) if error.retry_after else ()
            await context.abort(CODES[error.reason], error.message, trailers)
        except Exception as error:
            logger.exception("request %s failed: %s", facts.id, one_line(error))
            await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log has more")
        raise AssertionError("abort raises")

    async def ServerLive(self, request: messages.ServerLiveRequest, context: Any) -> messages.ServerLiveResponse:
        async def answer(_: FinishedRequest) -> messages.ServerLiveResponse:
            return messages.ServerLiveResponse(live=True)

        return await self._answer("live", request, context, answer)

    async def ServerReady(self, request: messages.ServerReadyRequest, context: Any) -> messages.ServerReadyResponse:
        async def answer(_: FinishedRequest) -> messages.ServerReadyResponse:
            return messages.ServerReadyResponse(ready=self._service.is_ready)

        return await self._answer("ready", request, context, answer)

    async def ModelReady(self, request: messages.ModelReadyRequest, context: Any) -> messages.ModelReadyResponse:
        async def answer(_: FinishedRequest) -> messages.ModelReadyResponse:
            state = self._service.models.find(request.name, request.version).state
            return messages.ModelReadyResponse(ready=state is State.READY and not self._service.is_draining)

        return await self._answer("model_ready", request, context, answer, request.name)

    async def ServerMetadata(
        self, request: messages.ServerMetadataRequest, context: Any
    ) -> messages.ServerMetadataResponse:
        async def answer(_: FinishedRequest) -> messages.ServerMetadataResponse:
            return messages.ServerMetadataResponse(**models_view.server_metadata(has_admin=self._front.has_admin))

        return await self._answer("server_metadata", request, context, answer)

    async def ModelMetadata(
        self, request: messages.ModelMetadataRequest, context: Any
    ) -> messages.ModelMetadataResponse:
        async def answer(_: FinishedRequest) -> messages.ModelMetadataResponse:
            model, graph = await self._service.graph(request.name, request.version)
            return messages.ModelMetadataResponse(**models_view.model_metadata(model.name, graph))

        return await self._answer("model_metadata", request, context, answer, request.name)

    async def ModelInfer(self, request: messages.ModelInferRequest, context: Any) -> messages.ModelInferResponse:
        async def answer(facts: FinishedRequest) -> messages.ModelInferResponse:
            self._service.models.find(request.model_name, request.model_version)  # before the tensors are read
            inputs, names, seconds = read_request(request, self._service.limits)
            left = context.time_remaining()
            times = [each for each in (seconds, left) if each is not None]
            until = self._service.until(min(times, default=None))
            inference = InferenceRequest(request.model_name, request.model_version, inputs, names, until)
            result = await self._service.infer(inference)
            facts.waited, facts.computed = result.waited, result.computed
            return write_response(request, result)

        return await self._answer("infer", request, context, answer, request.model_name)

    async def RepositoryIndex(
        self, request: messages.RepositoryIndexRequest, context: Any
    ) -> messages.RepositoryIndexResponse:
        async def answer(_: FinishedRequest) -> messages.RepositoryIndexResponse:
            self._front.require_admin()
            entries = models_view.index(self._service.models, only_ready=request.ready)
            models = [messages.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries]
            return messages.RepositoryIndexResponse(models=models)

        return await self._answer("index", request, context, answer)

    async def RepositoryModelLoad(
        self, request: messages.RepositoryModelLoadRequest, context: Any
    ) -> messages.RepositoryModelLoadResponse:
        async def answer(_: FinishedRequest) -> messages.RepositoryModelLoadResponse:
            self._front.require_admin()
            require_no_changes(request.parameters)
            await self._service.models.load(request.model_name)
            return messages.RepositoryModelLoadResponse()

        return await self._answer("load", request, context, answer, request.model_name)

    async def RepositoryModelUnload(
        self, request: messages.RepositoryModelUnloadRequest, context: Any
    ) -> messages.RepositoryModelUnloadResponse:
        async def answer(_: FinishedRequest) -> messages.RepositoryModelUnloadResponse:
            self._front.require_admin()
            await self._service.models.unload(request.model_name)
            return messages.RepositoryModelUnloadResponse()

        return await self._answer("unload", request, context, answer, request.model_name)


def _text(value: str | bytes | None) -> str | None:
    return value.decode("latin-1") if isinstance(value, bytes) else value
