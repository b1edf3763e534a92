"""`GuestMap` runs a guest once for each item of a data set, on threads of one process.

Threads, not processes: the engine and the runtimes release the interpreter's lock while a guest runs and computes, and
all runs share the compiled guest and the loaded models. Each thread takes the next item when it is free, so that items
of any number, also from a slow source, take no memory before their turn.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from wasi_nn.arguments import as_flag, as_number, require_kind
from wasi_nn.errors import GuestError, GuestStopped, GuestTrap, NNError
from wasi_nn.guests.arguments import run_arguments
from wasi_nn.mapping.items import MapItem, as_item, name_of
from wasi_nn.mapping.results import MapResult
from wasi_nn.mapping.room import Room
from wasi_nn.process.processors import processors

if TYPE_CHECKING:
    from wasmtime import Module
    from wasmtime.component import Component

    from wasi_nn.guests.directories import Directories
    from wasi_nn.guests.guest_file import Guest
    from wasi_nn.guests.runs import Run
    from wasi_nn.host import Host
    from wasi_nn.limits.limits import Limits
    from wasi_nn.tracing import CallRecorder

Item = str | bytes | os.PathLike[str] | MapItem

_AHEAD = 16  # items for each job that are under way, or that wait for the result of an earlier item
_MOST_BYTES = 64 * 2**20  # of results that wait; further items begin when there are fewer
_LOOK_EVERY = 0.05  # seconds: how often a map that was stopped sees whether its guests have ended


def as_jobs(jobs: Any) -> int:
    """A number of items at a time."""
    count: int = as_number("jobs", jobs, "a whole number from 1", lambda value: value >= 1 and value == int(value))
    return int(count)


def map_guests(
    host: Host,
    guest: Guest | Module | Component,
    items: Iterable[Item],
    args: Sequence[str] = (),
    *,
    jobs: int | None = None,
    ordered: bool = True,
    env: Mapping[str, str] | None = None,
    dirs: Directories | None = None,
    allow_names: Collection[str] | None = None,
    limits: Limits | None = None,
    trace: CallRecorder | None = None,
) -> Iterator[MapResult]:
    """Run a guest once for each item, each time in a fresh sandbox; gives a `MapResult` for each, as they come.

    host     the host, whose graphs are loaded once for all items
    guest    as `Host.run` takes it; it is compiled once
    items    any iterable, also an endless one: a path is a file, whose path for the guest takes the place of `{}` in
             `args` or follows them, with its directory to read; bytes are the standard input; a `MapItem` says more
    args     the guest's arguments for all items
    jobs     how many items are under way at a time. None: one for each processor
    ordered  whether the results come in the order of the items. Otherwise they come as soon as they are there
    env, dirs, allow_names, limits  as `Host.run` takes them
    trace    a recorder of the nn calls of all items, such as `wasi_nn.tracing.Trace(path, runs=True)`, whose runs have
             the names of the items. None: nothing is recorded

    A failure of an item is in its result, and the others go on. The end of the iteration, also an early one, stops the
    guests that still run. The iterable is read on other threads.

    Raises `GuestError` if the guest can't be compiled, or if the host runs no more guests; `NNError` with
    `invalid-argument` for arguments that can't be; and, after the results before it, an error of the iterable.
    """
    guest_map = GuestMap(
        host,
        guest,
        items,
        args,
        jobs=jobs,
        ordered=ordered,
        env=env,
        dirs=dirs,
        allow_names=allow_names,
        limits=limits,
        trace=trace,
    )
    return _all_of(guest_map)


def _all_of(guest_map: GuestMap) -> Iterator[MapResult]:
    with closing(guest_map):
        yield from guest_map


class GuestMap:
    """An iterator of the results, which any thread may stop. The parameters are those of `map_guests`."""

    def __init__(
        self,
        host: Host,
        guest: Guest | Module | Component,
        items: Iterable[Item],
        args: Sequence[str] = (),
        *,
        jobs: int | None = None,
        ordered: bool = True,
        env: Mapping[str, str] | None = None,
        dirs: Directories | None = None,
        allow_names: Collection[str] | None = None,
        limits: Limits | None = None,
        trace: CallRecorder | None = None,
    ) -> None:
        checked = run_arguments(args, env, dirs, None)
        self._jobs = processors() if jobs is None else as_jobs(jobs)
        self._is_ordered = as_flag("ordered", ordered)
        self._host = host
        self._guest = host.compile(guest) if isinstance(guest, str | bytes | os.PathLike) else guest
        self._args, self._env, self._dirs = checked.args, checked.env, checked.dirs
        self._settings: dict[str, Any] = {"allow_names": allow_names, "limits": limits}
        if trace is not None:
            from wasi_nn.tracing import CallRecorder

            require_kind("trace", trace, CallRecorder, "wasi_nn.tracing.Trace(path, runs=True)")
        self._trace = trace
        self._items = enumerate(items)
        self._taking = threading.Lock()
        self._room = Room(_AHEAD * self._jobs, _MOST_BYTES)
        self._came: SimpleQueue[MapResult | BaseException | None] = SimpleQueue()  # None: a thread has ended
        self._waiting: dict[int, MapResult] = {}
        self._lock = threading.Lock()
        self._runs: set[Run] = set()
        self._under_way = 0  # items that were taken, and whose results haven't come
        self._threads = -1  # that haven't ended; -1: none was started
        self._next = 0
        self._are_over = self._is_stopped = False
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Take no more items, and stop the guests that run; returns at once. The results that are there can still be
        taken. Those of stopped guests are dropped."""
        with self._lock:
            self._is_stopped = True
            runs = list(self._runs)
        self._room.close()
        for run in runs:
            run.stop("the map was stopped")

    def close(self) -> None:
        """Stop the map, and wait until no guest runs."""
        self.stop()
        for _ in self:
            pass

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> MapResult:
        """The next result. Raises as `map_guests` does."""
        if self._threads < 0:
            self._start()
        while (result := self._ready()) is None:
            if self._has_ended():
                if self._waiting:  # those after an item that was stopped
                    self._next = min(self._waiting)
                    continue
                if self._failure is not None and not self._is_stopped:
                    failure, self._failure = self._failure, None
                    raise failure
                raise StopIteration
            self._receive()
        self._room.give(_size_of(result))
        return result

    def _start(self) -> None:
        self._threads = 0
        if self._is_stopped:
            return
        for number in range(self._jobs):
            # The source of the items may be silent for ever: such a thread must not keep the process.
            thread = threading.Thread(target=self._work, name=f"map {number}", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                if not self._threads:
                    raise GuestError(f"no thread can be started for the map: {error}") from error
                return  # fewer at a time
            self._threads += 1

    def _ready(self) -> MapResult | None:
        if self._is_ordered:
            result = self._waiting.pop(self._next, None)
            self._next += result is not None
            return result
        return self._waiting.pop(next(iter(self._waiting))) if self._waiting else None

    def _has_ended(self) -> bool:
        if self._threads == 0:
            return True
        with self._lock:  # a thread may still wait for an item
            return self._is_stopped and not self._under_way and self._came.empty()

    def _receive(self) -> None:
        try:
            came = self._came.get(timeout=_LOOK_EVERY if self._is_stopped else 1.0)
        except Empty:
            return
        if came is None:
            self._threads -= 1
        elif isinstance(came, MapResult):
            self._waiting[came.index] = came
        else:
            self._failure = self._failure or came

    def _work(self) -> None:
        """Run the guest for one item after another, on a thread."""
        try:
            while self._room.take():
                with self._taking:
                    if self._are_over:
                        break
                    taken = next(self._items, None)
                    self._are_over = taken is None
                if taken is None or not self._begin():
                    break
                try:
                    result = self._result_of(*taken)
                    if result is not None:
                        self._room.hold(_size_of(result))
                        self._came.put(result)
                finally:
                    with self._lock:
                        self._under_way -= 1
        except BaseException as error:  # of the iterable, or of the host
            self._came.put(error)
            self._are_over = True
            self._room.close()
        finally:
            self._came.put(None)

    def _begin(self) -> bool:
        with self._lock:
            self._under_way += not self._is_stopped
            return not self._is_stopped

    def _result_of(self, index: int, given: Item) -> MapResult | None:
        """The result of an item; None if the map was stopped meanwhile."""
        began = time.monotonic()
        try:
            item = as_item(given, index)
        except GuestError as error:
            return MapResult(name_of(given, index), index, error=error)
        trace = None if self._trace is None else self._trace.for_run(item.name)
        try:
            return self._result_of_item(index, item, began, trace)
        finally:
            if trace is not None and trace is not self._trace:
                trace.close()

    def _result_of_item(self, index: int, item: MapItem, began: float, trace: CallRecorder | None) -> MapResult | None:
        run = self._host.start(
            self._guest,
            item.arguments(self._args),
            env=self._env,
            dirs={**self._dirs, **item.dirs},
            stdin=item.stdin,
            capture_output=True,
            trace=trace,
            **self._settings,
        )
        with self._lock:
            self._runs.add(run)
            is_stopped = self._is_stopped
        try:
            if is_stopped:
                run.stop("the map was stopped")
            ended = run.wait()
        except GuestTrap as trap:
            if self._is_stopped and isinstance(trap, GuestStopped):
                return None
            is_late, seconds = time.monotonic() >= run.until, time.monotonic() - began
            return MapResult(item.name, index, None, trap.stdout, trap.stderr, trap, is_late, seconds, trap.stats)
        except (GuestError, NNError) as error:
            if self._is_stopped:
                return None
            return MapResult(item.name, index, error=error, seconds=time.monotonic() - began)
        finally:
            with self._lock:
                self._runs.discard(run)
        seconds = time.monotonic() - began
        return MapResult(
            item.name, index, ended.exit_code, ended.stdout, ended.stderr, seconds=seconds, stats=ended.stats
        )


def _size_of(result: MapResult) -> int:
    return len(result.stdout) + len(result.stderr)
