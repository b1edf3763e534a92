"""The Store of a guest: a guest is instantiated once more when the kernel was busy, within the same limits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from wasmtime import Engine, Linker, Module, WasmtimeError, wat2wasm
from wasmtime.component import Component, Linker as ComponentLinker

from wasi_nn.guests.store_limits import MemoryCounts, new_store
from wasi_nn.limits.limits import Limits

BUSY = "cannot add seals to the memfd"
MODULE = bytes(wat2wasm('(module (memory 2) (data (i32.const 0) "kept") (table 2 funcref))'))
COMPONENT = bytes(
    wat2wasm(
        '(component (core module $m (memory 2) (data (i32.const 0) "kept") (table 2 funcref))'
        " (core instance (instantiate $m)))"
    )
)


class BusyKernel:
    """A linker whose first instances fail after the engine has counted them, as at a busy kernel."""

    def __init__(self, linker: Linker | ComponentLinker, failures: int, message: str = BUSY) -> None:
        self._linker, self.failures, self.message = linker, failures, message
        self.tries = 0

    def instantiate(self, store: object, guest: object) -> object:
        self.tries += 1
        instance = self._linker.instantiate(store, guest)  # type: ignore[arg-type]
        if self.tries <= self.failures:
            raise WasmtimeError(self.message)
        return instance


def made(linker: BusyKernel, guest: Module | Component, engine: Engine, content: bytes) -> object:
    counts = MemoryCounts()
    counts.add(guest, content, 0)
    store = new_store(engine, Limits(guest_memory=2 * 65536), guest, counts)
    return store.instantiate(linker, guest)  # type: ignore[call-overload]


@pytest.mark.parametrize("failures", [0, 1, 7])
def test_a_module_is_instantiated_when_the_kernel_is_done(failures: int) -> None:
    engine = Engine()
    linker = BusyKernel(Linker(engine), failures)
    assert made(linker, Module(engine, MODULE), engine, MODULE)
    assert linker.tries == failures + 1


def test_a_component_is_instantiated_when_the_kernel_is_done() -> None:
    engine = Engine()
    linker = BusyKernel(ComponentLinker(engine), 3)
    assert made(linker, Component(engine, COMPONENT), engine, COMPONENT)
    assert linker.tries == 4


def test_several_instances_of_a_store_are_tried_again() -> None:
    engine = Engine()
    guest = Component(engine, COMPONENT)
    counts = MemoryCounts()
    counts.add(guest, COMPONENT, 0)
    store = new_store(engine, Limits(guest_memory=2 * 65536), guest, counts, extra_instances=1)
    for _ in range(2):  # one beside the guest, and the guest
        linker = BusyKernel(ComponentLinker(engine), 2)
        assert store.instantiate(linker, guest)  # type: ignore[call-overload]
        assert linker.tries == 3


def test_a_kernel_that_stays_busy_is_told() -> None:
    engine = Engine()
    with pytest.raises(WasmtimeError, match=BUSY):
        made(BusyKernel(Linker(engine), 100), Module(engine, MODULE), engine, MODULE)


@pytest.mark.parametrize("message", ["unknown import", f"error while executing at wasm backtrace: 0: {BUSY}"])
def test_another_error_is_told_at_once(message: str) -> None:
    engine = Engine()
    linker = BusyKernel(Linker(engine), 100, message)
    with pytest.raises(WasmtimeError, match=message):
        made(linker, Module(engine, MODULE), engine, MODULE)
    assert linker.tries == 1


def test_a_further_try_does_not_let_a_memory_grow_further() -> None:
    engine = Engine()
    too_large = bytes(wat2wasm('(module (memory 3) (data (i32.const 0) "kept"))'))
    linker = BusyKernel(Linker(engine), 0)
    failed_once = SimpleNamespace(tries=0)

    def instantiate(store: object, guest: object) -> object:
        failed_once.tries += 1
        if failed_once.tries == 1:
            raise WasmtimeError(BUSY)
        return linker.instantiate(store, guest)

    with pytest.raises(WasmtimeError, match="exceeds memory limits"):
        made(SimpleNamespace(instantiate=instantiate), Module(engine, too_large), engine, too_large)  # type: ignore[arg-type]
    assert failed_once.tries == 2
