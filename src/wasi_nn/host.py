"""`Host` runs guests: it joins the engine, WASI, the compile cache and the nn functions.

A program that embeds this package starts here. The nn functions themselves are in `wasi_nn.session`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wasmtime import Module, Store

from wasi_nn.abi.core.dialects import Dialect
from wasi_nn.arguments import as_flag, as_text
from wasi_nn.errors import GuestError
from wasi_nn.guests import guest_file
from wasi_nn.guests.arguments import (
    as_cache,
    as_guest,
    as_guest_or_compiled,
    as_limits,
    as_requests,
    require_patterns,
    require_settings,
    run_arguments,
)
from wasi_nn.guests.compile_cache import cache_in, default_directory
from wasi_nn.guests.compiler import GuestCompiler
from wasi_nn.guests.engine import new_engine
from wasi_nn.guests.engine_start import start_wasi
from wasi_nn.guests.running import GuestRuns, RunSettings
from wasi_nn.guests.runs import Run, RunResult, RunsUnderWay, Work
from wasi_nn.guests.store_limits import MemoryCounts, new_store
from wasi_nn.guests.streams import Sink, Stdin, output_of
from wasi_nn.limits.compute_guard import ComputeGuard, Turns
from wasi_nn.limits.limits import HostLimits, Limits
from wasi_nn.limits.usage import Usage
from wasi_nn.loading.registry import registry_of
from wasi_nn.loading.rules import LoadRules
from wasi_nn.process import forks
from wasi_nn.session.guest_requests import GuestRequest, GuestRequests
from wasi_nn.session.policy import Policy
from wasi_nn.session.session import Session
from wasi_nn.types import parse_enum

if TYPE_CHECKING:
    from wasmtime.component import Component

    from wasi_nn.guests.directories import Directories
    from wasi_nn.guests.guest_file import Guest
    from wasi_nn.isolation import Isolation
    from wasi_nn.loading.registry import Graphs
    from wasi_nn.tracing import CallRecorder
    from wasi_nn.types import ExecutionTarget, GraphEncoding

_NEVER = 2**62  # epochs until the engine interrupts a guest: more than ever pass


class Host:
    """Runs WebAssembly guests, each in a sandbox of its own.

        >>> import wasi_nn
        >>> guest = b'(module (func (export "_start")))'  # or a path: "classify.wasm"
        >>> with wasi_nn.Host(limits=wasi_nn.Limits(run_time=60)) as host:
        ...     host.run(guest, ["photo.ppm"], capture_output=True)
        RunResult(exit_code=0, stdout=b'', stderr=b'')

    graphs         the graphs that guests may load by name: a `Registry`, a mapping of names to models, or the path of
                   a file of graphs. None: no graphs
    allow_load     the models that guests may load from their own bytes. True: those of the encodings whose runtime is
                   safe for untrusted models, by itself or in isolation. False: none. A collection: only those encodings
    allow_targets  the execution targets that guests may use for models from their own bytes. None: all
    allow_names    the names of the graphs that guests may load; `*` stands for any characters. None: all
    allow_http     whether components may make HTTP requests by `wasi:http`. False: such a request traps
    rules          how models are loaded. None: `LoadRules()`
    isolate        replaces `LoadRules.isolate` in `rules`: which models run in worker processes. None: no change
    limits         the limits of each guest. None: `Limits()`
    totals         the limits of all guests together. None: `HostLimits()`
    dialect        the nn functions and numbers of core modules. `auto`: chosen by the imports of each module
    cache          the directory for compiled guests. True: the user's cache directory. False: no cache
    extensions     the interfaces of wasi-nn:ext that guests may import, such as `['describe']`. True: all. False: none
    show_metadata  whether guests that ask for a description of a graph get what its model says about itself

    `registry` has the host's graphs, and `engine` is its `wasmtime.Engine`, for a Store of your own.

    Several threads may use a host at once. `close`, or the end of a `with` block, stops the guests that still run.

    Raises `NNError` with `invalid-argument` for a setting of the wrong type, and otherwise as `Registry` does.
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
        extensions: bool | Collection[str] = True,
        show_metadata: bool = True,
    ) -> None:
        require_settings(limits, totals, rules, isolate)
        if isolate is not None:
            rules = replace(rules or LoadRules(), isolate=isolate)
        Policy.of(allow_load, allow_targets, allow_names, extensions, show_metadata)  # raises for a wrong one
        self.registry = registry_of(graphs, rules)
        self.allow_load = allow_load
        self.allow_targets = allow_targets
        self.allow_names = allow_names
        self.allow_http = as_flag("allow_http", allow_http)
        self.extensions = extensions
        self.show_metadata = show_metadata
        self.rules = rules
        self.dialect = parse_enum(Dialect, dialect)
        self.limits = limits or Limits()
        self._usage = Usage(totals or HostLimits())
        self._turns = Turns(totals or HostLimits())
        self._runs = RunsUnderWay()
        counts_fuel = self.limits.fuel is not None
        self.engine = new_engine(fuel=counts_fuel)
        self._forks = forks.count
        self._memory_counts = MemoryCounts()
        cache_at = as_cache(cache)
        directory = default_directory() if cache_at is True else Path(cache_at) if cache_at else None
        cache_of_guests = None if directory is None else cache_in(directory, fuel=counts_fuel)
        self._compiler = GuestCompiler(self.engine, cache_of_guests, self._memory_counts, fuel=counts_fuel)
        self._guest_runs = GuestRuns(self.engine, self._compiler, self._memory_counts, self._turns, self.allow_http)

    def session(
        self,
        *,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        trace: str | os.PathLike[str] | CallRecorder | None = None,
        trace_data: bool = False,
        title: str = "wasi-nn",
    ) -> Session:
        """A new session with the host's graphs, policy, rules and limits, for a Store of your own (`store`).

        allow_names  replaces the host's `allow_names` for this session. None: the host's
        limits       replaces the host's `limits` for this session. None: the host's
        trace        a file that records the session's calls, or a `wasi_nn.tracing.CallRecorder`. None: nothing
        trace_data   whether models, inputs and outputs are recorded too, as `replay` needs them
        title        the title of the trace in viewers

        Raises `NNError` with `runtime-error` if the trace can't be written.
        """
        require_patterns(allow_names)
        _require_trace(trace, trace_data)
        limits = self.limits if limits is None else as_limits(limits)
        title = as_text("title", title)
        return self._session(ComputeGuard(limits, self._turns), allow_names, limits, trace, trace_data, title)

    def _session(
        self,
        guard: ComputeGuard,
        allow_names: Collection[str] | None,
        limits: Limits,
        trace: str | os.PathLike[str] | CallRecorder | None,
        trace_data: bool,
        title: str,
    ) -> Session:
        settings: dict[str, Any] = {
            "allow_load": self.allow_load,
            "allow_targets": self.allow_targets,
            "allow_names": self.allow_names if allow_names is None else allow_names,
            "extensions": self.extensions,
            "show_metadata": self.show_metadata,
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
        """A new Store of this host's engine, for a guest that you compile and run yourself.

        `limits` sets the memory and the fuel of the guest; None: the host's limits. The guest's time is not limited.
        Use this method instead of `wasmtime.Store(host.engine)`: the engine interrupts guests, and a Store without an
        epoch deadline traps at once.

        Raises `GuestError` if the process has no threads or descriptors left for WASI.
        """
        limits = self.limits if limits is None else as_limits(limits)
        start_wasi()
        store = new_store(self.engine, limits, None, self._memory_counts)
        store.set_epoch_deadline(_NEVER)
        return store

    def compile(self, guest: Guest) -> Module | Component:
        """Compile a guest within the host's limits, or take it from the cache.

        `guest` is the path of a `.wasm` or `.wat` file, or the bytes of either. `run` and `start` take the result in
        place of a guest, and then needn't read the file again.

        Raises `GuestError` if the guest doesn't exist, isn't WebAssembly, or takes longer than `Limits.compile_time`
        or more than `Limits.compile_memory` to compile.
        """
        self._require_made_here()
        guest = as_guest(guest)
        work: Work[Module | Component] = Work(self.limits)
        self._runs.begin(work, lambda: self._compiler.compile(guest, self.limits, work))
        return work.result_or_stop()

    def _require_made_here(self) -> None:
        if self._forks != forks.count:
            raise GuestError(forks.made_elsewhere_message("host"))

    def start(
        self,
        guest: Guest | Module | Component,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        dirs: Directories | None = None,
        stdin: Stdin = None,
        stdout: Sink = None,
        stderr: Sink = None,
        capture_output: bool = False,
        streams: tuple[int, int] | None = None,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        dialect: Dialect | str | None = None,
        trace: str | os.PathLike[str] | CallRecorder | None = None,
        trace_data: bool = False,
        requests: Iterable[GuestRequest] | None = None,
    ) -> Run:
        """Start a guest on a thread of its own, and return at once. `Run.wait` returns the result; `Run.stop` stops it.

        The parameters are those of `run`. Errors of the guest are raised by `Run.wait`.

        Raises `GuestError` if the host is closed, if 64 guests that can't be stopped still run, or if the process can
        have no more threads; and `NNError` with `invalid-argument` for arguments that can't be.
        """
        given = args, env, dirs, stdin, capture_output, streams, stdout, stderr
        more = allow_names, limits, dialect, trace, trace_data, requests
        run, run_guest = self._run_of(guest, *given, *more)
        self._runs.begin(run, run_guest)
        return run

    def answer_here(
        self,
        guest: Module | Component,
        args: Sequence[str],
        env: Mapping[str, str],
        dirs: Directories,
        requests: Iterable[GuestRequest],
        began: Callable[[Run], None],
        trace: CallRecorder | None = None,
    ) -> Run:
        """`start` for a guest that answers requests, with captured output; but the guest runs on this thread, one of
        `process.threads`, which saves a change of threads, and has ended when this returns. `began` gets the run
        before, so that another thread can stop it."""
        run, run_guest = self._run_of(guest, args, env, dirs, b"", True, trace=trace, requests=requests)
        began(run)
        self._runs.begin(run, run_guest, here=True)
        return run

    def _run_of(
        self,
        guest: Guest | Module | Component,
        args: Sequence[str],
        env: Mapping[str, str] | None,
        dirs: Directories | None,
        stdin: Stdin,
        capture_output: bool,
        streams: tuple[int, int] | None = None,
        stdout: Sink = None,
        stderr: Sink = None,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        dialect: Dialect | str | None = None,
        trace: str | os.PathLike[str] | CallRecorder | None = None,
        trace_data: bool = False,
        requests: Iterable[GuestRequest] | None = None,
    ) -> tuple[Run, Callable[[], RunResult]]:
        """A run as `start` begins it, and the function that runs the guest."""
        self._require_made_here()
        guest = as_guest_or_compiled(guest)
        arguments = run_arguments(args, env, dirs, stdin)
        require_patterns(allow_names)
        _require_trace(trace, trace_data)
        served = None if requests is None else GuestRequests(as_requests(requests))
        limits = self.limits if limits is None else as_limits(limits)
        dialect = self.dialect if dialect is None else parse_enum(Dialect, dialect)
        if limits.fuel is not None and self.limits.fuel is None:
            message = "this host counts no fuel: give Limits.fuel to the Host itself, Host(limits=Limits(fuel=...))"
            raise GuestError(message)
        run = Run(limits)
        output = output_of(limits, capture_output, streams, stdout, stderr)
        if output is not None:
            run.output, run.take_output = output.kept, output.taken
        title = guest_file.name_of(guest)

        def new_session(guard: ComputeGuard) -> Session:
            return self._session(guard, allow_names, limits, trace, trace_data, title)

        settings = RunSettings(guest, arguments, output, limits, dialect, served, new_session)
        return run, partial(self._guest_runs.do, run, settings)

    def run(
        self,
        guest: Guest | Module | Component,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        dirs: Directories | None = None,
        stdin: Stdin = None,
        stdout: Sink = None,
        stderr: Sink = None,
        capture_output: bool = False,
        streams: tuple[int, int] | None = None,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        dialect: Dialect | str | None = None,
        trace: str | os.PathLike[str] | CallRecorder | None = None,
        trace_data: bool = False,
        requests: Iterable[GuestRequest] | None = None,
    ) -> RunResult:
        """Run a guest to its end. The guest is a command: a module with `_start`, or a component with `wasi:cli/run`.

        guest           the path of a `.wasm` or `.wat` file, the bytes of either, or the result of `compile`
        args            the guest's arguments, after its own name
        env             the guest's whole environment. None: it is empty
        dirs            the guest's directories: a mapping of paths as the guest sees them to directories of this
                        machine (the command's `--dir` has the two the other way round). A path may be read and
                        written; a `Directory` may be read-only. None: no directories
        stdin           the guest's standard input: bytes, a `pathlib.Path` of a file, a file that is open for bytes,
                        which is read on another thread, or `sys.stdin` to share this process's. None: it is empty. A
                        str is an error: it could be either a text or a path
        stdout, stderr  where the guest's output goes while it runs: a function that gets bytes, or a file that is open
                        for bytes. It is called on a thread of the run's own, one call at a time and none after the
                        run; the guest may be 64 KiB ahead. What it raises ends the run, and is raised here. None: as
                        `capture_output` and `streams` say
        capture_output  whether the guest's output goes into the result. False: it goes to this process's output
        streams         the descriptors for the guest's standard output and error, instead of this process's own
        allow_names     replaces the host's `allow_names` for this run. None: the host's
        limits          replaces the host's `limits` for this run. None: the host's
        dialect         replaces the host's `dialect` for this run. None: the host's
        trace           a file that records the guest's nn calls, or a `wasi_nn.tracing.CallRecorder`. None: nothing
        trace_data      whether models, inputs and outputs are recorded too, as `replay` needs them
        requests        the requests that the guest answers, by wasi-nn:serving. It takes one after another on its own
                        thread, and has `Limits.guest_time` and `Limits.fuel` for each. None: there are none

        With `capture_output` or `streams`, the guest is stopped when it writes more than `Limits.output_bytes`.

        Raises `GuestError` if the guest can't be run, `GuestTrap` if a trap or a limit stopped it, `GuestStopped` if
        `close` stopped it. A `GuestTrap` has the captured output and the facts about the run (`stats`). Raises
        `NNError`: with `invalid-argument` for arguments that can't be, such as both `capture_output` and `streams`;
        with `runtime-error` for a trace that can't be written.
        """
        given = args, env, dirs, stdin, capture_output, streams, stdout, stderr
        more = allow_names, limits, dialect, trace, trace_data, requests
        run, run_guest = self._run_of(guest, *given, *more)
        self._runs.begin(run, run_guest)
        return run.result_or_stop()

    def close(self) -> None:
        """Stop all running guests, and refuse new ones. Waits at most one second for guests that don't stop.

        For a stopped guest, `run` and `Run.wait` raise `GuestStopped`.
        """
        self._runs.close("its host was closed")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} with {self.registry!r}, {self.limits!r}>"

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _require_trace(trace: Any, trace_data: Any) -> None:
    if trace is not None or trace_data is not False:
        from wasi_nn.tracing.recording import require_trace

        require_trace(trace, trace_data)
