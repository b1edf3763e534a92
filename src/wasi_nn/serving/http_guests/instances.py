"""`Instances`: those of a guest that is reused. Each answers one request after another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from wasi_nn.guests.output import STDERR

if TYPE_CHECKING:
    from wasi_nn.abi.http.exchange import Exchange
    from wasi_nn.guests.http.http_instance import HttpInstance
    from wasi_nn.guests.http.sandbox import Sandbox
    from wasi_nn.guests.output import Output
    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.session.session import Session

MOST_REQUESTS = 1000
"""The requests of an instance, after which it ends: what a guest loses of its memory has an end with it."""
IDLE_TIME = 60.0
"""The seconds after which an instance that has nothing to do ends."""


class Instance:
    """An instance with what it keeps from one request to the next."""

    def __init__(self, instance: HttpInstance, session: Session, guard: ComputeGuard, output: Output) -> None:
        self.session = session
        self.guard = guard
        self.output = output
        self.requests = 0
        self.used = time.monotonic()
        """When its last request ended."""
        self._instance = instance

    def answer(self, exchange: Exchange, sandbox: Sandbox, output: Output) -> bool:
        """Have the guest answer a request; gives whether it may answer a further one. `output` gets what the guest
        prints. Raises as `HttpGuest.answer` does."""
        self.requests += 1
        try:
            self._instance.answer(exchange, sandbox)
        finally:
            output.write(STDERR, self.output.taken()[1])
        self.used = time.monotonic()
        return self._instance.may_go_on and self.requests < MOST_REQUESTS

    def close(self) -> None:
        """End it."""
        self._instance.close()
        self.session.close()


class Instances:
    """The instances that wait for a request. There are as many as there were requests at once. `make` makes one. May be
    used by any number of threads."""

    def __init__(self, make: Callable[[], Instance]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._idle: list[Instance] = []  # the one that was used last is used first
        self._is_closed = False

    def take(self) -> Instance:
        """An instance for a request."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._make()

    def give_back(self, instance: Instance) -> None:
        """Keep an instance for a further request."""
        with self._lock:
            is_kept = not self._is_closed
            if is_kept:
                self._idle.append(instance)
        if not is_kept:
            instance.close()

    def __len__(self) -> int:
        return len(self._idle)

    def drop_idle(self, since: float) -> None:
        """End the instances whose last request ended before a time of `time.monotonic`."""
        with self._lock:
            dropped = [it for it in self._idle if it.used < since]
            self._idle = [it for it in self._idle if it.used >= since]
        for instance in dropped:
            instance.close()

    def close(self) -> None:
        """End all of them, and keep no more."""
        with self._lock:
            self._is_closed = True
            dropped, self._idle = self._idle, []
        for instance in dropped:
            instance.close()
