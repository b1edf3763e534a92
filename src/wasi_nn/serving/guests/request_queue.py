"""The requests for one guest that is used again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from wasi_nn.session.guest_requests import GuestRequest


class RequestQueue:
    """An iterator over requests that come while the guest runs. The guest's thread iterates, and waits for them."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[GuestRequest | None] = SimpleQueue()
        self._lock = threading.Lock()
        self.is_closed = False
        """Whether the guest has ended."""
        self.closed: Callable[[], object] = lambda: None
        """Called at the guest's end."""

    def put(self, request: GuestRequest) -> bool:
        """Give the guest a request. Returns whether there is still a guest."""
        with self._lock:
            if not self.is_closed:
                self._queue.put(request)
            return not self.is_closed

    def end(self) -> None:
        """Let the guest know that there are no more requests."""
        if not self.is_closed:
            self._queue.put(None)

    def __iter__(self) -> RequestQueue:
        return self

    def __next__(self) -> GuestRequest:
        request = self._queue.get()
        if request is None:
            self.end()  # for a guest that asks again
            raise StopIteration
        request.is_taken = True
        return request

    def close(self) -> None:
        """Take no more requests: the guest has ended. Nobody need wait for those that it has not taken."""
        with self._lock:
            self.is_closed = True
        while not self._queue.empty():
            request = self._queue.get()
            if request is not None:
                request.settle()
        self.closed()
