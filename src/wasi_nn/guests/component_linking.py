"""Links a compiled component with WASI and the functions of `wasi:nn`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from wasmtime import Engine, WasmtimeError, _ffi as ffi
from wasmtime.component import Component, ComponentInstanceType, ExportIndex, FuncType, Linker, ResultType

from wasi_nn.abi.component import bridge, host_functions
from wasi_nn.abi.component.linking import abis_of, add_functions, define_functions
from wasi_nn.errors import GuestError
from wasi_nn.guests.extensions import require_allowed
from wasi_nn.guests.makes import listed, make_of_component
from wasi_nn.guests.prepared import FunctionsOfRuns, MadeWhenCalled
from wasi_nn.guests.store_limits import GuestStore
from wasi_nn.guests.wasi import Wasi, define_wasip2
from wasi_nn.session.session import Session

_RUN = "wasi:cli/run@0.2."


def link_component(
    name: str, component: Component, engine: Engine, store: GuestStore, wasi: Wasi, session: Session, allow_http: bool
) -> Callable[[], int]:
    """Link a component; returns the function that runs it and returns its exit code."""
    linker = Linker(engine)
    imports = list(component.type.imports(engine))
    require_allowed(name, bridge.marked(imports), session.extensions)
    http = any(imported.startswith("wasi:http/") for imported in imports)
    wasi.add_to_component(linker, store, component, http and allow_http)
    add_functions(linker, session, host_functions.define, imports)
    if http and not allow_http:
        linker.define_unknown_imports_as_traps(component)
    run = run_of(name, component, engine, imports)

    return partial(_call, linker, store, component, run, session)


class SharedFunctions:
    """The host functions of a component in a linker for many runs, each of which has its own session."""

    def __init__(self, linker: Linker, imports: Collection[str]) -> None:
        self._imports = imports
        self._functions = FunctionsOfRuns()
        define_functions(linker, host_functions.define, imports, bridge.marked(imports), self._function)

    def _function(self, instance: str, function: str) -> host_functions.HostFunction:
        return self._functions.function(f"{instance}/{function}")

    def those_of(self, session: Session) -> AbstractContextManager[None]:
        """A block that runs the component on this thread, over this session."""
        return self.calling(self.of(session))

    def calling(self, functions: Mapping[str, Callable[..., Any]]) -> AbstractContextManager[None]:
        """A block that runs the component on this thread, with the functions that `of` gave."""
        return self._functions.those_of(functions)

    def of(self, session: Session) -> Mapping[str, Callable[..., Any]]:
        """The functions over a session, with what they keep of the guest."""
        abis = abis_of(session, self._imports)

        def function(name: str) -> host_functions.HostFunction:
            instance, _, own_name = name.rpartition("/")
            return abis[instance].function(own_name)

        return MadeWhenCalled(function)


class PreparedComponent:
    """A component that is linked once for many runs. Raises `GuestError` as `link_component` does."""

    def __init__(self, name: str, component: Component, engine: Engine, allow_http: bool) -> None:
        self._name = name
        imports = list(component.type.imports(engine))
        self._used = bridge.marked(imports)
        self._linker = Linker(engine)
        http = any(imported.startswith("wasi:http/") for imported in imports)
        self._has_http = http and allow_http
        define_wasip2(self._linker, http=self._has_http)
        self._functions = SharedFunctions(self._linker, imports)
        if http and not allow_http:
            self._linker.define_unknown_imports_as_traps(component)
        self._run = run_of(name, component, engine, imports)

    def link(self, component: Component, store: GuestStore, wasi: Wasi, session: Session) -> Callable[[], int]:
        """`link_component` for one run."""
        require_allowed(self._name, self._used, session.extensions)
        wasi.set_in(store, http=self._has_http)
        functions = self._functions.those_of(session)

        def start() -> int:
            with functions:
                return _call(self._linker, store, component, self._run, session)

        return start


def _call(linker: Linker, store: GuestStore, component: Component, run: ExportIndex, session: Session) -> int:
    with session.phase("instantiate"):
        instance = store.instantiate(linker, component)
    function = instance.get_func(store, run)
    assert function is not None  # `run_of` has checked the export's type
    # wasmtime-py would ask the engine for the function's type, and convert its result by that.
    result = ffi.wasmtime_component_val_t()
    with session.guest_code():
        error = ffi.wasmtime_component_func_call(
            ctypes.byref(function._func), store._context(), None, 0, ctypes.byref(result), 1
        )
    if error:
        raise WasmtimeError._from_ptr(error)
    return 0 if result.of.result.is_ok else 1


def run_of(name: str, component: Component, engine: Engine, imports: Iterable[str]) -> ExportIndex:
    """The function `run` of a component that is a command and has these imports. Raises `GuestError` if the component
    has none, or is made for another WASI."""
    exports = component.type.exports(engine)
    make = make_of_component(imports, exports)
    if make is not None:
        raise GuestError(f"{name} {make}")
    interface = next((export for export in exports if export.startswith(_RUN)), None)
    if interface is None:
        has = listed(exports) or "nothing"
        raise GuestError(
            f"{name} is a library, not a command, since it exports no '{_RUN}x' (it exports {has}): build it as a "
            "command, with a main function, for a world that exports wasi:cli/run"
        )
    instance = exports[interface].ty
    run = instance.exports(engine).get("run") if isinstance(instance, ComponentInstanceType) else None
    index = component.get_export_index("run", component.get_export_index(interface))
    if run is None or index is None or not _is_run(run.ty):
        raise GuestError(f"{name} exports a {interface} of its own, without 'run: func() -> result'")
    return index


def _is_run(function: object) -> bool:
    if not isinstance(function, FuncType) or function.params:
        return False
    result = function.result
    return isinstance(result, ResultType) and result.ok is None and result.err is None
