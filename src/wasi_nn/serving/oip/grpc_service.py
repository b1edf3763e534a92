"""The protocol over gRPC: its calls, and what each does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from wasi_nn.errors import one_line
from wasi_nn.oip.proto import open_inference_pb2 as messages
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.models import State
from wasi_nn.serving.observing.request_log import FinishedRequest, request_id
from wasi_nn.serving.observing.request_traces import TOLD_BY
from wasi_nn.serving.observing.summaries import summaries
from wasi_nn.serving.observing.timeline import stage
from wasi_nn.serving.oip import models_view
from wasi_nn.serving.oip.grpc_messages import MessageReader
from wasi_nn.serving.oip.grpc_tensors import answer_takes_long, read_request, takes_long, write_response
from wasi_nn.serving.oip.repository import require_no_changes
from wasi_nn.serving.request import InferenceRequest

if TYPE_CHECKING:
    from wasi_nn.serving.front import Front

logger = logging.getLogger("wasi_nn.serving")

Answer = Callable[[Any, FinishedRequest, Any], Awaitable[Any]]
"""Makes the response to a request; it gets what is noted about the request, and the context of the call."""

SERVICE = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

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

_LONGEST_DETAILS = 600  # characters

_PROBES = ("live", "ready")
"""The calls that need no token: those that a probe makes."""


class GrpcService:
    """What the server does for each call. A call that is cancelled, or whose deadline is over, cancels its method."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._service = front.service
        self._messages = MessageReader(front.service.limits)

    def handler(self) -> Any:
        """The calls, as gRPC takes them: each receives its message, as bytes, only once the call was checked. For that
        they are made as calls with a stream of messages, which is the same on the wire."""
        methods: dict[str, tuple[str, Any, Answer]] = {
            "ServerLive": ("live", messages.ServerLiveRequest, self._live),
            "ServerReady": ("ready", messages.ServerReadyRequest, self._ready),
            "ModelReady": ("model_ready", messages.ModelReadyRequest, self._model_ready),
            "ServerMetadata": ("server_metadata", messages.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": ("model_metadata", messages.ModelMetadataRequest, self._model_metadata),
            "ModelConfig": ("model_config", messages.ModelConfigRequest, self._model_config),
            "ModelStatistics": ("statistics", messages.ModelStatisticsRequest, self._statistics),
            "ModelInfer": ("infer", messages.ModelInferRequest, self._infer),
            "RepositoryIndex": ("index", messages.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": ("load", messages.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": ("unload", messages.RepositoryModelUnloadRequest, self._unload),
        }
        handlers = {
            name: grpc.stream_unary_rpc_method_handler(partial(self._answer, f"{SERVICE}/{name}", call, kind, answer))
            for name, (call, kind, answer) in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def _answer(self, route: str, call: str, kind: Any, answer: Answer, _: Any, context: Any) -> bytes:
        """The answer to a request, which is checked before and noted afterwards; errors become codes of gRPC."""
        metadata = {name: _text(value) for name, value in context.invocation_metadata()}
        facts = FinishedRequest(request_id(metadata.get("x-request-id")), "grpc", call, status="OK", headers=metadata)
        facts.route = route
        try:
            with self._front.noting(facts), self._front.request_bytes.hold() as held:
                try:
                    self._front.admit(facts, metadata.get("authorization"), is_probe=call in _PROBES)
                    if facts.trace_file:
                        context.set_trailing_metadata(((TOLD_BY, facts.trace_file),))
                    content = b""  # of a probe, which waits for nothing
                    if call not in _PROBES:
                        with stage("body"):
                            content = await self._messages.read(context)
                    facts.bytes_in = len(content)
                    held.add(len(content))
                    response: bytes = (await answer(_decoded(kind, content), facts, context)).SerializeToString()
                    facts.bytes_out = len(response)
                    return response
                except ServingError as error:
                    facts.status = CODES[error.reason].name
                    raise
                except asyncio.CancelledError:
                    facts.status = grpc.StatusCode.CANCELLED.name
                    raise
        except ServingError as error:
            trailers = [(TOLD_BY, facts.trace_file)] if facts.trace_file else []
            trailers += [("retry-after", str(error.retry_after))] if error.retry_after else []
            await context.abort(CODES[error.reason], _short(error.message), tuple(trailers))
        except Exception as error:
            logger.exception("request %s failed: %s", facts.id, one_line(error))
            await context.abort(grpc.StatusCode.INTERNAL, "the server failed; its log has more")
        raise AssertionError("abort raises")

    async def _live(self, _: messages.ServerLiveRequest, __: FinishedRequest, ___: Any) -> Any:
        return messages.ServerLiveResponse(live=True)

    async def _ready(self, _: messages.ServerReadyRequest, __: FinishedRequest, ___: Any) -> Any:
        return messages.ServerReadyResponse(ready=self._service.is_ready)

    async def _model_ready(self, request: messages.ModelReadyRequest, facts: FinishedRequest, _: Any) -> Any:
        facts.model = request.name
        state = self._service.models.find(request.name, request.version).state
        return messages.ModelReadyResponse(ready=state is State.READY and not self._service.is_draining)

    async def _server_metadata(self, _: messages.ServerMetadataRequest, __: FinishedRequest, ___: Any) -> Any:
        return messages.ServerMetadataResponse(**models_view.server_metadata(has_admin=self._front.has_admin))

    async def _model_metadata(self, request: messages.ModelMetadataRequest, facts: FinishedRequest, _: Any) -> Any:
        facts.model = request.name
        model, graph = await self._service.graph(request.name, request.version)
        return messages.ModelMetadataResponse(**models_view.model_metadata(model.name, graph))

    async def _model_config(self, request: messages.ModelConfigRequest, facts: FinishedRequest, _: Any) -> Any:
        facts.model = request.name
        model, served = await self._service.served(request.name, request.version)
        return messages.ModelConfigResponse(config=models_view.model_config(model.name, served))

    async def _statistics(self, request: messages.ModelStatisticsRequest, facts: FinishedRequest, _: Any) -> Any:
        facts.model = request.name
        models = self._service.models
        wanted = [models.find(request.name, request.version)] if request.name else models.all()
        return messages.ModelStatisticsResponse(model_stats=models_view.statistics(wanted))

    async def _infer(self, request: messages.ModelInferRequest, facts: FinishedRequest, context: Any) -> Any:
        facts.model, facts.is_work = request.model_name, True
        long_calls, until = self._front.long_calls, self._service.until(context.time_remaining())
        with self._service.reading(request.model_name, request.model_version), stage("parse") as parsing:
            reading = partial(read_request, request, self._service.limits)
            inputs, names, seconds = await long_calls.make(reading, until) if takes_long(request) else reading()
            parsing.tell(lambda: {"inputs": summaries(inputs)})
        until = min(until, self._service.until(seconds))
        inference = InferenceRequest(request.model_name, request.model_version, inputs, names, until)
        result = await self._service.infer(inference)
        facts.waited, facts.computed = result.waited, result.computed
        with stage("answer") as answering:
            answering.tell(lambda: {"outputs": summaries(result.outputs)})
            if answer_takes_long(request, result):
                return await long_calls.make(partial(write_response, request, result), until)
            return write_response(request, result)

    async def _index(self, request: messages.RepositoryIndexRequest, _: FinishedRequest, __: Any) -> Any:
        self._front.require_admin()
        entries = models_view.index(self._service.models, only_ready=request.ready)
        models = [messages.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries]
        return messages.RepositoryIndexResponse(models=models)

    async def _load(self, request: messages.RepositoryModelLoadRequest, facts: FinishedRequest, _: Any) -> Any:
        facts.model = request.model_name
        self._front.require_admin()
        require_no_changes(request.parameters)
        await self._service.models.load(request.model_name)
        return messages.RepositoryModelLoadResponse()

    async def _unload(self, request: messages.RepositoryModelUnloadRequest, facts: FinishedRequest, _: Any) -> Any:
        facts.model = request.model_name
        self._front.require_admin()
        await self._service.models.unload(request.model_name)
        return messages.RepositoryModelUnloadResponse()


def _decoded(kind: Any, content: bytes) -> Any:
    try:
        return kind.FromString(content)
    except DecodeError:
        raise ServingError(Reason.INVALID, f"the message isn't an inference.{kind.DESCRIPTOR.name}") from None


def _short(message: str) -> str:
    """A text that fits into the metadata of an answer, where its characters may take 12 bytes each."""
    return message if len(message) <= _LONGEST_DETAILS else f"{message[:_LONGEST_DETAILS]}..."


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
