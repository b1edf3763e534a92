"""`Outgoing`: the requests that a guest makes while it answers one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasi_nn.abi.http.outgoing import HttpError, IncomingHead, OutgoingHead, Sender, Sent
from wasi_nn.guests.http.outgoing.engine_connection import EngineConnection
from wasi_nn.guests.http.outgoing.relay import Relay
from wasi_nn.process.descriptors import are_free, reserve
from wasi_nn.process.threads import Call

if TYPE_CHECKING:
    from wasi_nn.guests.http.outgoing.engine_exchanges import EngineExchanges
    from wasi_nn.loading.http_out import HttpOut

_HAS_ANSWER = 1
_MOST = 1024  # requests in all, also where the guest is reused
_DESCRIPTORS = 4  # of a request: of the port, and of both ends with the engine and one with the place


@dataclass(frozen=True)
class OutgoingFacts:
    """A request of a guest that has ended: its method and place, the status of its answer or the case of `error-code`,
    why it failed, its bytes, and its times by `time.monotonic_ns`."""

    method: str
    place: str
    outcome: str
    failure: str
    bytes_out: int
    bytes_in: int
    began: int
    ended: int


class Outgoing(Sender):
    """The requests of one guest. `exchanges` gives the engine's side of them once the first one begins; `report` gets
    each at its end, on any thread. `most_head` is the most bytes of an answer's head."""

    def __init__(
        self,
        settings: HttpOut,
        exchanges: Callable[[], EngineExchanges],
        most_head: int,
        report: Callable[[OutgoingFacts], None],
    ) -> None:
        self.settings = settings
        self.most_head = most_head
        self.report = report
        self._make_exchanges = exchanges
        self._exchanges: EngineExchanges | None = None
        self._lock = threading.Lock()
        self._open: set[SentRequest] = set()
        self._ending: set[SentRequest] = set()
        """Those whose answers are passed on but for the bytes that wait for the guest."""
        self._left = _MOST
        self._is_closed = False

    @property
    def exchanges(self) -> EngineExchanges:
        """The engine's side."""
        if self._exchanges is None:
            self._exchanges = self._make_exchanges()
        return self._exchanges

    def new(self, *, has_body: bool) -> Sent:
        with self._lock:
            if self._is_closed or len(self._open) >= self.settings.requests:
                most = self.settings.requests
                raise HttpError("connection-limit-reached", reason=f"{most} requests at once (requests of http-out)")
            if not self._left:
                raise HttpError("connection-limit-reached", reason=f"{_MOST} requests in all")
            self._left -= 1
            # An answer that the guest keeps unread has a descriptor in the engine, which outlives the request.
            most_soon = _DESCRIPTORS * (len(self._open) + 1)
        try:
            if not are_free(2 * reserve() + most_soon):
                raise OSError
            sent = SentRequest(self, has_body=has_body)
        except OSError:
            raise HttpError("connection-limit-reached", reason="the process has no files left") from None
        with self._lock:
            self._open.add(sent)
            is_closed = self._is_closed
        if is_closed:  # meanwhile
            sent.close()
        return sent

    def forget(self, sent: SentRequest) -> bool:
        """Count a request no more: it has ended. Returns whether its thread may wait until the guest has taken the
        answer, and then has to call `leave`: there are no more such threads than requests at once."""
        with self._lock:
            self._open.discard(sent)
            may_wait = len(self._ending) < self.settings.requests and not self._is_closed
            if may_wait:
                self._ending.add(sent)
            return may_wait

    def leave(self, sent: SentRequest) -> None:
        """Note the end of a request's thread."""
        with self._lock:
            self._ending.discard(sent)

    def close(self) -> None:
        """End all requests, which wakes a guest that waits for them. May be called from any thread."""
        with self._lock:
            self._is_closed, left = True, [*self._open, *self._ending]
        for sent in left:
            sent.close()


class SentRequest(Sent):
    """One request."""

    def __init__(self, outgoing: Outgoing, *, has_body: bool) -> None:
        self._outgoing = outgoing
        self._relay: Relay | None = None
        with ExitStack() as undo:
            self._engine = EngineConnection()
            undo.callback(self._engine.release)
            self._number = outgoing.exchanges.send(self._engine.authority, self._engine.path, has_body=has_body)
            if not self._number:
                raise HttpError("connection-limit-reached", reason="the guest has made too many requests")
            undo.pop_all()

    def request_body(self) -> int:
        return self._outgoing.exchanges.request_body(self._number)

    def finish(self) -> bool:
        return self._outgoing.exchanges.finish(self._number)

    def break_off(self) -> None:
        self._outgoing.exchanges.break_off(self._number)

    def begin(self, head: OutgoingHead) -> None:
        found = self._outgoing.settings.place_of(head.scheme, head.authority, head.path)
        place = f"{head.scheme}://{head.authority}"
        began = time.monotonic_ns()
        if found is None or head.method == "CONNECT":
            reason = "http-out doesn't list it" if found is None else "CONNECT asks for a tunnel"
            self._report(head, place, "HTTP-request-denied", reason, 0, 0, began)
            raise HttpError("HTTP-request-denied")

        def ended(relay: Relay) -> bool:
            may_wait = self._outgoing.forget(self)
            answer = relay.answer
            outcome = answer.code[0] if isinstance(answer, HttpError) else str(answer.status if answer else "")
            self._report(head, place, outcome, relay.failure, relay.bytes_out, relay.bytes_in, began)
            return may_wait

        settings, most_head = self._outgoing.settings, self._outgoing.most_head
        self._relay = Relay(self._engine, head, found, settings, most_head, ended)
        try:
            Call(self._run)
        except RuntimeError:
            self._relay = None
            raise HttpError("connection-limit-reached", reason="no thread can be started") from None

    def _run(self) -> None:
        assert self._relay is not None  # it has begun
        try:
            self._relay.run()
        finally:
            self._outgoing.leave(self)

    def _report(
        self, head: OutgoingHead, place: str, outcome: str, failure: str, bytes_out: int, bytes_in: int, began: int
    ) -> None:
        facts = OutgoingFacts(head.method, place, outcome, failure, bytes_out, bytes_in, began, time.monotonic_ns())
        with suppress(RuntimeError):  # of an event loop that has ended
            self._outgoing.report(facts)

    def subscribe(self) -> int:
        return self._outgoing.exchanges.subscribe(self._number)

    def answer(self) -> IncomingHead | HttpError | None:
        state = self._outgoing.exchanges.look(self._number)
        if not state or self._relay is None:
            return None
        answer = self._relay.answer
        if answer is None or (state != _HAS_ANSWER and not isinstance(answer, HttpError)):
            return HttpError("connection-terminated")
        return answer

    def response_body(self) -> int:
        return self._outgoing.exchanges.response_body(self._number)

    def close(self) -> None:
        if self._relay is None:
            self._engine.release()
            self._outgoing.forget(self)
            self._outgoing.leave(self)
        else:
            self._relay.close()
