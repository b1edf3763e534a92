"""Spans of requests for OpenTelemetry, where its SDK is installed and set up."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import wasi_nn
from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.serving.observing.timeline import Timeline
from wasi_nn.settings import how_to_install_extra

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

    from wasi_nn.serving.observing.request_log import FinishedRequest

_QUIET_PATHS = ("/", "/metrics", "/v2/health/live", "/v2/health/ready")
_QUIET_CALLS = ("live", "ready")
_GEN_AI = "gen_ai."
_WISHES = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_EXPORTERS = "opentelemetry_traces_exporter"
_NAMES = {"otlp": "otlp_proto_http"}
"""The package's own word for an exporter of OTEL_TRACES_EXPORTER."""


@contextmanager
def set_up_by_environment() -> Iterator[None]:
    """During the block, OpenTelemetry is set up as its own variables say: `OTEL_TRACES_EXPORTER`,
    `OTEL_EXPORTER_OTLP_ENDPOINT` and so on. At its end, the last spans are sent.

    Nothing is done if they say nothing, or somebody has set it up. Raises `NNError` with `invalid-argument` for an
    exporter that isn't installed or can't be made.
    """
    provider = _provider()
    try:
        yield
    finally:
        if provider is not None:
            provider.shutdown()


def _provider() -> TracerProvider | None:
    wished = [os.environ.get(name, "") for name in _WISHES]
    if not any(wished) or wished[0] == "none" or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise _no_telemetry(f"{error.name} isn't installed: {how_to_install_extra('otel')}") from error
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    name = os.environ.get("OTEL_SERVICE_NAME") or "wasi-nn"
    provider = TracerProvider(resource=Resource.create({SERVICE_NAME: name, "service.version": wasi_nn.__version__}))
    for word in (wished[0] or "otlp").split(","):
        exporter = _NAMES.get(word.strip(), word.strip())
        found = next(iter(entry_points(group=_EXPORTERS, name=exporter)), None)
        if found is None:
            raise _no_telemetry(f"no exporter named {exporter!r} is installed: {how_to_install_extra('otel')}")
        try:
            provider.add_span_processor(BatchSpanProcessor(found.load()()))
        except Exception as error:
            raise _no_telemetry(f"the exporter {exporter!r} can't be used: {one_line(error)}") from error
    trace.set_tracer_provider(provider)
    return provider


def _no_telemetry(reason: str) -> NNError:
    return NNError(ErrorCode.INVALID_ARGUMENT, f"OTEL_... variables ask for spans, but {reason}")


def spans() -> list[Spans]:
    """The observer that makes spans, if OpenTelemetry is set up in this process; else none."""
    try:
        from opentelemetry import trace
    except ImportError:
        return []
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return []
    return [Spans(trace.get_tracer("wasi_nn.serving", wasi_nn.__version__))]


class Spans:
    """Makes a span for each request that is no probe, with one for each of its stages below it.

    A request's `traceparent` says which trace it belongs to. Requests that aren't sampled have no stages.
    """

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry import propagate, trace
        from opentelemetry.trace import SpanKind, Status, StatusCode

        self._tracer = tracer
        self._extract = propagate.extract
        self._below = trace.set_span_in_context
        self._server = SpanKind.SERVER
        self._failed = Status(StatusCode.ERROR)
        self._spans: dict[int, Span] = {}

    def begun(self, request: FinishedRequest) -> None:
        """Begin the span of a request."""
        if request.path in _QUIET_PATHS or request.path.startswith("/page/") or request.call in _QUIET_CALLS:
            return
        timeline = Timeline()
        above = self._extract(request.headers)
        span = self._tracer.start_span(
            request.route or request.method, above, self._server, start_time=timeline.began_at
        )
        about = span.get_span_context()
        if about.is_valid:
            request.trace_id = f"{about.trace_id:032x}"
        if span.is_recording():
            request.timeline = timeline
            self._spans[id(request)] = span

    def ended(self, request: FinishedRequest) -> None:
        """End the span of a request, and make those of its stages."""
        span, timeline = self._spans.pop(id(request), None), request.timeline
        if span is None or timeline is None:
            return
        if request.protocol == "http":
            span.update_name(f"{request.method} {request.route}".strip())
        span.set_attributes(_attributes(request))
        if request.outcome != "ok":
            span.set_attribute("error.type", request.outcome)
            if _is_our_fault(request):
                span.set_status(self._failed)
        ended = timeline.began + round(1e9 * request.seconds)
        parent = self._below(span)
        begin_of_text = next((stage.ended for stage in timeline.stages if stage.name == "queue"), timeline.began)
        below = self._text_span(timeline, parent, begin_of_text, ended)
        for stage in timeline.stages:
            context = parent if below is None or stage.began < begin_of_text else below
            child = self._tracer.start_span(stage.name, context, start_time=timeline.at(stage.began))
            if request.model:
                child.set_attribute("wasi_nn.model", request.model)
            if stage.error:
                child.set_status(self._failed)
            child.end(timeline.at(stage.ended))
        span.end(timeline.at(ended))

    def _text_span(self, timeline: Timeline, parent: Context, began: int, ended: int) -> Context | None:
        """The span of a text, by the conventions for generative models; the context below it."""
        about = {name: value for name, value in timeline.about.items() if name.startswith(_GEN_AI)}
        if not about:
            return None
        name = f"{about['gen_ai.operation.name']} {about['gen_ai.request.model']}"
        span = self._tracer.start_span(name, parent, attributes=about, start_time=timeline.at(began))
        span.end(timeline.at(ended))
        return self._below(span, parent)


def _attributes(request: FinishedRequest) -> Mapping[str, Any]:
    about: dict[str, Any] = {"wasi_nn.request.id": request.id, "wasi_nn.call": request.call}
    if request.model:
        about["wasi_nn.model"] = request.model
    if request.protocol == "http":
        status = {"http.request.method": request.method, "http.response.status_code": request.status}
        return (
            about
            | status
            | {"url.path": request.path[:1000]}
            | ({"http.route": request.route} if request.route else {})
        )
    return about | {
        "rpc.system.name": "grpc",
        "rpc.method": request.route,
        "rpc.response.status_code": str(request.status),
    }


def _is_our_fault(request: FinishedRequest) -> bool:
    """Whether the server failed, and not the client: over HTTP a status from 500 on."""
    if isinstance(request.status, int):
        return request.status >= 500
    return request.status in ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
