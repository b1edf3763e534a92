"""`HttpGuest`: a component that exports `wasi:http/incoming-handler`. It answers each request in a fresh sandbox."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasmtime import Engine, ExitTrap, Store, Trap, WasiConfig, WasmtimeError
from wasmtime.component import Component, ComponentInstanceType, Linker

from wasi_nn.abi.component import bridge
from wasi_nn.abi.component.linking import add_shared_functions
from wasi_nn.abi.component.resources import Resources
from wasi_nn.abi.component.typed_functions import caller
from wasi_nn.abi.component.values import VALUE_SIZE, Frame
from wasi_nn.abi.http.functions import add_http
from wasi_nn.abi.http.types import IncomingRequest, ResponseOutparam, Running
from wasi_nn.abi.http.vocabulary import own
from wasi_nn.abi.wasmtime_c_api import ADDRESS, SIZE, require_success, symbol
from wasi_nn.errors import GuestError
from wasi_nn.guests import guest_file
from wasi_nn.guests.component_files import watch_files
from wasi_nn.guests.directories import c_string, preopen
from wasi_nn.guests.extensions import require_allowed
from wasi_nn.guests.http.streams import StreamsHelper, send_stdout_to_stderr
from wasi_nn.guests.output import STDERR
from wasi_nn.guests.run_clock import RunClock
from wasi_nn.guests.store_limits import MemoryCounts, new_store
from wasi_nn.limits.compute_guard import ComputeGuard
from wasi_nn.session.policy import EXTENSIONS

if TYPE_CHECKING:
    from wasi_nn.abi.http.exchange import Exchange
    from wasi_nn.guests.arguments import RunArguments
    from wasi_nn.guests.output import Output
    from wasi_nn.limits.limits import Limits
    from wasi_nn.session.session import Session

HANDLER = "wasi:http/incoming-handler@0.2."
"""The beginning of the name of the interface that such a guest exports; the number of a patch follows."""

_DESCRIPTORS = "/proc/self/fd"
_MOST_RESOURCES = 1024  # that a guest holds of a request: fields, bodies and so on

_call = symbol("wasmtime_component_func_call", ADDRESS, ADDRESS, ADDRESS, ADDRESS, SIZE, ADDRESS, SIZE)
_REQUEST, _OUTPARAM = own("incoming-request"), own("response-outparam")


@dataclass(frozen=True)
class Sandbox:
    """What a guest may use for one request.

    The descriptors are ends of pipes for the bodies, which `HttpGuest.answer` closes; `body` is None where the request
    has none. `stopped_by` gets the function that stops the guest, and at the end None.
    """

    arguments: RunArguments
    limits: Limits
    session: Session
    guard: ComputeGuard
    output: Output
    body: int | None
    answer: int
    stopped_by: Callable[[Callable[[str], None] | None], None]


class HttpGuest:
    """A compiled component. Several threads may use it at once. Raises `GuestError` for one that isn't such a guest."""

    def __init__(
        self, name: str, component: Component, engine: Engine, counts: MemoryCounts, helper: StreamsHelper
    ) -> None:
        self.name = name
        self._component = component
        self._engine = engine
        self._counts = counts
        self._helper = helper
        imports = list(component.type.imports(engine))
        interface = handler_of(component, engine)
        handle = None
        if interface is not None:
            handle = component.get_export_index("handle", component.get_export_index(interface))
        if handle is None:
            raise GuestError(f"{name} answers no HTTP requests: it exports no '{HANDLER}x' with its function 'handle'")
        self._handle = handle
        require_allowed(name, bridge.marked(imports), EXTENSIONS)
        self._takes_byte_strings = "byte-strings" in bridge.marked(imports)
        self._linker = Linker(engine)
        self._linker.add_wasip2()
        send_stdout_to_stderr(self._linker, imports)
        add_http(self._linker, imports)
        self._nn = add_shared_functions(self._linker, imports, EXTENSIONS)

    def answer(self, exchange: Exchange, sandbox: Sandbox) -> None:
        """Have the guest answer a request, in a sandbox of its own, on this thread. Returns when the guest has ended.

        Raises `GuestTrap` if it traps, also when it is stopped, and `GuestError` if it can't be run.
        """
        store = None
        try:
            config = self._wasi(sandbox)
            store = new_store(self._engine, sandbox.limits, self._component, self._counts, 1)
            store.set_wasi(config)
            with closing(RunClock(self._engine, store, sandbox.limits, sandbox.guard)) as clock:
                sandbox.output.stop = clock.stop
                sandbox.stopped_by(clock.stop)
                try:
                    with watch_files(sandbox.arguments.dirs, sandbox.limits, clock.stop):
                        self._run(store, exchange, sandbox)
                except (Trap, WasmtimeError) as error:
                    if sandbox.session.interruption is not None:
                        raise sandbox.session.interruption from None
                    if not isinstance(error, ExitTrap):
                        raise guest_file.guest_error(self.name, error, sandbox.limits) from None
                finally:
                    sandbox.stopped_by(None)
        finally:
            if store is not None:
                store.close()

    def _run(self, store: Store, exchange: Exchange, sandbox: Sandbox) -> None:
        sandbox.session.takes_byte_strings = self._takes_byte_strings
        running = Running(exchange, self._helper.in_store(store))
        caller.state, caller.resources = running, Resources(_MOST_RESOURCES)
        caller.nn = _Functions(self._nn(sandbox.session).function)
        try:
            instance = self._linker.instantiate(store, self._component)
            function = instance.get_func(store, self._handle)
            assert function is not None  # the component's type has it
            context = ctypes.cast(store._context(), ADDRESS)
            frame = Frame(context.value or 0, caller.resources)
            values = (ctypes.c_char * (2 * VALUE_SIZE))()
            at = ctypes.addressof(values)
            _REQUEST.lower(frame, at, IncomingRequest(exchange.request))
            _OUTPARAM.lower(frame, at + VALUE_SIZE, ResponseOutparam())
            require_success(_call(ctypes.addressof(function._func), context, at, 2, None, 0))
        finally:
            caller.state = None
            del caller.resources, caller.nn

    def _wasi(self, sandbox: Sandbox) -> WasiConfig:
        config, arguments = WasiConfig(), sandbox.arguments
        with closing_all(sandbox.body, sandbox.answer):
            if sandbox.body is not None:
                config.stdin_file = f"{_DESCRIPTORS}/{sandbox.body}"
            config.stdout_file = f"{_DESCRIPTORS}/{sandbox.answer}"
        config.argv = [c_string("an argument", text) for text in (self.name, *arguments.args)]
        config.env = [
            (c_string("a variable", key), c_string("a variable", arguments.env[key])) for key in arguments.env
        ]
        preopen(config, arguments.dirs)
        config.stderr_custom = sandbox.output.for_engine(STDERR)
        return config


@contextmanager
def closing_all(*descriptors: int | None) -> Iterator[None]:
    """Close descriptors at the end of the block."""
    try:
        yield
    finally:
        for descriptor in descriptors:
            if descriptor is not None:
                os.close(descriptor)


class _Functions(dict[str, Callable[..., object]]):
    """The functions of one session, each made when it is first called."""

    def __init__(self, make: Callable[[str], Callable[..., object]]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Callable[..., object]:
        function = self[name] = self._make(name)
        return function


def handler_of(component: Component, engine: Engine) -> str | None:
    """The interface by which a component answers HTTP requests, if it exports one."""
    exports = component.type.exports(engine)
    return next(
        (name for name in exports if name.startswith(HANDLER) and isinstance(exports[name].ty, ComponentInstanceType)),
        None,
    )
