"""The metrics of texts, in Prometheus' form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

    from wasi_nn.serving.computing.compute_queue import Turns

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

Queues = Callable[[], Mapping[str, "Turns"]]
"""The queues of texts, by the names of their models."""


class TextMetrics:
    """Counts texts and their tokens; the queues are looked at when the metrics are read."""

    def __init__(self, registry: CollectorRegistry, queues: Queues) -> None:
        registry.register(_Gauges(queues))
        labels = ("model",)
        self._first = Histogram(
            "wasi_nn_time_to_first_token_seconds",
            "Seconds from a request's arrival to its first token",
            labels,
            buckets=_FIRST,
            registry=registry,
        )
        self._between = Histogram(
            "wasi_nn_inter_token_seconds",
            "Seconds between two tokens of a text",
            labels,
            buckets=_BETWEEN,
            registry=registry,
        )
        self._read = Counter("wasi_nn_prompt_tokens", "Tokens of prompts", labels, registry=registry)
        self._written = Counter("wasi_nn_generated_tokens", "Tokens of texts", labels, registry=registry)

    def first(self, model: str, seconds: float) -> None:
        """Count the first token of a text."""
        self._first.labels(model).observe(seconds)

    def between(self, model: str, seconds: float) -> None:
        """Count a further token of a text."""
        self._between.labels(model).observe(seconds)

    def ended(self, model: str, prompt_tokens: int, tokens: int) -> None:
        """Count the tokens of a text that has ended."""
        self._read.labels(model).inc(prompt_tokens)
        self._written.labels(model).inc(tokens)


class _Gauges(Collector):
    """The queues as they are now."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("wasi_nn_queue_texts", "Texts that wait for a slot", labels=["model"])
        running = GaugeMetricFamily("wasi_nn_running_texts", "Texts that are written", labels=["model"])
        for model, queue in self._queues().items():
            waiting.add_metric([model], queue.waiting)
            running.add_metric([model], queue.running)
        yield waiting
        yield running
