"""The host runs guests: it brings together the engine, WASI, the compile cache and the nn functions.

Programs that embed this package start here. The nn functions themselves are in `wasi_nn.session`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wasmtime import ExitTrap, Linker, Module, Store, Trap, WasmtimeError
from wasmtime.component import Component, Linker as ComponentLinker

from wasi_nn.abi.component import bridge_functions, compose
from wasi_nn.abi.core.dialects import Dialect, abi_of
from wasi_nn.errors import GuestError, GuestTrap, one_line
from wasi_nn.guests import guest_file
from wasi_nn.guests.arguments import require_arguments, require_one_output, require_settings
from wasi_nn.guests.compilation import compile_guest
from wasi_nn.guests.compile_cache import CompileCache, Compiled, default_directory
from wasi_nn.guests.component_files import files_in
from wasi_nn.guests.engine import new_engine
from wasi_nn.guests.engine_start import start_wasi, wasi_is_started
from wasi_nn.guests.output import Output
from wasi_nn.guests.run_clock import RunClock
from wasi_nn.guests.runs import Run, RunResult, RunsUnderWay, Work
from wasi_nn.guests.store_limits import MemoryCounts, new_store
from wasi_nn.guests.wasi import Wasi
from wasi_nn.limits.compute_guard import ComputeGuard, Turns
from wasi_nn.limits.limits import HostLimits, Limits
from wasi_nn.limits.usage import Usage
from wasi_nn.loading.registry import registry_of
from wasi_nn.loading.rules import LoadRules
from wasi_nn.process import forks
from wasi_nn.session.session import Session
from wasi_nn.types import parse_enum

if TYPE_CHECKING:
    from typing import TextIO

    from wasi_nn.guests.directories import Directories
    from wasi_nn.guests.guest_file import Guest
    from wasi_nn.isolation import Isolation
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.types import ExecutionTarget, GraphEncoding

logger = logging.getLogger("wasi_nn")

Result = TypeVar("Result")

_SLOW_TO_COMPILE = 1_000_000  # bytes: a second or so
_NEVER = 2**62  # epochs


class Host:
    """Runs guests, each in a sandbox of its own, with the graphs that the operator names.

    `graphs`: those that guests may load by name: a `Registry`, a mapping of names to models, or the path of a file
    of graphs. `allow_load`, `allow_targets` and `allow_names`: what guests may load, as in `Session`. `allow_http`:
    whether a component may make HTTP requests, by `wasi:http`; else one that tries to traps. `rules`:
    how models are loaded; `isolate` is `LoadRules.isolate`, for short. `limits`: what each guest may have and take;
    `totals`: what all may together. `dialect`: whose functions and numbers core modules get; `auto` tells by what
    they import. `cache`: where compiled guests are kept; True for the user's cache directory, False for nowhere.

    A host may be used from several threads at once. As a context manager, or by `close`, it stops what still runs.
    """

    def __init__(
        self,
        graphs: Graphs = None,
        *,
        allow_load: bool | Collection[GraphEncoding | str] = True,
        allow_targets: Collection[ExecutionTarget | str] | None = None,
        allow_names: Collection[str] | None = None,
        allow_http: bool = False,
        rules: LoadRules | None = None,
        isolate: bool | Isolation | None = None,
        limits: Limits | None = None,
        totals: HostLimits | None = None,
        dialect: Dialect | str = Dialect.AUTO,
        cache: bool | str | os.PathLike[str] = True,
    ) -> None:
        require_settings(limits, totals, rules, isolate)
        if isolate is not None:
            rules = replace(rules or LoadRules(), isolate=isolate)
        self.registry = registry_of(graphs, rules)
        self.allow_load = allow_load
        self.allow_targets = allow_targets
        self.allow_names = allow_names
        self.allow_http = allow_http
        self.rules = rules
        self.dialect = parse_enum(Dialect, dialect)
        self.limits = limits or Limits()
        self._usage = Usage(totals or HostLimits())
        self._turns = Turns(totals or HostLimits())
        self._runs = RunsUnderWay()
        self.engine = new_engine(fuel=self.limits.fuel is not None)
        self._forks = forks.count
        self._memory_counts = MemoryCounts()
        directory = default_directory() if cache is True else Path(cache) if cache else None
        if directory is not None and self.limits.fuel is not None:
            directory /= "fuel"  # where guests count it
        self._cache = None if directory is None else CompileCache(directory)

    def session(
        self,
        *,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        trace: str | os.PathLike[str] | None = None,
        trace_data: bool = False,
        title: str = "wasi-nn",
    ) -> Session:
        """A new session with this host's graphs, rules and limits, for a Store that you run yourself: see `store`.

        `allow_names` and `limits` are instead of the host's. With `trace`, the path of a file, its calls are recorded:
        see `RecordingSession`.
        """
        guard = ComputeGuard(limits or self.limits, self._turns)
        return self._session(guard, allow_names, limits or self.limits, trace, trace_data, title)

    def _session(
        self,
        guard: ComputeGuard,
        allow_names: Collection[str] | None,
        limits: Limits,
        trace: str | os.PathLike[str] | None,
        trace_data: bool,
        title: str,
    ) -> Session:
        settings: dict[str, Any] = {
            "allow_load": self.allow_load,
            "allow_targets": self.allow_targets,
            "allow_names": self.allow_names if allow_names is None else allow_names,
            "rules": self.rules,
            "limits": limits,
            "totals": self._usage,
            "guard": guard,
        }
        if trace is None:
            return Session(self.registry, **settings)
        from wasi_nn.tracing.recording import RecordingSession

        return RecordingSession(trace, self.registry, data=trace_data, title=title, **settings)

    def store(self, limits: Limits | None = None) -> Store:
        """A new Store of this host's engine for what you compile and run yourself, with room for as much memory as a
        guest may have. Its guest runs as long as it likes: guests of a Store that you make without this trap at once,
        as the engine interrupts those that have no deadline. Raises `GuestError` where the process has no threads or
        files left for WASI."""
        start_wasi()
        store = new_store(self.engine, limits or self.limits, None, self._memory_counts)
        store.set_epoch_deadline(_NEVER)
        return store

    def compile(self, guest: Guest) -> Module | Component:
        """Compile a guest, or find it compiled, within the host's limits.

        Raises `GuestError` if the guest doesn't exist, isn't WebAssembly, or needs too much time or memory to compile.
        """
        self._require_made_here()
        work = Work[Module | Component](self.limits)
        self._runs.begin(work, lambda: self._compiled(guest, self.limits, work))
        return self._ended(work)

    def _require_made_here(self) -> None:
        if self._forks != forks.count:
            raise GuestError(forks.made_elsewhere_message("host"))

    def _compiled(self, guest: Guest, limits: Limits, work: Work[Any]) -> Module | Component:
        wasm, name = guest_file.read(guest), guest_file.name_of(guest)
        component = guest_file.is_component(wasm)
        whole = compose.wrap_component(wasm, name) if component else wasm
        compiled: Module | Component
        if component:
            compiled = self._compiled_or_cached(Component, whole, name, limits, work)
        else:
            compiled = self._compiled_or_cached(Module, whole, name, limits, work)
        self._memory_counts.add(compiled, wasm, whole)
        return compiled

    def _compiled_or_cached(
        self, kind: type[Compiled], wasm: bytes, name: str, limits: Limits, work: Work[Any]
    ) -> Compiled:
        def anew(wasm: bytes) -> Compiled:
            if len(wasm) > _SLOW_TO_COMPILE:
                once = ", once" if self._cache else ""
                logger.info("compiling %s (%.0f MB): this takes seconds%s", name, len(wasm) / 1e6, once)
            return compile_guest(kind, self.engine, wasm, name, limits, self.limits.fuel is not None, work)

        try:
            return self._cache.get(wasm, anew, partial(kind.deserialize, self.engine)) if self._cache else anew(wasm)
        except WasmtimeError as error:
            raise GuestError(f"{name} is not valid WebAssembly: {one_line(error)}") from error

    def start(
        self,
        guest: Guest | Module | Component,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        dirs: Directories | None = None,
        stdin: bytes | os.PathLike[str] | TextIO | None = None,
        capture_output: bool = False,
        streams: tuple[int, int] | None = None,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        dialect: Dialect | str | None = None,
        trace: str | os.PathLike[str] | None = None,
        trace_data: bool = False,
    ) -> Run:
        """Begin to run a guest, as `run` does, and return at once: `Run.wait` gives the result, `Run.stop` ends it.

        What is wrong with the guest is raised by `wait`. Raises `GuestError` if the host is closed, or no thread is
        left for the guest.
        """
        self._require_made_here()
        require_arguments(args)
        require_settings(limits)
        require_one_output(capture_output, streams)
        limits = limits or self.limits
        if limits.fuel is not None and self.limits.fuel is None:
            raise GuestError("fuel is counted only by a Host whose own limits have some (Limits.fuel)")
        name = guest_file.name_of(guest)
        run = Run(limits)
        output = Output(limits, streams) if capture_output or streams is not None else None
        if output is not None:
            run.output = output.kept

        def to_its_end() -> RunResult:
            compiled = guest if isinstance(guest, Module | Component) else self._compiled(guest, limits, run)
            if not wasi_is_started() and guest_file.imports_wasi(compiled, self.engine):
                start_wasi()
            wasi = Wasi([name, *args], env or {}, dirs or {}, stdin, output, limits)
            extra_instances = int(wasi.stands_in_for(compiled))
            store = new_store(self.engine, limits, compiled, self._memory_counts, extra_instances)
            guard = ComputeGuard(limits, self._turns)
            guard.run_until = run.until
            try:
                with self._session(guard, allow_names, limits, trace, trace_data, name) as session:
                    session.text_sink = wasi.write_stdout
                    if isinstance(compiled, Component):
                        begin = self._link_component(name, compiled, store, wasi, session)
                    else:
                        begin = self._link_module(dialect or self.dialect, name, compiled, store, wasi, session)
                    with closing(RunClock(self.engine, store, limits, guard)) as clock:
                        watch = clock.stop if isinstance(compiled, Component) else None
                        with files_in(dirs or {}, limits, watch), run.stopped_by(clock.stop):
                            return _run_to_its_end(name, begin, session, wasi, clock)
            finally:
                store.close()

        self._runs.begin(run, to_its_end)
        return run

    def run(
        self,
        guest: Guest | Module | Component,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        dirs: Directories | None = None,
        stdin: bytes | os.PathLike[str] | TextIO | None = None,
        capture_output: bool = False,
        streams: tuple[int, int] | None = None,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        dialect: Dialect | str | None = None,
        trace: str | os.PathLike[str] | None = None,
        trace_data: bool = False,
    ) -> RunResult:
        """Run a guest that is a command (it exports `_start`, or `wasi:cli/run` if it is a component) to its end.

        `args` come after the guest's own name. `env` is the whole of its environment. `dirs` maps paths as the guest
        sees them to directories here: paths, which it may read and write, or a `Directory`, which may be read-only.
        `stdin` is bytes or a file for it to read, or `sys.stdin` to share ours; without, it has none. It writes to our
        output, or, with `capture_output`, into the result, or instead to `streams`, two descriptors; of these, so much
        as `Limits.output_bytes`. `allow_names`, `limits` and `dialect` are for this run alone. `trace` is a file to
        record its nn calls in; with `trace_data` also what is needed to `replay` them.

        Raises `GuestError` if it can't be run, `GuestTrap` if a trap stopped it; the latter has what it wrote. Raises
        `NNError` with `invalid-argument` for arguments that can't be, such as both `capture_output` and `streams`.
        """
        return self._ended(
            self.start(
                guest,
                args,
                env=env,
                dirs=dirs,
                stdin=stdin,
                capture_output=capture_output,
                streams=streams,
                allow_names=allow_names,
                limits=limits,
                dialect=dialect,
                trace=trace,
                trace_data=trace_data,
            )
        )

    def _ended(self, work: Work[Result]) -> Result:
        """Wait for the result of some work; stop the work if the wait is interrupted."""
        try:
            return work.wait()
        except BaseException as interruption:
            if not (work.has_ended or work.is_given_up):
                work.stop(f"interrupted by {type(interruption).__name__}")
                work.wait_for_end()
            raise

    def close(self) -> None:
        """Stop all running guests and refuse new ones. Waits at most one second for guests that don't stop.

        `Run.wait` and `run` raise `GuestStopped` for a guest that is stopped.
        """
        self._runs.close("its host was closed")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self.registry!r}, {self.limits!r}>"

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _link_module(
        self, dialect: Dialect | str, name: str, module: Module, store: Store, wasi: Wasi, session: Session
    ) -> Callable[[], int]:
        linker = Linker(self.engine)
        try:
            wasi.add_to(linker, store, module)
        except (Trap, WasmtimeError) as error:  # an instance of ours has no room beside the guest
            raise guest_file.explained(name, error, session.limits) from None
        abi = abi_of(dialect, module)
        abi(session).add_to_linker(linker)
        guest_file.require_command(name, module, abi, linker, store)

        def start() -> int:
            linker.instantiate(store, module).exports(store)["_start"](store)  # type: ignore[operator]
            return 0

        return start

    def _link_component(
        self, name: str, component: Component, store: Store, wasi: Wasi, session: Session
    ) -> Callable[[], int]:
        linker = ComponentLinker(self.engine)
        http = guest_file.imports_http(component, self.engine)
        wasi.add_to_component(linker, store, component, http and self.allow_http)
        bridge_functions.add_to_component_linker(linker, session)
        if http and not self.allow_http:
            linker.define_unknown_imports_as_traps(component)
        run = guest_file.run_of(name, component, self.engine)

        def start() -> int:
            function = linker.instantiate(store, component).get_func(store, run)
            assert function is not None  # it is, by its type
            return 0 if function(store).tag == "ok" else 1

        return start


def _run_to_its_end(name: str, start: Callable[[], int], session: Session, wasi: Wasi, clock: RunClock) -> RunResult:
    """Run a guest to its end."""
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
            ended = guest_file.explained(name, error, session.limits)
            if isinstance(ended, GuestTrap):
                ended.stdout, ended.stderr = output.kept()
            raise ended from None
    if output.excess:
        trap = GuestTrap(output.excess)
        trap.stdout, trap.stderr = output.kept()
        raise trap
    return RunResult(exit_code, *output.kept())
