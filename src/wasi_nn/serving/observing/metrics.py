"""The metrics of a server, in Prometheus' form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

import wasi_nn

if TYPE_CHECKING:
    from wasi_nn.guests.http.outgoing.outgoing import OutgoingFacts
    from wasi_nn.serving.computing.compute_queue import ComputeQueue
    from wasi_nn.serving.computing.executions import Execution
    from wasi_nn.serving.observing.request_log import FinishedRequest
    from wasi_nn.serving.request_bytes import RequestBytes
    from wasi_nn.serving.service import InferenceService

# Small networks take a tenth of a millisecond, and texts take minutes.
_SECONDS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
)

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class _Series:
    """The metrics of requests that have the same labels."""

    requests: Counter
    seconds: Histogram
    bytes_in: Counter
    bytes_out: Counter
    compute: Histogram
    waited: Histogram


class Metrics:
    """Counts requests; the queue and the computes are looked at when the metrics are read.

    Only names of models that exist become labels, so that clients can't make up new ones.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, service: InferenceService, request_bytes: RequestBytes) -> None:
        self._service = service
        self._registry = registry = CollectorRegistry()
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        labels = ("protocol", "call", "model")
        self._requests = Counter(
            "wasi_nn_requests", "Requests, by their outcome", (*labels, "outcome"), registry=registry
        )
        self._seconds = Histogram(
            "wasi_nn_request_seconds", "Seconds of requests", labels, buckets=_SECONDS, registry=registry
        )
        self._compute = Histogram(
            "wasi_nn_compute_seconds", "Seconds of computes", ("model",), buckets=_SECONDS, registry=registry
        )
        self._waited = Histogram(
            "wasi_nn_queue_seconds", "Seconds before computes", ("model",), buckets=_SECONDS, registry=registry
        )
        self._batch_requests = Histogram(
            "wasi_nn_batch_requests", "Requests of batches", ("model",), buckets=_SIZES, registry=registry
        )
        self._batch_rows = Histogram(
            "wasi_nn_batch_rows", "Rows of batches", ("model",), buckets=_SIZES, registry=registry
        )
        self._batch_series: dict[str, tuple[Histogram, Histogram]] = {}
        service.watchers.append(self._count_execution)
        self._bytes_in = Counter("wasi_nn_request_bytes", "Bytes of requests", labels, registry=registry)
        self._bytes_out = Counter("wasi_nn_response_bytes", "Bytes of answers", labels, registry=registry)
        outgoing = ("guest", "outcome")  # an outcome is a status, or a case of error-code
        self._outgoing = Counter("wasi_nn_guest_requests", "Requests of guests", outgoing, registry=registry)
        self._outgoing_seconds = Histogram(
            "wasi_nn_guest_request_seconds", "Seconds of these", ("guest",), buckets=_SECONDS, registry=registry
        )
        self._gauge("wasi_nn_queue_requests", "Requests that wait for a compute", lambda: service.queue.waiting)
        self._gauge("wasi_nn_running_computes", "Computes that run", lambda: service.queue.running)
        self._gauge("wasi_nn_held_bytes", "Bytes of requests that are under way", lambda: request_bytes.held)
        self._gauge("wasi_nn_running_requests", "Requests that are under way", lambda: self.under_way)
        Info("wasi_nn_build", "The server's version", registry=registry).info({"version": wasi_nn.__version__})
        ProcessCollector(registry=registry)
        self.under_way = 0
        """The requests that have begun and not ended."""
        self._ready = Gauge("wasi_nn_model_ready", "Whether a model is ready", ("model",), registry=registry)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self._registry).set_function(value)

    @property
    def registry(self) -> CollectorRegistry:
        """Where further parts of the server register metrics of their own."""
        return self._registry

    def watch_connections(self, count: Callable[[], int]) -> None:
        """Have the metrics tell the number of connections of HTTP."""
        self._gauge("wasi_nn_http_connections", "Connections of HTTP", count)

    def watch_guests(self, queue: ComputeQueue) -> None:
        """Have the metrics tell of the guests that answer requests over HTTP."""
        self._gauge("wasi_nn_running_guests", "Guests that answer a request of HTTP", lambda: queue.running)
        self._gauge("wasi_nn_queue_guests", "Requests of HTTP that wait for a guest", lambda: queue.waiting)

    def count(self, request: FinishedRequest) -> None:
        """Count a request that has ended."""
        is_known = self._service.models.has(request.model) or request.call == "guest"
        model = request.model if is_known else ""
        key = (request.protocol, request.call, model, request.outcome)
        # Looking each one up by its labels takes longer than counting.
        series = self._series.get(key) or self._series.setdefault(key, self._series_of(*key))
        series.requests.inc()
        series.seconds.observe(request.seconds)
        series.bytes_in.inc(request.bytes_in)
        series.bytes_out.inc(request.bytes_out)
        if request.computed is not None:
            series.compute.observe(request.computed)
            series.waited.observe(request.waited)

    def count_outgoing(self, guest: str, facts: OutgoingFacts) -> None:
        """Count a request that a guest has made. May be called on any thread."""
        self._outgoing.labels(guest, facts.outcome).inc()
        self._outgoing_seconds.labels(guest).observe((facts.ended - facts.began) / 1e9)

    def _count_execution(self, model: str, execution: Execution) -> None:
        if not (series := self._batch_series.get(model)):
            series = (self._batch_requests.labels(model), self._batch_rows.labels(model))
            self._batch_series[model] = series
        series[0].observe(execution.requests)
        series[1].observe(execution.rows)

    def _series_of(self, protocol: str, call: str, model: str, outcome: str) -> _Series:
        labels = (protocol, call, model)
        return _Series(
            self._requests.labels(*labels, outcome),
            self._seconds.labels(*labels),
            self._bytes_in.labels(*labels),
            self._bytes_out.labels(*labels),
            self._compute.labels(model),
            self._waited.labels(model),
        )

    def text(self) -> bytes:
        """All metrics as text."""
        self._ready.clear()
        for model in self._service.models.all():
            self._ready.labels(model.name).set(model.served is not None)
        return generate_latest(self._registry)
