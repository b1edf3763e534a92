"""`HttpGuest`: a component that exports `wasi:http/incoming-handler`. It answers each request in a fresh sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wasmtime import Engine, ExitTrap, Trap, WasmtimeError
from wasmtime.component import Component, ComponentInstanceType, Linker

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.typed_functions import caller
from wasi_nn.abi.http.functions import add_http
from wasi_nn.abi.http.types import IncomingRequest, ResponseOutparam, Running
from wasi_nn.abi.http.vocabulary import own
from wasi_nn.errors import GuestError, GuestTrap
from wasi_nn.guests import guest_file
from wasi_nn.guests.component_linking import SharedFunctions
from wasi_nn.guests.extensions import require_allowed
from wasi_nn.guests.http.outgoing.engine_exchanges import INSTANCES, OutgoingHelper
from wasi_nn.guests.http.outgoing.outgoing import Outgoing
from wasi_nn.guests.http.sandbox import Sandbox, opened
from wasi_nn.guests.http.streams import StreamsHelper, bound_sleep, send_stdout_to_stderr
from wasi_nn.guests.http.value_calls import call, frame_of
from wasi_nn.guests.store_limits import GuestStore, MemoryCounts
from wasi_nn.session.policy import EXTENSIONS

if TYPE_CHECKING:
    from wasi_nn.abi.http.exchange import Exchange
    from wasi_nn.guests.run_clock import RunClock

HANDLER = "wasi:http/incoming-handler@0.2."
"""The beginning of the name of the interface that such a guest exports; the number of a patch follows."""

_MOST_RESOURCES = 1024  # that a guest holds of a request: fields, bodies and so on

_HANDLE = own("incoming-request"), own("response-outparam")


class HttpGuest:
    """A compiled component. Several threads may use it at once. `outgoing_helper` is needed for one that may make
    requests of its own. Raises `GuestError` for one that isn't such a guest."""

    def __init__(
        self,
        name: str,
        component: Component,
        engine: Engine,
        counts: MemoryCounts,
        helper: StreamsHelper,
        outgoing_helper: OutgoingHelper | None = None,
    ) -> None:
        self.name = name
        self._component = component
        self._engine = engine
        self._counts = counts
        self._helper = helper
        self._outgoing_helper = outgoing_helper
        imports = list(component.type.imports(engine))
        interface = handler_of(component, engine)
        handle = None
        if interface is not None:
            handle = component.get_export_index("handle", component.get_export_index(interface))
        if handle is None:
            raise GuestError(f"{name} answers no HTTP requests: it exports no '{HANDLER}x' with its function 'handle'")
        self._handle = handle
        require_allowed(name, bridge.marked(imports), EXTENSIONS)
        self._linker = Linker(engine)
        self._linker.add_wasip2()
        send_stdout_to_stderr(self._linker, imports)
        bound_sleep(self._linker, imports)
        add_http(self._linker, imports)
        self._functions = SharedFunctions(self._linker, imports)

    def answer(self, exchange: Exchange, sandbox: Sandbox) -> None:
        """Have the guest answer a request, in a sandbox of its own, on this thread. Returns when the guest has ended.

        Raises `GuestTrap` if it traps, also when it is stopped, and `GuestError` if it can't be run.
        """
        session, until = sandbox.session, sandbox.guard.run_until
        may_send = sandbox.http_out is not None and self._outgoing_helper is not None
        # The helper, which has no memory, is one instance more; the guest's linker is made already.
        own = 1 + (INSTANCES if may_send else 0)
        with opened(self.name, self._engine, self._component, self._counts, sandbox, own_instances=own) as (
            store,
            wasi,
            clock,
        ):
            wasi.set_in(store, http=may_send)
            try:
                with self._functions.those_of(session), self._outgoing(store, exchange, sandbox, clock) as sender:
                    self._run(store, Running(exchange, self._helper.in_store(store), None, sender, until))
            except (Trap, WasmtimeError) as error:
                if session.interruption is not None:
                    raise session.interruption from None
                if not isinstance(error, ExitTrap):
                    raise guest_file.guest_error(self.name, error, sandbox.limits) from None
        if sandbox.output.excess:
            raise GuestTrap(sandbox.output.excess)

    @contextmanager
    def _outgoing(
        self, store: GuestStore, exchange: Exchange, sandbox: Sandbox, clock: RunClock
    ) -> Iterator[Outgoing | None]:
        """A block in which the guest can make requests of its own; gives None if it may make none."""
        helper = self._outgoing_helper
        if sandbox.http_out is None or helper is None:
            yield None
            return
        most_head = exchange.field_bytes.most // 4  # the guest may hold several
        outgoing = Outgoing(sandbox.http_out, lambda: helper.in_store(store), most_head, sandbox.report)

        def stop(reason: str) -> None:
            clock.stop(reason)
            outgoing.close()

        sandbox.stopped_by(stop)
        try:
            yield outgoing
        finally:
            outgoing.close()

    def _run(self, store: GuestStore, running: Running) -> None:
        caller.state, caller.resources = running, Resources(_MOST_RESOURCES)
        try:
            instance = store.instantiate(self._linker, self._component)
            function = instance.get_func(store, self._handle)
            assert function is not None  # the component's type has it
            arguments = IncomingRequest(running.exchange.request), ResponseOutparam()
            call(function, frame_of(store, caller.resources), _HANDLE, arguments)
        finally:
            caller.state = None
            del caller.resources


def handler_of(component: Component, engine: Engine) -> str | None:
    """The interface by which a component answers HTTP requests, if it exports one."""
    exports = component.type.exports(engine)
    return next(
        (name for name in exports if name.startswith(HANDLER) and isinstance(exports[name].ty, ComponentInstanceType)),
        None,
    )
