"""The sandbox in which a guest answers one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wasmtime import Engine, Module

from wasi_nn.guests.component_files import watch_files
from wasi_nn.guests.run_clock import RunClock
from wasi_nn.guests.store_limits import GuestStore, MemoryCounts, new_store
from wasi_nn.guests.wasi import Wasi

if TYPE_CHECKING:
    from wasmtime.component import Component

    from wasi_nn.guests.arguments import RunArguments
    from wasi_nn.guests.http.outgoing.outgoing import OutgoingFacts
    from wasi_nn.guests.output import Output
    from wasi_nn.limits.compute_guard import ComputeGuard
    from wasi_nn.limits.limits import Limits
    from wasi_nn.loading.http_out import HttpOut
    from wasi_nn.session.session import Session


@dataclass(frozen=True)
class Sandbox:
    """What a guest may use for one request.

    The descriptors are ends of pipes for the bodies; `body` is None where the request has none. `stopped_by` gets the
    function that stops the guest, and at the end None. `http_out` says which requests the guest may make; None: none.
    `report` gets those that have ended.
    """

    arguments: RunArguments
    limits: Limits
    session: Session
    guard: ComputeGuard
    output: Output
    body: int | None
    answer: int
    stopped_by: Callable[[Callable[[str], None] | None], None]
    http_out: HttpOut | None = None
    report: Callable[[OutgoingFacts], None] = lambda _: None


@contextmanager
def opened(
    name: str,
    engine: Engine,
    guest: Module | Component,
    counts: MemoryCounts,
    sandbox: Sandbox,
    environment: Mapping[str, str] | None = None,
) -> Iterator[tuple[GuestStore, Wasi, RunClock]]:
    """A store with a guest's WASI and limits, within the time of the request, on this thread. `environment` replaces
    the guest's."""
    wasi = wasi_of(name, sandbox, environment)
    store = new_store(engine, sandbox.limits, guest, counts, wasi.extra_instances(guest))
    try:
        with within_time(engine, store, guest, sandbox) as clock:
            yield store, wasi, clock
    finally:
        store.close()


def wasi_of(
    name: str, sandbox: Sandbox, environment: Mapping[str, str] | None = None, *, has_pipes: bool = True
) -> Wasi:
    """A guest's WASI. With `has_pipes` its standard streams are the bodies of one request. `environment` replaces the
    guest's."""
    arguments = sandbox.arguments
    env = arguments.env if environment is None else environment
    wasi = Wasi([name, *arguments.args], env, arguments.dirs, None, sandbox.output, sandbox.limits)
    if has_pipes:
        wasi.connect(sandbox.body, sandbox.answer)
    return wasi


@contextmanager
def within_time(engine: Engine, store: GuestStore, guest: Module | Component, sandbox: Sandbox) -> Iterator[RunClock]:
    """A block that runs a guest on this thread, which is stopped at the end of its time."""
    with closing(RunClock(engine, store, sandbox.limits, sandbox.guard)) as clock:
        clock.restart()  # computes of earlier requests took no time of this one
        sandbox.output.stop = clock.stop
        sandbox.stopped_by(clock.stop)
        try:
            stop = None if isinstance(guest, Module) else clock.stop  # a module's files are counted
            with watch_files(sandbox.arguments.dirs, sandbox.limits, stop):
                yield clock
        finally:
            sandbox.stopped_by(None)
