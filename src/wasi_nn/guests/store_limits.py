"""The engine limits of a Store: how many memories, instances and tables a guest may have, and how large they grow."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from wasmtime import Engine, Module, Store

from wasi_nn.abi.wasm_binary import memories_of
from wasi_nn.limits.limits import Limits

if TYPE_CHECKING:
    from wasmtime.component import Component

MODULE_MEMORIES, _MODULE_INSTANCES = 8, 1
COMPONENT_MEMORIES, _COMPONENT_INSTANCES = 32, 1000
_MAX_TABLES, _MAX_TABLE_ELEMENTS = 64, 2**18  # 2 MiB a table: an element has 8 bytes


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
) -> Store:
    """A Store with the engine limits for a guest: a module, or a component of several modules. None: any guest.

    The guest's memories share `Limits.guest_memory` equally. Memories of bridges come on top, and so do
    `extra_instances` of this package, each with one memory.
    """
    store = Store(engine)
    one_module = isinstance(guest, Module)
    memories = MODULE_MEMORIES if one_module else COMPONENT_MEMORIES
    instances = _MODULE_INSTANCES if one_module else _component_instances()
    size = -1 if limits.guest_memory is None else limits.guest_memory
    count = counts.of(guest)
    if count is not None and limits.guest_memory is not None:
        own, total = count
        shared_by = max(1, min(own, memories))
        size, memories = limits.guest_memory // shared_by, shared_by + total - own
    store.set_limits(size, _MAX_TABLE_ELEMENTS, instances + extra_instances, _MAX_TABLES, memories + extra_instances)
    if limits.fuel is not None:
        store.set_fuel(limits.fuel)
    return store


def _component_instances() -> int:
    """How many instances a component may have, with those of the shim, which come on top."""
    from wasi_nn.abi.component.bridge import MAX_SHIM_INSTANCES  # which the command doesn't import for a module

    return _COMPONENT_INSTANCES + MAX_SHIM_INSTANCES
