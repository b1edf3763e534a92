"""Links a compiled module with WASI and the nn functions of a session, and runs linked guests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any

from wasmtime import Engine, ExitTrap, Instance, Linker, Module, Store, Trap, WasmtimeError

from wasi_nn.abi.core import host_functions
from wasi_nn.abi.core.dialects import imports_of
from wasi_nn.abi.core.extensions import interfaces_of
from wasi_nn.abi.core.serving import imports_serving
from wasi_nn.abi.core.spec import CoreAbi
from wasi_nn.errors import GuestTrap, one_line
from wasi_nn.guests import guest_file
from wasi_nn.guests.extensions import require_allowed
from wasi_nn.guests.output import Output
from wasi_nn.guests.prepared import FunctionsOfRuns, MadeWhenCalled
from wasi_nn.guests.run_clock import RunClock
from wasi_nn.guests.run_stats import StatsRecorder
from wasi_nn.guests.runs import RunResult
from wasi_nn.guests.store_limits import GuestStore
from wasi_nn.guests.wasi import PROC_EXIT, Wasi, define_wasi
from wasi_nn.session.session import Session


def link_module(
    name: str,
    module: Module,
    engine: Engine,
    store: GuestStore,
    wasi: Wasi,
    session: Session,
    abi: type[CoreAbi],
    recorder: StatsRecorder,
) -> Callable[[], int]:
    """Link a module; returns the function that runs it and returns its exit code. `recorder` gets the size of the
    guest's memory at the end."""
    linker = Linker(engine)
    try:
        wasi.add_to(linker, store, module)
    except (Trap, WasmtimeError) as error:  # the limits leave no memory for this package's own instance
        raise guest_file.guest_error(name, error, session.limits) from None
    nn = abi(session)
    imports = imports_of(module)
    interfaces = interfaces_of(imports)
    require_allowed(name, interfaces, session.extensions)
    nn.add_to_linker(linker, interfaces, serves=imports_serving(imports))
    guest_file.require_command(name, module, abi, linker, store)

    return partial(_start_linked, linker, module, store, session, nn, recorder)


def _start_linked(
    linker: Linker, module: Module, store: GuestStore, session: Session, nn: CoreAbi, recorder: StatsRecorder
) -> int:
    with session.phase("instantiate"):
        instance = store.instantiate(linker, module)
    nn.callers.are_one = True
    with session.guest_code():
        return _start(instance, store, recorder)


def _start(instance: Instance, store: Store, recorder: StatsRecorder) -> int:
    exports = instance.exports(store)
    try:
        exports["_start"](store)  # type: ignore[operator]
    finally:
        recorder.measure_memory(exports, store)
    return 0


class PreparedModule:
    """A module that is linked once for many runs. Raises `GuestError` as `link_module` does."""

    def __init__(self, name: str, module: Module, engine: Engine, store: Store, abi: type[CoreAbi]) -> None:
        self.abi = abi
        self._name = name
        self._interfaces = interfaces_of(imports_of(module))
        self._functions = FunctionsOfRuns()
        self._linker = Linker(engine)
        self._define(module)
        guest_file.require_command(name, module, abi, self._linker, store)

    def _define(self, module: Module) -> None:
        """Define the functions that a module imports."""
        define_wasi(self._linker, self._functions.function(PROC_EXIT))
        for imported, name, parameters in self.abi.imported(imports_of(module)):
            signature = host_functions.i32_signature(parameters, 1)
            host_functions.define(self._linker, imported, name, signature, self._functions.function(name))

    def link(
        self, module: Module, store: GuestStore, wasi: Wasi, session: Session, recorder: StatsRecorder
    ) -> Callable[[], int]:
        """`link_module` for one run."""
        require_allowed(self._name, self._interfaces, session.extensions)
        wasi.set_in(store)
        nn = self.abi(session)
        functions = MadeWhenCalled(nn.function)
        functions[PROC_EXIT] = wasi.proc_exit

        def start() -> int:
            with self._functions.those_of(functions):
                with session.phase("instantiate"):
                    instance = store.instantiate(self._linker, module)
                with session.guest_code():
                    return _start(instance, store, recorder)

        return start


def run_linked(name: str, start: Callable[[], int], session: Session, wasi: Wasi, clock: RunClock) -> RunResult:
    """Run a linked guest to its end; returns its exit code and output. Raises `GuestTrap` or `GuestError`."""
    about: dict[str, Any] = {}
    began = perf_counter_ns()
    try:
        result = _run_to_end(name, start, session, wasi, clock)
        about["exit_code"] = result.exit_code
        return result
    except Exception as error:
        about["error"] = one_line(error)
        raise
    finally:
        session.note_phase("run", began, perf_counter_ns(), about)


def _run_to_end(name: str, start: Callable[[], int], session: Session, wasi: Wasi, clock: RunClock) -> RunResult:
    output = wasi.output or Output(session.limits)
    output.stop = clock.stop
    if wasi.feed is not None:
        wasi.feed.stop, clock.end_input = clock.stop, wasi.feed.end
        wasi.feed.start()
    try:
        exit_code = start()
    except (Trap, WasmtimeError) as error:
        wasi.end_streams()
        if session.interruption is not None:
            raise session.interruption from None
        if isinstance(error, ExitTrap):
            exit_code = error.code
        elif wasi.exit_code is not None:
            exit_code = wasi.exit_code
        else:
            failure = guest_file.guest_error(name, error, session.limits)
            if isinstance(failure, GuestTrap):
                failure.stdout, failure.stderr = output.kept()
            raise failure from None
    wasi.end_streams()
    if output.excess or clock.input_ended:
        trap = GuestTrap(output.excess or clock.input_ended)
        trap.stdout, trap.stderr = output.kept()
        raise trap
    return RunResult(exit_code, *output.kept())
