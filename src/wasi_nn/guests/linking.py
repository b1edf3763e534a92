"""Links a compiled module with WASI and the nn functions of a session, and runs linked guests."""

from __future__ import annotations

from collections.abc import Callable

from wasmtime import Engine, ExitTrap, Linker, Module, Store, Trap, WasmtimeError

from wasi_nn.abi.core.dialects import imports_of
from wasi_nn.abi.core.extensions import interfaces_of
from wasi_nn.abi.core.serving import imports_serving
from wasi_nn.abi.core.spec import CoreAbi
from wasi_nn.errors import GuestTrap
from wasi_nn.guests import guest_file
from wasi_nn.guests.extensions import require_allowed
from wasi_nn.guests.output import Output
from wasi_nn.guests.run_clock import RunClock
from wasi_nn.guests.run_stats import StatsRecorder
from wasi_nn.guests.runs import RunResult
from wasi_nn.guests.wasi import Wasi
from wasi_nn.session.session import Session


def link_module(
    name: str,
    module: Module,
    engine: Engine,
    store: Store,
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

    def start() -> int:
        instance = linker.instantiate(store, module)
        nn.callers.are_one = True
        try:
            instance.exports(store)["_start"](store)  # type: ignore[operator]
        finally:
            recorder.measure_memory(instance, store)
        return 0

    return start


def run_linked(name: str, start: Callable[[], int], session: Session, wasi: Wasi, clock: RunClock) -> RunResult:
    """Run a linked guest to its end; returns its exit code and output. Raises `GuestTrap` or `GuestError`."""
    output = wasi.output or Output(session.limits)
    output.stop = clock.stop
    try:
        exit_code = start()
    except (Trap, WasmtimeError) as error:
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
    if output.excess:
        trap = GuestTrap(output.excess)
        trap.stdout, trap.stderr = output.kept()
        raise trap
    return RunResult(exit_code, *output.kept())
