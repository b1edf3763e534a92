"""The sandboxes of a guest that serves a model: runs of it that wait for requests."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from wasi_nn.errors import GuestError, NNError
from wasi_nn.process.threads import Call
from wasi_nn.process.watchdog import Alarm
from wasi_nn.serving.guests.request_queue import RequestQueue

if TYPE_CHECKING:
    from wasi_nn.serving.guests.guest_graph import GuestGraph

_PAUSE = 0.002  # seconds without a request until the next sandbox begins
_LONGEST_AHEAD = 60.0  # seconds that a sandbox waits for its request


class Sandbox:
    """A run of a guest that answers one request after another."""

    def __init__(self, graph: GuestGraph, run_time: float | None = None) -> None:
        self.requests = RequestQueue()
        self.is_stopped = False
        """Whether its run was stopped for a request that took too long."""
        self._graph = graph
        self._version = graph.version
        self.run = graph.start(self.requests, run_time=run_time)
        graph.keep(self)

    @property
    def is_current(self) -> bool:
        """Whether the guest may not have loaded a graph that has changed since."""
        return self._version == self._graph.version


class SandboxAhead(Sandbox):
    """A run of a guest that begins ahead of the one request that it answers, and waits for it.

    It ends by itself if no request comes. All of the run, from its begin to what the guest does after its answer, has
    the time of one request and this wait.
    """

    def __init__(self, graph: GuestGraph) -> None:
        longest = graph.guest.limits.run_time
        waits = _LONGEST_AHEAD if longest is None else min(_LONGEST_AHEAD, longest)
        self._lock = threading.Lock()
        self._logs_at_end = False
        super().__init__(graph, None if longest is None else longest + waits)
        self.requests.closed = self._note_end
        self._alarm = Alarm()
        self._alarm.set(time.monotonic() + waits, self.requests.end)

    def claim(self) -> bool:
        """Have it end after a request only. Returns whether it may get one: it is current, and hasn't ended yet."""
        self._alarm.discard()
        return self.is_current and not self.requests.is_closed

    def drop(self) -> None:
        """End it without a request. The garbage collector may call this, on any thread."""
        self.requests.end()
        self._alarm.abandon()

    def end(self) -> None:
        """Let the guest end, and log what it has printed then. Its answer counts, however it ends."""
        self.requests.end()
        with self._lock:
            self._logs_at_end = True
        if self.requests.is_closed:
            self._note_end()

    def _note_end(self) -> None:
        with self._lock:
            logs, self._logs_at_end = self._logs_at_end, False
        if logs:
            self._graph.log(self.run.output()[1])


class NextSandbox:
    """The sandbox for the next request to a runner. It begins once no request has come for a moment: no client waits
    then for what a guest does before it asks for its request. While one request follows another, a sandbox begins with
    its request, since a second thread takes more time then than it saves."""

    def __init__(self, graph: GuestGraph) -> None:
        self._graph = graph
        self._ready: deque[SandboxAhead] = deque()  # which any thread may change
        self._pause = Alarm()
        self._is_to_begin = self._is_closed = False

    def begin_soon(self) -> None:
        """Have the sandbox begin, unless `take` is called before."""
        self._is_to_begin = True
        self._pause.set(time.monotonic() + _PAUSE, self._ring)

    def take(self) -> SandboxAhead | None:
        """The sandbox, if it has begun."""
        self._pause.clear()
        return self._ready.popleft() if self._ready else None

    def _ring(self) -> None:
        if self._is_to_begin:  # the alarm rings again and again
            self._is_to_begin = False
            if not self._ready:
                Call(self._begin)

    def _begin(self) -> None:
        with suppress(GuestError, NNError):  # then the next request gets the error
            self._ready.append(SandboxAhead(self._graph))
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """End it. The garbage collector may call this, on any thread."""
        self._is_closed = True
        self._pause.abandon()
        while self._ready:
            with suppress(IndexError):  # another thread has it
                self._ready.popleft().drop()
