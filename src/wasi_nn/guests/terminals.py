"""Guests that are told that they write to a terminal, although what they write passes through this process.

What passes through it is no terminal to the engine, and a guest in C that writes to none keeps what it has to say until
it ends or has much of it.
"""

from __future__ import annotations

from wasmtime import Engine, Store
from wasmtime.component import Component, Linker as ComponentLinker, ResourceAny, ResourceHost, ResourceType

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core.guest_memory import GuestMemory, OutOfBounds
from wasi_nn.abi.core.preview1 import Preview1

_CHARACTER_DEVICE, _STAT_SIZE = 2, 24
_INTERFACES = {"terminal-output": 0, "terminal-stdout": 1, "terminal-stderr": 2}
_TYPE = 1  # our number for the resource's type


def tell_module(engines: Preview1, terminals: frozenset[int]) -> None:
    """Have a core module be told that these of its descriptors, 1 or 2, are terminals."""

    def fd_fdstat_get(memory: GuestMemory | None, descriptor: int, result: int) -> int:
        if memory is None:
            raise GuestFault("fd_fdstat_get: it exports no memory of its own named 'memory'")
        try:
            place = memory.range("the result", result, _STAT_SIZE)
        except OutOfBounds as error:
            raise GuestFault(f"fd_fdstat_get: {error}") from None
        errno = engines.call("fd_fdstat_get", descriptor)
        if errno == 0:
            place[:] = engines.result
            if descriptor in terminals:
                place[0] = _CHARACTER_DEVICE
        return errno

    engines.replace("fd_fdstat_get", fd_fdstat_get)


def tell_component(linker: ComponentLinker, component: Component, engine: Engine, terminals: frozenset[int]) -> None:
    """Have a component be told so."""
    resource = ResourceType.host(_TYPE)
    linker.allow_shadowing = True
    with linker.root() as root:
        for name in component.type.imports(engine):
            interface = name.partition("@")[0].removeprefix("wasi:cli/")
            if interface not in _INTERFACES:
                continue
            is_one = _INTERFACES[interface] in terminals
            with root.add_instance(name) as instance:
                instance.add_resource("terminal-output", resource, lambda *_: None)
                if interface != "terminal-output":
                    instance.add_func(f"get-{interface}", _gives_terminal if is_one else _gives_none)
    linker.allow_shadowing = False


def _gives_terminal(store: Store) -> ResourceAny:
    return ResourceHost.own(0, _TYPE).to_any(store)


def _gives_none(_: Store) -> None:
    return None
