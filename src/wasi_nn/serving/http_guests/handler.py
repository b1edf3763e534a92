"""`Handler`: a guest of the operator that answers requests, with what it may use."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from wasi_nn.guests.arguments import RunArguments, run_arguments
from wasi_nn.guests.http.cgi_guest import CgiGuest
from wasi_nn.guests.http.http_guest import HttpGuest
from wasi_nn.guests.http.sandbox import Sandbox
from wasi_nn.guests.output import Output
from wasi_nn.limits.compute_guard import ComputeGuard, Turns as ComputeTurns
from wasi_nn.process.threads import Call
from wasi_nn.serving.computing.compute_queue import ComputeQueue, Turns
from wasi_nn.serving.failures import Reason, ServingError
from wasi_nn.serving.guests.kinds import directories_of
from wasi_nn.serving.http_guests.answer import CgiAnswer, GuestAnswer
from wasi_nn.serving.http_guests.instances import IDLE_TIME, Instance, Instances
from wasi_nn.session.session import Session
from wasi_nn.tracing.recording import RecordingSession

if TYPE_CHECKING:
    from wasi_nn.abi.http.exchange import Exchange
    from wasi_nn.guests.http.outgoing.outgoing import OutgoingFacts
    from wasi_nn.limits.usage import Usage
    from wasi_nn.loading.registry import Registry
    from wasi_nn.loading.served_guest import ServedGuest
    from wasi_nn.serving.http_guests.call import GuestCall
    from wasi_nn.serving.http_guests.pipes import ReadingEnd
    from wasi_nn.tracing.call_recorder import CallRecorder

_MOST_ABANDONED = 4  # requests of one guest that should have ended
_FIELDS = 4  # times the bytes of a request's headers, for what a guest holds of fields


@dataclass(frozen=True)
class Shared:
    """What all guests of a server share: its graphs, their turns, the turns of their computes, and the count of what
    they hold."""

    registry: Registry
    queue: ComputeQueue
    compute_turns: ComputeTurns
    usage: Usage
    header_bytes: int
    count_outgoing: Callable[[str, OutgoingFacts], None]
    """Counts a request that a guest of this name has made."""


class Handler:
    """A guest, its description, its line of requests that wait, and those that it answers now."""

    def __init__(self, name: str, described: ServedGuest, guest: HttpGuest | CgiGuest, shared: Shared) -> None:
        self.name = name
        self.turns = Turns(shared.queue)
        self.calls: set[GuestCall] = set()
        """The requests whose guest runs."""
        self.abandoned = 0
        """How many of them should have ended, and have no turn any more."""
        self.most_field_bytes = _FIELDS * shared.header_bytes
        self.described = described
        """What the operator says about it."""
        self.count_outgoing = partial(shared.count_outgoing, name)
        """Counts a request that the guest has made."""
        self._guest = guest
        self._shared = shared
        self._instances: Instances | None = None
        self._is_drop_due = False
        if described.reuse and isinstance(guest, HttpGuest):
            self._instances = Instances(partial(self._new_instance, guest))
        self._arguments: RunArguments = run_arguments(
            described.arguments, described.environment, directories_of(described), None
        )

    def require_room(self) -> None:
        """Raise `ServingError` if too many requests of this guest should have ended and haven't."""
        if self.abandoned >= _MOST_ABANDONED:
            text = f"{self.abandoned} requests of this guest don't end: it takes no more until one of them does"
            raise ServingError(Reason.UNAVAILABLE, text, retry_after=60)

    def stop_all(self) -> None:
        """Stop all guests that run, since the server ends."""
        for call in list(self.calls):
            call.stop(ServingError(Reason.UNAVAILABLE, "the server is ending"))

    def new_answer(self, body: ReadingEnd) -> GuestAnswer:
        """The guest's answer to one request, whose body comes from a pipe."""
        if isinstance(self._guest, CgiGuest):
            return CgiAnswer(body, self._shared.header_bytes)
        return GuestAnswer(body)

    def new_output(self) -> Output:
        """Keeps the text that the guest prints while it answers one request."""
        return Output(self.described.limits)

    def until(self, longest: float) -> float:
        """The deadline of a request that begins now and may end at `longest` at the latest, on `time.monotonic`'s
        clock."""
        run_time = self.described.limits.run_time
        return longest if run_time is None else min(longest, time.monotonic() + run_time)

    def run(
        self,
        exchange: Exchange,
        output: Output,
        body: int | None,
        answer: int,
        until: float,
        stopped_by: Callable[[Callable[[str], None] | None], None],
        recorder: CallRecorder | None,
        report: Callable[[OutgoingFacts], None],
    ) -> None:
        """Have the guest answer a request, on this thread, and close the descriptors of its pipes. `recorder` gets the
        nn calls of a guest in a fresh sandbox, and `report` its requests over HTTP, each at its end. Raises as
        `HttpGuest.answer` does."""
        limits, http_out = self.described.limits, self.described.http_out
        with ExitStack() as undo:  # the guest has ended then, and with it the engine's own copies
            for descriptor in (body, answer):
                if descriptor is not None:
                    undo.callback(os.close, descriptor)
            if self._instances is not None:
                instance = self._instances.take()
                instance.guard.run_until = until
                sandbox = Sandbox(
                    *(self._arguments, limits, instance.session, instance.guard, instance.output, body, answer),
                    *(stopped_by, http_out, report),
                )
                self._answer_in(instance, exchange, sandbox, output)
                return
            guard = ComputeGuard(limits, self._shared.compute_turns)
            guard.run_until = until
            with self._session(guard, recorder) as session:
                sandbox = Sandbox(
                    *(self._arguments, limits, session, guard, output, body, answer, stopped_by, http_out, report)
                )
                self._guest.answer(exchange, sandbox)

    def _answer_in(self, instance: Instance, exchange: Exchange, sandbox: Sandbox, output: Output) -> None:
        assert self._instances is not None  # the instance is one of them
        is_kept = False
        try:
            is_kept = instance.answer(exchange, sandbox, output)
        finally:
            if is_kept:
                self._instances.give_back(instance)
            else:
                instance.close()

    def _session(self, guard: ComputeGuard, recorder: CallRecorder | None = None) -> Session:
        shared = self._shared
        new_session = Session if recorder is None else partial(RecordingSession, recorder)
        return new_session(
            shared.registry,
            allow_load=False,
            allow_names=self.described.graphs,
            rules=shared.registry.rules,
            limits=self.described.limits,
            totals=shared.usage,
            guard=guard,
        )

    def _new_instance(self, guest: HttpGuest) -> Instance:
        guard = ComputeGuard(self.described.limits, self._shared.compute_turns)
        session = self._session(guard)
        return Instance(guest.instance(session), session, guard, self.new_output())

    def drop_idle_later(self) -> None:
        """See to the end of instances that have nothing to do for a while. Called in the event loop."""
        if self._instances and not self._is_drop_due:
            self._is_drop_due = True
            asyncio.get_running_loop().call_later(IDLE_TIME, self._drop_idle)

    def _drop_idle(self) -> None:
        assert self._instances is not None  # else it isn't called
        self._is_drop_due = False
        with suppress(RuntimeError):  # no thread can be started: later
            Call(partial(self._instances.drop_idle, time.monotonic() - IDLE_TIME))
        self.drop_idle_later()

    def retire(self) -> None:
        """Have no instance of the guest wait for further requests."""
        if self._instances is not None:
            self._instances.close()
