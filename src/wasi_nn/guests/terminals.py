"""Tells a guest that it writes to a terminal when its output passes through this process to a terminal.

The engine sees no terminal then, and would tell the guest so. But a C guest without a terminal buffers its output until
it has much of it or ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmtime import Engine, Store

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core.guest_memory import GuestMemory, OutOfBounds
from wasi_nn.abi.core.preview1 import Preview1

if TYPE_CHECKING:
    from wasmtime.component import Component, Linker as ComponentLinker, ResourceAny

_CHARACTER_DEVICE, _STAT_SIZE = 2, 24
_INTERFACES = {"terminal-output": 0, "terminal-stdout": 1, "terminal-stderr": 2}
_TYPE = 1  # the host's number for the resource type; any number will do


def show_to_module(engine_functions: Preview1, terminals: frozenset[int]) -> None:
    """Tell a core module that some of its descriptors 1 and 2 are terminals."""

    def fd_fdstat_get(memory: GuestMemory | None, descriptor: int, result: int) -> int:
        if memory is None:
            raise GuestFault("fd_fdstat_get: the guest exports no memory of its own named 'memory'")
        try:
            target = memory.range("the result", result, _STAT_SIZE)
        except OutOfBounds as error:
            raise GuestFault(f"fd_fdstat_get: {error}") from None
        errno = engine_functions.call("fd_fdstat_get", descriptor)
        if errno == 0:
            target[:] = engine_functions.result
            if descriptor in terminals:
                target[0] = _CHARACTER_DEVICE
        return errno

    engine_functions.replace("fd_fdstat_get", fd_fdstat_get)


def show_to_component(linker: ComponentLinker, component: Component, engine: Engine, terminals: frozenset[int]) -> None:
    """Tell a component that some of its descriptors 1 and 2 are terminals."""
    from wasmtime.component import ResourceType

    resource = ResourceType.host(_TYPE)
    linker.allow_shadowing = True
    with linker.root() as root:
        for name in component.type.imports(engine):
            interface = name.partition("@")[0].removeprefix("wasi:cli/")
            if interface not in _INTERFACES:
                continue
            is_terminal = _INTERFACES[interface] in terminals
            with root.add_instance(name) as instance:
                instance.add_resource("terminal-output", resource, lambda *_: None)
                if interface != "terminal-output":
                    instance.add_func(f"get-{interface}", _terminal if is_terminal else _no_terminal)
    linker.allow_shadowing = False


def _terminal(store: Store) -> ResourceAny:
    from wasmtime.component import ResourceHost

    return ResourceHost.own(0, _TYPE).to_any(store)


def _no_terminal(_: Store) -> None:
    return None
