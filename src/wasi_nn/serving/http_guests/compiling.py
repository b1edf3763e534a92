"""`HttpGuests` compiles the guests that answer HTTP requests: what fails here can't be served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmtime import Module

from wasi_nn.errors import GuestError
from wasi_nn.guests.compile_cache import cache_in, default_directory
from wasi_nn.guests.compiler import GuestCompiler
from wasi_nn.guests.engine import new_engine
from wasi_nn.guests.engine_start import start_wasi
from wasi_nn.guests.http.cgi_guest import CgiGuest
from wasi_nn.guests.http.http_guest import HttpGuest
from wasi_nn.guests.http.outgoing.engine_exchanges import OutgoingHelper
from wasi_nn.guests.http.streams import StreamsHelper
from wasi_nn.guests.runs import Work
from wasi_nn.guests.store_limits import MemoryCounts

if TYPE_CHECKING:
    from wasmtime.component import Component

    from wasi_nn.loading.served_guest import ServedGuest


class _Compiler:
    """Compiles guests for one engine: those that count fuel need another one."""

    def __init__(self, *, fuel: bool) -> None:
        start_wasi()
        self.engine = new_engine(fuel=fuel)
        self.counts = MemoryCounts()
        self.helper = StreamsHelper(self.engine)
        cache = cache_in(default_directory(), fuel=fuel)
        self._compiler = GuestCompiler(self.engine, cache, self.counts, fuel=fuel)
        self._outgoing_helper: OutgoingHelper | None = None

    def outgoing_helper(self) -> OutgoingHelper:
        """The helper of guests that make requests of their own or are reused, compiled at the first use."""
        if self._outgoing_helper is None:
            self._outgoing_helper = OutgoingHelper(self.engine)
        return self._outgoing_helper

    def compile(self, described: ServedGuest) -> Module | Component:
        work: Work[Module | Component] = Work(described.limits)
        work.begin(lambda: self._compiler.compile(described.path, described.limits, work))
        return work.wait()


class HttpGuests:
    """Compiles guests, for as few engines as their settings need."""

    def __init__(self) -> None:
        self._compilers: dict[bool, _Compiler] = {}

    def compile(self, described: ServedGuest) -> HttpGuest | CgiGuest:
        """A guest as the operator describes it, compiled. Raises `GuestError` for one that can't answer requests."""
        fuel = described.limits.fuel is not None
        compiler = self._compilers.get(fuel) or self._compilers.setdefault(fuel, _Compiler(fuel=fuel))
        compiled = compiler.compile(described)
        file, engine, counts = described.path.name, compiler.engine, compiler.counts
        if not isinstance(compiled, Module):
            sends = described.reuse or described.http_out is not None
            outgoing = compiler.outgoing_helper() if sends else None
            return HttpGuest(file, compiled, engine, counts, compiler.helper, outgoing)
        if described.http_out is not None:
            raise GuestError("it can't have http-out: only a component makes requests, by wasi:http/outgoing-handler")
        if described.reuse:
            raise GuestError("it can't have reuse = true: a core module answers by CGI, one request in each sandbox")
        return CgiGuest(file, compiled, engine, counts)
