"""`HttpInstance`: an instance of a component that answers HTTP requests, one or several after another.

What the guest holds of a request ends with it. The host's objects expire: the guest can only drop its handles of them.
Its own requests are closed, and so are the connections of the bodies; an instance that still holds a stream of one
answers no further request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wasmtime import Engine, ExitTrap, Trap, WasmtimeError

from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.typed_functions import caller
from wasi_nn.abi.http.types import IncomingRequest, ResponseOutparam, Running
from wasi_nn.abi.http.vocabulary import own
from wasi_nn.errors import GuestTrap
from wasi_nn.guests import guest_file
from wasi_nn.guests.http.body_exchanges import BodyStreams
from wasi_nn.guests.http.outgoing.engine_exchanges import INSTANCES, EngineExchanges, OutgoingHelper
from wasi_nn.guests.http.outgoing.outgoing import Outgoing
from wasi_nn.guests.http.sandbox import wasi_of, within_time
from wasi_nn.guests.http.value_calls import call, frame_of
from wasi_nn.guests.store_limits import GuestStore, new_store

if TYPE_CHECKING:
    from wasmtime.component import Component, ExportIndex, Func, Linker

    from wasi_nn.abi.http.exchange import Exchange
    from wasi_nn.abi.http.types import Streams
    from wasi_nn.guests.component_linking import SharedFunctions
    from wasi_nn.guests.http.sandbox import Sandbox
    from wasi_nn.guests.http.streams import EngineStreams, StreamsHelper
    from wasi_nn.guests.run_clock import RunClock
    from wasi_nn.guests.store_limits import MemoryCounts
    from wasi_nn.session.session import Session

_MOST_RESOURCES = 1024  # that a guest holds of a request: fields, bodies and so on
_MOST_SENT = 512  # requests of its own, and bodies, after which an instance ends: the engine's side has room for 2,048
_USUAL_MEMORY = 256 * 2**20  # bytes, for a guest whose memory isn't limited
_PARTS_OF_MEMORY = 4  # an instance ends once it has passed on bodies of one such part

_HANDLE = own("incoming-request"), own("response-outparam")


@dataclass(frozen=True)
class InstanceParts:
    """What all instances of a guest share: it, its linker with its host functions, its function `handle`, and the
    components beside it."""

    name: str
    component: Component
    engine: Engine
    counts: MemoryCounts
    linker: Linker
    functions: SharedFunctions
    handle: ExportIndex
    helper: StreamsHelper
    outgoing_helper: OutgoingHelper | None


class HttpInstance:
    """An instance, which is made with its first request. One thread at a time may use it. One that isn't reused gets
    one request only."""

    def __init__(self, parts: InstanceParts, session: Session, *, is_reused: bool) -> None:
        self._parts = parts
        self._is_reused = is_reused
        self._session = session
        self._functions: Mapping[str, Any] = parts.functions.of(session)
        self._resources = Resources(_MOST_RESOURCES)
        self._store: GuestStore | None = None
        self._handler: Func | None = None
        self._streams: EngineStreams | None = None
        self._exchanges: EngineExchanges | None = None
        self._passed = self._most_passed = 0  # bytes of bodies
        self._is_reusable = False

    def answer(self, exchange: Exchange, sandbox: Sandbox) -> None:
        """Have the guest answer a request, on this thread. Returns when it has done so.

        Raises `GuestTrap` if it traps, also when it is stopped, and `GuestError` if it can't be run.
        """
        self._is_reusable = False
        parts, session, is_new = self._parts, self._session, self._store is None
        store = self._store or self._new_store(sandbox)
        if not is_new and sandbox.limits.fuel is not None:
            store.set_fuel(sandbox.limits.fuel)
        session.failures.restart()
        has_exited = False
        with within_time(parts.engine, store, parts.component, sandbox) as clock:
            try:
                if self._streams is None:
                    self._streams = parts.helper.in_store(store)
                with (
                    parts.functions.calling(self._functions),
                    self._connected(store, exchange, sandbox, clock) as running,
                ):
                    self._run(store, running)
            except (Trap, WasmtimeError) as error:
                if session.interruption is not None:
                    raise session.interruption from None
                if not isinstance(error, ExitTrap):
                    raise guest_file.guest_error(parts.name, error, sandbox.limits) from None
                has_exited = True
        if sandbox.output.excess:
            raise GuestTrap(sandbox.output.excess)
        was_stopped = session.interruption is not None or sandbox.guard.run_until <= 0
        self._is_reusable = running.is_finished and not (has_exited or was_stopped)

    def _new_store(self, sandbox: Sandbox) -> GuestStore:
        parts = self._parts
        wasi = wasi_of(parts.name, sandbox, has_pipes=not self._is_reused)
        sends = self._is_reused or sandbox.http_out is not None
        # The helpers have an instance each, and more for requests; the guest's linker is made already.
        instances = 1 + (INSTANCES if sends else 0)
        self._most_passed = (sandbox.limits.guest_memory or _USUAL_MEMORY) // _PARTS_OF_MEMORY
        store = new_store(parts.engine, sandbox.limits, parts.component, parts.counts, instances)
        self._store = store
        wasi.set_in(store, http=sends)
        return store

    def _engine_exchanges(self, store: GuestStore) -> EngineExchanges:
        if self._exchanges is None:
            assert self._parts.outgoing_helper is not None  # a guest that may send, or is reused, has it
            self._exchanges = self._parts.outgoing_helper.in_store(store)
        return self._exchanges

    @contextmanager
    def _connected(self, store: GuestStore, exchange: Exchange, sandbox: Sandbox, clock: RunClock) -> Iterator[Running]:
        """What the guest's functions work on within a block: its request, its streams, and what makes its own requests,
        if it may make any."""
        streams: Streams | None = self._streams
        assert streams is not None  # they were made before
        bodies, outgoing = None, None
        if self._is_reused:
            exchanges = self._engine_exchanges(store)
            streams = bodies = BodyStreams(streams, exchanges, sandbox.body, sandbox.answer)
        if sandbox.http_out is not None and self._parts.outgoing_helper is not None:
            most_head = exchange.field_bytes.most // 4  # the guest may hold several
            outgoing = Outgoing(sandbox.http_out, lambda: self._engine_exchanges(store), most_head, sandbox.report)
        connected = [it for it in (bodies, outgoing) if it is not None]

        def stop(reason: str) -> None:
            clock.stop(reason)
            for it in connected:
                it.close()

        if connected:
            sandbox.stopped_by(stop)
        try:
            yield Running(exchange, streams, None, outgoing, sandbox.guard.run_until)
            if bodies is not None:
                bodies.end()
                self._passed += bodies.passed
        finally:
            for it in connected:
                it.close()

    def _run(self, store: GuestStore, running: Running) -> None:
        caller.state, caller.resources = running, self._resources
        try:
            if self._handler is None:
                instance = store.instantiate(self._parts.linker, self._parts.component)
                self._handler = instance.get_func(store, self._parts.handle)
                assert self._handler is not None  # the component's type has it
            arguments = IncomingRequest(running.exchange.request), ResponseOutparam()
            call(self._handler, frame_of(store, self._resources), _HANDLE, arguments)
        finally:
            self._resources.expire()
            caller.state = None
            del caller.resources

    @property
    def may_go_on(self) -> bool:
        """Whether the instance may answer a further request: it has ended its last answer, holds no stream of that
        request, and wasn't stopped. It ends anyway after many requests of its own, and after many bytes of bodies: a
        guest that loses their memory would soon have none."""
        is_used_up = self._exchanges is None or self._exchanges.count >= _MOST_SENT or self._passed >= self._most_passed
        return self._is_reusable and not is_used_up

    def close(self) -> None:
        """End the instance."""
        if self._store is not None:
            self._store.close()
            self._store = None
