"""`GuestRuns` runs the guests of one host: it makes the sandbox of each run, links the guest, and calls it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wasmtime import Engine, Module, Store

from wasi_nn.abi.core.dialects import Dialect, abi_of
from wasi_nn.guests import guest_file
from wasi_nn.guests.component_files import watch_files
from wasi_nn.guests.engine_start import start_wasi, wasi_is_started
from wasi_nn.guests.guest_files import GuestFiles
from wasi_nn.guests.linking import PreparedModule, link_module, run_linked
from wasi_nn.guests.run_clock import RunClock
from wasi_nn.guests.store_limits import GuestStore, MemoryCounts, new_store
from wasi_nn.guests.wasi import Wasi
from wasi_nn.limits.compute_guard import ComputeGuard, Turns

if TYPE_CHECKING:
    from wasmtime.component import Component

    from wasi_nn.guests.arguments import RunArguments
    from wasi_nn.guests.compiler import GuestCompiler
    from wasi_nn.guests.component_linking import PreparedComponent
    from wasi_nn.guests.guest_file import Guest
    from wasi_nn.guests.output import Output
    from wasi_nn.guests.run_stats import StatsRecorder
    from wasi_nn.guests.runs import Run, RunResult
    from wasi_nn.limits.limits import Limits
    from wasi_nn.session.guest_requests import GuestRequests
    from wasi_nn.session.session import Session


@dataclass(frozen=True)
class RunSettings:
    """What one run has. `guest` is one that is still to be compiled, or a compiled one; `requests` are what it answers;
    `new_session` makes its session, with a guard of its computes."""

    guest: Guest | Module | Component
    arguments: RunArguments
    output: Output | None
    limits: Limits
    dialect: Dialect
    requests: GuestRequests | None
    new_session: Callable[[ComputeGuard], Session]


class GuestRuns:
    """Runs guests on an engine. A guest that was compiled before its run is linked once for all of its runs."""

    def __init__(
        self, engine: Engine, compiler: GuestCompiler, memory_counts: MemoryCounts, turns: Turns, allow_http: bool
    ) -> None:
        self._engine = engine
        self._compiler = compiler
        self._memory_counts = memory_counts
        self._turns = turns
        self._allow_http = allow_http
        self._modules: WeakKeyDictionary[Module, PreparedModule] = WeakKeyDictionary()
        self._components: WeakKeyDictionary[Component, PreparedComponent] = WeakKeyDictionary()

    def do(self, run: Run, settings: RunSettings) -> RunResult:
        """Run a guest to its end, on this thread. Raises as `Host.run` does."""
        try:
            return self._do(run, settings)
        except BaseException as error:
            _forget_frames(error)
            raise
        finally:
            if settings.requests is not None:
                settings.requests.close()

    def _do(self, run: Run, settings: RunSettings) -> RunResult:
        guest, limits, arguments = settings.guest, settings.limits, settings.arguments
        name, recorder = guest_file.name_of(guest), run.recorder
        compiled: Module | Component
        if isinstance(guest, bytes | str | os.PathLike):
            began = perf_counter_ns()
            with recorder.compiling():
                compiled = self._compiler.compile(guest, limits, run)
            compile_times = began, perf_counter_ns()
        else:
            compile_times = None
            compiled = guest
        recorder.count_memories(self._memory_counts.of(compiled))
        if not wasi_is_started() and guest_file.imports_wasi(compiled, self._engine):
            start_wasi()
        wasi = Wasi([name, *arguments.args], arguments.env, arguments.dirs, arguments.stdin, settings.output, limits)
        store = new_store(self._engine, limits, compiled, self._memory_counts, wasi.extra_instances(compiled))
        guard = ComputeGuard(limits, self._turns)
        guard.run_until = run.until
        if settings.output is not None:
            settings.output.is_over = run.is_to_end
        try:
            files_of_guest = GuestFiles(arguments.dirs)
            with closing(wasi), closing(files_of_guest), settings.new_session(guard) as session:
                if compile_times is not None:
                    session.note_phase("compile", *compile_times, {"cached": not recorder.compiles})
                session.text_sink = wasi.write_stdout
                session.file_reader = files_of_guest.read
                session.requests = settings.requests
                is_kept = compiled is guest
                with session.phase("link"):
                    if isinstance(compiled, Module):
                        dialect = settings.dialect
                        call = self._link_module(name, compiled, is_kept, dialect, store, wasi, session, recorder)
                    else:
                        call = self._link_component(name, compiled, is_kept, store, wasi, session)
                with closing(RunClock(self._engine, store, limits, guard)) as clock:
                    stop = None if isinstance(compiled, Module) else clock.stop  # a module's files are counted
                    files = watch_files(arguments.dirs, limits, stop)
                    if settings.requests is not None:
                        settings.requests.begun = partial(_renew, store, limits, clock)
                    with files, run.stopped_by(clock.stop), recorder.running(session, guard):
                        return replace(run_linked(name, call, session, wasi, clock), stats=recorder.stats())
        finally:
            store.close()

    def _link_module(
        self,
        name: str,
        module: Module,
        is_kept: bool,
        dialect: Dialect,
        store: GuestStore,
        wasi: Wasi,
        session: Session,
        recorder: StatsRecorder,
    ) -> Callable[[], int]:
        abi = abi_of(dialect, module)
        if not is_kept or wasi.extra_instances(module):  # an instance of this package belongs to the run
            return link_module(name, module, self._engine, store, wasi, session, abi, recorder)
        known = self._modules.get(module)
        if known is None or known.abi is not abi:
            known = self._modules[module] = PreparedModule(name, module, self._engine, store, abi)
        return known.link(module, store, wasi, session, recorder)

    def _link_component(
        self, name: str, component: Component, is_kept: bool, store: GuestStore, wasi: Wasi, session: Session
    ) -> Callable[[], int]:
        from wasi_nn.guests.component_linking import PreparedComponent, link_component

        if not is_kept or wasi.shows_terminals:
            return link_component(name, component, self._engine, store, wasi, session, self._allow_http)
        known = self._components.get(component)
        if known is None:
            known = PreparedComponent(name, component, self._engine, self._allow_http)
            self._components[component] = known
        return known.link(component, store, wasi, session)


def _forget_frames(error: BaseException) -> None:
    """Clear the variables of the ended calls that an error has come through. The engine keeps host functions as long as
    its linker lives, which one of these variables is, and the functions lead to the run, which keeps the error: the
    garbage collector doesn't see such a circle, and the guest and its host would stay for good. (Variables of a closure
    stay, so the linker is none of them.)"""
    following: BaseException | None = error
    seen: set[int] = set()
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        traceback.clear_frames(following.__traceback__)
        following = following.__cause__ or following.__context__


def _renew(store: Store, limits: Limits, clock: RunClock) -> None:
    """Give a guest the time and the fuel of its limits again, for a further request."""
    clock.restart()
    if limits.fuel is not None:
        store.set_fuel(limits.fuel)
