"""The engine limits of a Store: how many memories, instances and tables a guest may have, and how large they grow."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload
from weakref import WeakKeyDictionary

from wasmtime import Engine, Instance, Linker, Module, Store, WasmtimeError

from wasi_nn.abi.wasm_binary import memories_of
from wasi_nn.limits.limits import Limits

if TYPE_CHECKING:
    from wasmtime.component import Component, Instance as ComponentInstance, Linker as ComponentLinker

MODULE_MEMORIES, _MODULE_INSTANCES = 8, 1
COMPONENT_MEMORIES, _COMPONENT_INSTANCES = 32, 1000
_MAX_TABLES, _MAX_TABLE_ELEMENTS = 64, 2**18  # 2 MiB a table: an element has 8 bytes
_BUSY, _TRIES = "cannot add seals to the memfd", 8


class GuestStore(Store):
    """A Store with limits, for one guest. It makes the instances of the guest, and of what is beside it."""

    def __init__(self, engine: Engine, memory_size: int, instances: int, memories: int) -> None:
        super().__init__(engine)
        self._memory_size, self._instances, self._memories = memory_size, instances, memories
        self._tries = 0
        self._allow_a_try()

    def _allow_a_try(self) -> None:
        """Raise the limits by those of one try: what a failed one has made counts to the end of the Store."""
        self._tries = tries = self._tries + 1
        self.set_limits(
            self._memory_size,
            _MAX_TABLE_ELEMENTS,
            self._instances * tries,
            _MAX_TABLES * tries,
            self._memories * tries,
        )

    @overload
    def instantiate(self, linker: Linker, guest: Module) -> Instance: ...

    @overload
    def instantiate(self, linker: ComponentLinker, guest: Component) -> ComponentInstance: ...

    def instantiate(self, linker: Linker | ComponentLinker, guest: Module | Component) -> Instance | ComponentInstance:
        """An instance. Raises `Trap` and `WasmtimeError` as the linker does.

        The engine writes a guest's data to a file in memory once, and seals it. The kernel refuses the seal while some
        other work of its own, such as moving pages, still holds a page of the file. The engine doesn't ask again; this
        does, since the kernel waits for 0.15 s by itself before it refuses.
        """
        for _ in range(1, _TRIES):
            try:
                return linker.instantiate(self, guest)  # type: ignore[arg-type]
            except WasmtimeError as error:
                if str(error).strip() != _BUSY:  # all of it: a backtrace has words of the guest's own
                    raise
            self._allow_a_try()
        return linker.instantiate(self, guest)  # type: ignore[arg-type]


class MemoryCounts:
    """How many memories each compiled guest defines: its own, and those of its bridges on top."""

    def __init__(self) -> None:
        self._counts: WeakKeyDictionary[Module | Component, tuple[int, int]] = WeakKeyDictionary()

    def add(self, compiled: Module | Component, guest: bytes, bridges: int) -> None:
        """Count the memories of a guest's WebAssembly, and of the same guest with some bridges, each with a memory."""
        own = memories_of(guest)
        self._counts[compiled] = own, own + bridges

    def of(self, compiled: Module | Component | None) -> tuple[int, int] | None:
        """The two counts; None for a guest that was compiled elsewhere."""
        return None if compiled is None else self._counts.get(compiled)


def new_store(
    engine: Engine, limits: Limits, guest: Module | Component | None, counts: MemoryCounts, extra_instances: int = 0
) -> GuestStore:
    """A Store with the engine limits for a guest: a module, or a component of several modules. None: any guest.

    The guest's memories share `Limits.guest_memory` equally. Memories of bridges come on top, and so do
    `extra_instances` of this package, each with one memory.
    """
    one_module = isinstance(guest, Module)
    memories = MODULE_MEMORIES if one_module else COMPONENT_MEMORIES
    instances = _MODULE_INSTANCES if one_module else _component_instances()
    size = -1 if limits.guest_memory is None else limits.guest_memory
    count = counts.of(guest)
    if count is not None and limits.guest_memory is not None:
        own, total = count
        shared_by = max(1, min(own, memories))
        size, memories = limits.guest_memory // shared_by, shared_by + total - own
    store = GuestStore(engine, size, instances + extra_instances, memories + extra_instances)
    if limits.fuel is not None:
        store.set_fuel(limits.fuel)
    return store


def _component_instances() -> int:
    """How many instances a component may have, with those of the shim, which come on top."""
    from wasi_nn.abi.component.bridge import MAX_SHIM_INSTANCES  # which the command doesn't import for a module

    return _COMPONENT_INSTANCES + MAX_SHIM_INSTANCES
