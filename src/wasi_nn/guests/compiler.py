"""`GuestCompiler` compiles the guests of one host, or takes them from the cache."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from wasmtime import Engine, Module, WasmtimeError

from wasi_nn.guests import guest_file
from wasi_nn.guests.compilation import compile_guest

if TYPE_CHECKING:
    from wasmtime.component import Component

    from wasi_nn.guests.compile_cache import CompileCache, Compiled
    from wasi_nn.guests.guest_file import Guest
    from wasi_nn.guests.runs import Work
    from wasi_nn.guests.store_limits import MemoryCounts
    from wasi_nn.limits.limits import Limits

logger = logging.getLogger("wasi_nn")

_SLOW_TO_COMPILE = 1_000_000  # bytes of WebAssembly: compiling them takes about a second


class GuestCompiler:
    """Compiles guests. `engine` was made by `new_engine` with the same `fuel`; without a `cache`, nothing is cached."""

    def __init__(self, engine: Engine, cache: CompileCache | None, memory_counts: MemoryCounts, *, fuel: bool) -> None:
        self._engine = engine
        self._cache = cache
        self._memory_counts = memory_counts
        self._fuel = fuel

    def compile(self, guest: Guest, limits: Limits, work: Work[Any]) -> Module | Component:
        """Compile a guest as a part of a task, or take it from the cache. Raises as `Host.compile` does."""
        wasm, name = guest_file.read(guest), guest_file.name_of(guest)
        compiled: Module | Component
        if guest_file.is_component(wasm):
            from wasmtime.component import Component

            from wasi_nn.abi.component import compose

            bridges = compose.bridges_of(wasm, name)
            compiled = self._compiled(Component, wasm, name, limits, work, wrapped=bool(bridges))
            self._memory_counts.add(compiled, wasm, bridges)
        else:
            compiled = self._compiled(Module, wasm, name, limits, work, wrapped=False)
            self._memory_counts.add(compiled, wasm, 0)
        return compiled

    def _compiled(
        self, kind: type[Compiled], wasm: bytes, name: str, limits: Limits, work: Work[Any], *, wrapped: bool
    ) -> Compiled:
        if wrapped:
            from wasi_nn.abi.component import compose

        def compile_now(wasm: bytes) -> Compiled:
            work.recorder.compiles = True
            if len(wasm) > _SLOW_TO_COMPILE:
                kept = "; the compiled guest is cached" if self._cache else ""
                logger.info("compiling %s (%.0f MB), which takes some seconds%s", name, len(wasm) / 1e6, kept)
            begun = time.monotonic()

            def compile_bytes(guest: bytes) -> Compiled:
                return compile_guest(kind, self._engine, guest, name, limits, self._fuel, work, begun)

            if not wrapped:
                return compile_bytes(wasm)
            with_shim = compose.wrap_component(wasm, name)
            try:
                return compile_bytes(with_shim)
            except WasmtimeError:
                # The guest is invalid, or has something that can't be in it together with the shim.
                without = compose.wrap_component(wasm, name, direct=False)
                if without == with_shim:
                    raise
                return compile_bytes(without)

        try:
            if self._cache is None:
                return compile_now(wasm)
            around = compose.FORMAT if wrapped else ""
            return self._cache.get(wasm, compile_now, partial(kind.deserialize, self._engine), around)
        except WasmtimeError as error:
            raise guest_file.invalid(name, wasm, error) from error
