"""The dialects of the core ABI, and which of them a guest speaks.

    spec        wasi_ephemeral_nn as the specification has it
    wasmedge    the same module with WasmEdge's functions and numbers
    wamr        WAMR's first module, wasi_nn

A guest tells by what it imports: the module of WAMR's, any of WasmEdge's functions, or neither.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from wasmtime import Linker, Module

from wasi_nn.abi.core import spec, wamr, wasmedge
from wasi_nn.abi.core.spec import CoreAbi
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.session.session import Session
from wasi_nn.types import parse_enum


class Dialect(enum.Enum):
    """A dialect of the core ABI; `AUTO` is the one that the guest speaks."""

    AUTO = "auto"
    SPEC = "spec"
    WASMEDGE = "wasmedge"
    WAMR = "wamr"


ABIS: dict[Dialect, type[CoreAbi]] = {
    Dialect.SPEC: CoreAbi,
    Dialect.WASMEDGE: wasmedge.WasmEdgeAbi,
    Dialect.WAMR: wamr.WamrAbi,
}
"""The functions of each dialect."""

MODULES = (spec.MODULE, wamr.MODULE)
"""The modules that nn functions are imported from."""


def dialect_of(imports: Iterable[tuple[str, str]]) -> Dialect:
    """The dialect of a guest that imports these functions, each a module and a name."""
    imported = set(imports)
    if any(module == wamr.MODULE for module, _ in imported):
        return Dialect.WAMR
    if any(module == spec.MODULE and name in wasmedge.EXTENSIONS for module, name in imported):
        return Dialect.WASMEDGE
    return Dialect.SPEC


def imports_of(module: Module) -> list[tuple[str, str]]:
    """What a core module imports: modules and names."""
    return [(item.module, item.name or "") for item in module.imports]


def add_to_linker(
    linker: Linker, session: Session, dialect: Dialect | str = Dialect.SPEC, *, guest: Module | None = None
) -> None:
    """Define the nn functions of a dialect in a linker, for the one guest whose nn state `session` is.

    `auto` takes the dialect that `guest` speaks. The session belongs to one Store, and so do the functions: use a
    linker of its own for each Store. Raises `NNError` with `invalid-argument` for a dialect that doesn't exist, or
    `auto` without a guest; `wasmtime.WasmtimeError` if the linker has these functions already.
    """
    abi_of(dialect, guest)(session).add_to_linker(linker)


def abi_of(dialect: Dialect | str, guest: Module | None) -> type[CoreAbi]:
    """The functions of a dialect; of the one that a guest speaks, for `auto`. Raises as `add_to_linker` does."""
    chosen = parse_enum(Dialect, dialect)
    if chosen is Dialect.AUTO:
        if guest is None:
            message = "the dialect auto needs the guest's module, to see what it imports"
            raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        chosen = dialect_of(imports_of(guest))
    return ABIS[chosen]
