"""`RunStats`: facts about one run of a guest, and the recorder that collects them."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasmtime import Memory, Store

if TYPE_CHECKING:
    from wasmtime._instance import InstanceExports

    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.session.session import Session


@dataclass(frozen=True)
class RunStats:
    """Facts about a run. All times are in seconds of the clock.

    compile_time   compiling the guest, or reading it from the cache
    from_cache     whether the compiled guest came from the cache
    run_time       from the guest's start to its end, with its nn calls
    load_time      the part of `run_time` that loading models took
    compute_time   the part of `run_time` that computes took, with waiting for a turn (`HostLimits.computes`)
    guest_memory   the most bytes that the guest's linear memories had; None if they can't be seen: those of components,
                   memories that a module doesn't export, and a guest that still runs
    nn_calls       the guest's nn calls, without those on a component's tensors and errors
    nn_failures    those that failed
    nn_errors      the texts of the first 100 failed calls, each with the function's name and the error's code
    """

    compile_time: float = 0.0
    from_cache: bool = False
    run_time: float = 0.0
    load_time: float = 0.0
    compute_time: float = 0.0
    guest_memory: int | None = None
    nn_calls: int = 0
    nn_failures: int = 0
    nn_errors: tuple[str, ...] = ()


class StatsRecorder:
    """Collects the facts of a run while it goes on. `stats` may be called from any thread."""

    def __init__(self) -> None:
        self.compiles = False
        """Set when the guest is compiled, and not read from the cache."""
        self._guest_memory: int | None = None
        self._memories: int | None = None
        self._compile_time = 0.0
        self._began = self._ended = 0.0
        self._session: Session | None = None
        self._guard: ComputeGuard | None = None

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Measure the time of a `with` block that compiles the guest or reads it from the cache."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._compile_time = time.monotonic() - began

    @contextmanager
    def running(self, session: Session, guard: ComputeGuard) -> Iterator[None]:
        """Measure the time of a `with` block that runs the guest."""
        self._session, self._guard = session, guard
        self._began = time.monotonic()
        try:
            yield
        finally:
            self._ended = time.monotonic()

    def count_memories(self, counts: tuple[int, int] | None) -> None:
        """Note how many memories the guest has, as `MemoryCounts.of` gives it."""
        self._memories = None if counts is None else counts[0]

    def measure_memory(self, exports: InstanceExports, store: Store) -> None:
        """Note the size of a guest's memories, which never shrink. Called on the guest's thread."""
        sizes = {}  # by address: a memory may be exported under several names
        for memory in exports.values():
            if isinstance(memory, Memory):
                size = memory.data_len(store)
                sizes[ctypes.addressof(memory.data_ptr(store).contents) if size else 0] = size
        if self._memories is None or len(sizes) >= self._memories:
            self._guest_memory = sum(sizes.values())

    def stats(self) -> RunStats:
        """The facts so far."""
        from_cache = bool(self._compile_time) and not self.compiles
        if self._session is None or self._guard is None:
            return RunStats(self._compile_time, from_cache)
        failures = self._session.failures
        return RunStats(
            self._compile_time,
            from_cache,
            run_time=(self._ended or time.monotonic()) - self._began,
            load_time=self._guard.load_seconds,
            compute_time=self._guard.compute_seconds,
            guest_memory=self._guest_memory,
            nn_calls=self._session.calls,
            nn_failures=failures.count,
            nn_errors=tuple(failures.texts),
        )
