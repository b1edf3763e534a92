"""`Activity`: which requests are under way, and how the latest ones went."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wasi_nn.process.memory import resident_bytes
from wasi_nn.serving.failures import Reason

if TYPE_CHECKING:
    from wasi_nn.serving.computing.compute_queue import Turns
    from wasi_nn.serving.http_guests.handlers import Handlers
    from wasi_nn.serving.observing.request_log import FinishedRequest
    from wasi_nn.serving.request_bytes import RequestBytes
    from wasi_nn.serving.service import InferenceService
    from wasi_nn.serving.texts.texts import Texts

EVERY = 2.0
"""Seconds between two moments."""

_MOMENTS = 150  # that are kept: five minutes
_LATEST = 1000  # times of a model's requests that are kept
_OF_A_MOMENT = 10_000  # times between two moments that are kept
_ERRORS = 50
_PERCENTILES = (50, 95, 99)
_LONGEST_TEXT = 400  # characters

Percentiles = tuple[float, float, float] | None
"""The 50th, 95th and 99th percentile of times in seconds; None for no times."""


@dataclass(frozen=True)
class Moment:
    """How it went in the last `EVERY` seconds, and how it was at their end."""

    ended: int
    failed: int
    seconds: Percentiles
    running: int
    waiting: int
    held_bytes: int
    resident_bytes: int


@dataclass
class ModelActivity:
    """The requests to one model or guest since the server began, and the times of the latest."""

    requests: int = 0
    failed: int = 0
    latest: deque[float] = field(default_factory=lambda: deque(maxlen=_LATEST))


@dataclass
class Failure:
    """Requests that failed in the same way: how many, and the id of the latest with its time on the clock of
    `time.monotonic`. Texts are cut to some hundred characters."""

    call: str
    model: str
    status: int | str
    error: str
    reason: Reason | None
    at: float = 0.0
    id: str = ""
    requests: int = 0


class Activity:
    """Follows the requests of a server. All of it runs in the event loop, and all of it is bounded."""

    def __init__(self, service: InferenceService, request_bytes: RequestBytes) -> None:
        self._service = service
        self._request_bytes = request_bytes
        self._live: dict[int, FinishedRequest] = {}
        self._seconds: deque[float] = deque(maxlen=_OF_A_MOMENT)
        self._ended = self._failed = 0
        self.texts: Texts | None = None
        """The texts of language models, where there are any."""
        self.guests: Handlers | None = None
        """The guests that answer HTTP requests, where there are any."""
        self.moments: deque[Moment] = deque(maxlen=_MOMENTS)
        self._failures: dict[object, Failure] = {}
        self.models: dict[str, ModelActivity] = {}
        self.began = time.monotonic()

    def begun(self, request: FinishedRequest) -> None:
        """Follow a request."""
        self._live[id(request)] = request

    def ended(self, request: FinishedRequest) -> None:
        """Count a request that has ended."""
        del self._live[id(request)]
        if _is_failure(request):
            self._note(request)
        if not request.is_work:
            return
        self._ended += 1
        self._failed += request.outcome != "ok"
        self._seconds.append(request.seconds)
        if self._is_known(request.model):
            model = self.models.setdefault(request.model, ModelActivity())
            model.requests += 1
            model.failed += request.outcome != "ok"
            model.latest.append(request.seconds)

    def _is_known(self, name: str) -> bool:
        return self._service.models.has(name) or (self.guests is not None and name in self.guests.handlers)

    def failures(self) -> list[Failure]:
        """The requests that failed, the latest ones first."""
        return list(reversed(self._failures.values()))

    def _note(self, request: FinishedRequest) -> None:
        failure = _failure(request)
        key = (failure.call, failure.model, failure.status, failure.error)
        failure = self._failures.pop(key, failure)
        failure.at, failure.id = time.monotonic(), request.id
        failure.requests += 1
        self._failures[key] = failure
        if len(self._failures) > _ERRORS:
            del self._failures[next(iter(self._failures))]

    def live(self) -> list[FinishedRequest]:
        """The requests to models that are under way, those that began first before the others."""
        return [request for request in self._live.values() if request.is_work]

    @property
    def running(self) -> int:
        """The computes, texts and guests that run."""
        guests = self.guests.queue.running if self.guests is not None else 0
        return self._service.queue.running + guests + self._of_texts(lambda queue: queue.running)

    @property
    def waiting(self) -> int:
        """The requests that wait for a compute, a text or a guest."""
        guests = self.guests.queue.waiting if self.guests is not None else 0
        return self._service.queue.waiting + guests + self._of_texts(lambda queue: queue.waiting)

    @property
    def held_bytes(self) -> int:
        """The bytes of all requests that are under way."""
        return self._request_bytes.held

    def _of_texts(self, number: Callable[[Turns], int]) -> int:
        return sum(map(number, self.texts.queues().values())) if self.texts is not None else 0

    async def watch(self) -> None:
        """Look at the server every two seconds, for ever."""
        while True:
            await asyncio.sleep(EVERY)
            self.look()

    def look(self) -> None:
        """Keep how it is now, and how it went since the last look."""
        moment = Moment(
            self._ended,
            self._failed,
            percentiles(self._seconds),
            self.running,
            self.waiting,
            self.held_bytes,
            resident_bytes(),
        )
        self.moments.append(moment)
        self._ended = self._failed = 0
        self._seconds.clear()
        for name in [name for name in self.models if not self._is_known(name)]:
            del self.models[name]


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """The 50th, 95th and 99th percentile of times: each is the least time that so many percent don't exceed."""
    if not seconds:
        return None
    times = sorted(seconds)
    p50, p95, p99 = (times[max(0, -(-len(times) * part // 100) - 1)] for part in _PERCENTILES)
    return p50, p95, p99


def _is_failure(request: FinishedRequest) -> bool:
    """Whether a request belongs to the errors: not if its client has gone, nor for a path that is nowhere, which
    browsers and robots ask for, nor if it is the page's own."""
    is_lost = request.call == "unknown" and request.outcome == Reason.INVALID.value
    return (
        request.outcome not in ("ok", Reason.CANCELLED.value) and not is_lost and not request.path.startswith("/page/")
    )


def _failure(request: FinishedRequest) -> Failure:
    model, error = request.model[:_LONGEST_TEXT], request.error[:_LONGEST_TEXT]
    return Failure(request.call, model, request.status, error, _reason(request.outcome))


def _reason(outcome: str) -> Reason | None:
    try:
        return Reason(outcome)
    except ValueError:
        return None
