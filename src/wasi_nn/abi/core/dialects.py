"""The dialects of the core ABI, and the choice of one for a guest.

    spec        wasi_ephemeral_nn as in the specification
    wasmedge    the same module with WasmEdge's functions and numbers
    wamr        WAMR's first module, wasi_nn

The imports of a guest show its dialect: WAMR's module, one of WasmEdge's own functions, or neither.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from wasmtime import Linker, Module

from wasi_nn.abi.core import extensions, serving, spec, wamr, wasmedge
from wasi_nn.abi.core.spec import CoreAbi
from wasi_nn.arguments import require_kind
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.session.session import Session
from wasi_nn.types import parse_enum


class Dialect(enum.Enum):
    """A dialect of the core ABI. `AUTO` is the dialect that the guest's imports show."""

    AUTO = "auto"
    SPEC = "spec"
    WASMEDGE = "wasmedge"
    WAMR = "wamr"


ABIS: dict[Dialect, type[CoreAbi]] = {
    Dialect.SPEC: CoreAbi,
    Dialect.WASMEDGE: wasmedge.WasmEdgeAbi,
    Dialect.WAMR: wamr.WamrAbi,
}
"""The class with the functions of each dialect."""

MODULES = (spec.MODULE, wamr.MODULE, extensions.MODULE, serving.MODULE)
"""The modules from which core guests import nn functions."""


def dialect_of(imports: Iterable[tuple[str, str]]) -> Dialect:
    """The dialect of a guest with these imports, each a module and a name."""
    imported = set(imports)
    if any(module == wamr.MODULE for module, _ in imported):
        return Dialect.WAMR
    if any(module == spec.MODULE and name in wasmedge.EXTENSIONS for module, name in imported):
        return Dialect.WASMEDGE
    return Dialect.SPEC


def imports_of(module: Module) -> list[tuple[str, str]]:
    """The imports of a core module, each a module and a name. They are kept: to ask the engine takes a run some percent
    of its time."""
    imports = _imports.get(module)
    if imports is None:
        imports = _imports[module] = [(item.module, item.name or "") for item in module.imports]
    return imports


_imports: WeakKeyDictionary[Module, list[tuple[str, str]]] = WeakKeyDictionary()


def add_to_linker(
    linker: Linker, session: Session, dialect: Dialect | str = Dialect.SPEC, *, guest: Module | None = None
) -> None:
    """Define the nn functions of a dialect in a linker, for one guest. `session` holds the guest's nn state.

    `auto` chooses the dialect by the imports of `guest`. The session belongs to one Store, and so do the functions: use
    a separate linker for each Store. Raises `NNError` with `invalid-argument` for a dialect that doesn't exist, and for
    `auto` without a guest; raises `wasmtime.WasmtimeError` if the linker has these functions already.
    """
    wanted = "a wasmtime.Linker (add_to_component_linker takes a wasmtime.component.Linker)"
    require_kind("linker", linker, Linker, wanted)
    require_kind("session", session, Session, "a wasi_nn.Session")
    if guest is not None:
        require_kind("guest", guest, Module, "a wasmtime.Module")
    abi_of(dialect, guest)(session).add_to_linker(linker)


def abi_of(dialect: Dialect | str, guest: Module | None) -> type[CoreAbi]:
    """The class with the functions of a dialect. Raises `NNError` as `add_to_linker` does."""
    chosen = parse_enum(Dialect, dialect)
    if chosen is Dialect.AUTO:
        if guest is None:
            message = "the dialect 'auto' depends on the guest's imports: give the guest's module, or another dialect"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        chosen = dialect_of(imports_of(guest))
    return ABIS[chosen]
