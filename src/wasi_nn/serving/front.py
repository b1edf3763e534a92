"""`Front`: what both protocols share in front of the service: tokens, bytes, metrics, log and the admin's calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from wasi_nn.serving.access import Tokens
from wasi_nn.serving.computing.long_calls import LongCalls
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.observing.metrics import Metrics
from wasi_nn.serving.observing.observers import RequestObserver
from wasi_nn.serving.observing.request_log import FinishedRequest, RequestLog
from wasi_nn.serving.observing.request_traces import RequestTraces
from wasi_nn.serving.observing.timeline import follow
from wasi_nn.serving.request_bytes import RequestBytes
from wasi_nn.serving.service import InferenceService


@dataclass(frozen=True)
class Front:
    """The parts of a server that each protocol needs. `observers` follow all requests."""

    service: InferenceService
    tokens: Tokens
    log: RequestLog
    metrics: Metrics
    request_bytes: RequestBytes
    has_admin: bool = False
    long_calls: LongCalls = field(default_factory=LongCalls)
    traces: RequestTraces = field(default_factory=lambda: RequestTraces(None, 0))
    observers: Sequence[RequestObserver] = ()
    has_page: bool = False

    def admit(self, request: FinishedRequest, authorization: str | None, *, is_probe: bool) -> None:
        """Let a request in. Raises `ServingError`: `unauthenticated` without a token that it needs, `forbidden` for one
        that asks for a trace where there are none. A probe needs no token, and has no trace."""
        if not is_probe:
            self.tokens.require(authorization)
            self.traces.begin(request)

    def require_admin(self) -> None:
        """Raise `ServingError` with `forbidden` unless the operator allows calls that list, load and unload models."""
        if not self.has_admin:
            raise ServingError(Reason.FORBIDDEN, "the calls for model repositories are off: wasi-nn serve --admin")

    @contextmanager
    def noting(self, request: FinishedRequest) -> Iterator[FinishedRequest]:
        """Count and log a request at the end of the block. An error of the block is its outcome."""
        request.began = time.monotonic()
        self.metrics.under_way += 1
        for observer in self.observers:
            observer.begun(request)
        if request.timeline is not None:
            follow(request.timeline)
        try:
            yield request
        except ServingError as error:
            request.outcome, request.error = error.reason.value, error.message
            raise
        except asyncio.CancelledError:
            request.outcome = Reason.CANCELLED.value
            raise
        except Exception as error:
            request.outcome, request.error = Reason.FAILED.value, type(error).__name__
            raise
        finally:
            request.seconds = time.monotonic() - request.began
            self.metrics.under_way -= 1
            self.metrics.count(request)
            for observer in self.observers:
                observer.ended(request)
            self.log.write(request)
