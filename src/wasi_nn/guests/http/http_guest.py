"""`HttpGuest`: a component that exports `wasi:http/incoming-handler`. It answers each request in a fresh sandbox, or
one after another in an `HttpInstance`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from wasmtime import Engine
from wasmtime.component import Component, ComponentInstanceType, Linker

from wasi_nn.abi.component import bridge
from wasi_nn.abi.http.functions import add_http
from wasi_nn.errors import GuestError
from wasi_nn.guests.component_linking import SharedFunctions
from wasi_nn.guests.extensions import require_allowed
from wasi_nn.guests.http.http_instance import HttpInstance, InstanceParts
from wasi_nn.guests.http.streams import StreamsHelper, bound_sleep, send_stdout_to_stderr
from wasi_nn.guests.store_limits import MemoryCounts
from wasi_nn.session.policy import EXTENSIONS

if TYPE_CHECKING:
    from wasi_nn.abi.http.exchange import Exchange
    from wasi_nn.guests.http.outgoing.engine_exchanges import OutgoingHelper
    from wasi_nn.guests.http.sandbox import Sandbox
    from wasi_nn.session.session import Session

HANDLER = "wasi:http/incoming-handler@0.2."
"""The beginning of the name of the interface that such a guest exports; the number of a patch follows."""


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
        with closing(self.instance(sandbox.session, is_reused=False)) as instance:
            instance.answer(exchange, sandbox)

    def instance(self, session: Session, *, is_reused: bool = True) -> HttpInstance:
        """A new instance of the guest, over a session that it doesn't close. One that is reused needs the helper for
        requests."""
        parts = InstanceParts(
            *(self.name, self._component, self._engine, self._counts, self._linker, self._functions, self._handle),
            *(self._helper, self._outgoing_helper),
        )
        return HttpInstance(parts, session, is_reused=is_reused)


def handler_of(component: Component, engine: Engine) -> str | None:
    """The interface by which a component answers HTTP requests, if it exports one."""
    exports = component.type.exports(engine)
    return next(
        (name for name in exports if name.startswith(HANDLER) and isinstance(exports[name].ty, ComponentInstanceType)),
        None,
    )
