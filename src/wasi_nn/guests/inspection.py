"""Reports what a guest is and what it needs, without running it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from wasmtime import Engine, Linker, Module, Store, WasmtimeError
from wasmtime.component import Component

from wasi_nn.abi.component import compose
from wasi_nn.abi.component.bridge import EXTENSIONS_NAMESPACE, NAMESPACE, NAMESPACES
from wasi_nn.abi.core.dialects import MODULES, Dialect, abi_of, imports_of
from wasi_nn.abi.core.extensions import interfaces_of
from wasi_nn.abi.producers import producers_of
from wasi_nn.errors import GuestError
from wasi_nn.guests import guest_file
from wasi_nn.guests.compilation import compile_guest
from wasi_nn.guests.compile_cache import Compiled
from wasi_nn.guests.component_linking import run_of
from wasi_nn.guests.engine import new_engine
from wasi_nn.guests.makes import make_of_component
from wasi_nn.guests.nn_calls import Calls, calls_of_component, calls_of_module
from wasi_nn.guests.runs import Work
from wasi_nn.guests.wasi import Wasi
from wasi_nn.limits.limits import Limits
from wasi_nn.session.policy import EXTENSIONS
from wasi_nn.session.session import Session

_WASI_0_2 = ("cli", "clocks", "filesystem", "http", "io", "random", "sockets")


@dataclass(frozen=True)
class GuestReport:
    """What a guest is, and what it needs.

    abi              `core` or `component`
    dialect          the dialect of a core module
    versions         the versions of `wasi:nn` that a component imports
    extensions       the interfaces of wasi-nn:ext that it imports, such as `describe`
    nn, wasi, other  the imports: interfaces of a component, `module.function` of a core module
    calls            the functions of wasi-nn among the imports, by interface (see `wasi_nn.guests.nn_calls`)
    producers        what the guest tells about its making: `language`, `processed-by` (its compilers) and `sdk`
    problems         the reasons why it can't be run here as a command: sentences whose subject is the guest
    """

    abi: str
    dialect: str | None
    versions: tuple[str, ...]
    extensions: tuple[str, ...]
    nn: tuple[str, ...]
    wasi: tuple[str, ...]
    other: tuple[str, ...]
    problems: tuple[str, ...]
    calls: Calls = field(default_factory=dict)
    producers: dict[str, tuple[str, ...]] = field(default_factory=dict)


def report_on(guest: guest_file.Guest, *, dialect: Dialect | str = Dialect.AUTO) -> GuestReport:
    """Report on a guest, which is compiled but not run. Raises `GuestError` if it isn't WebAssembly."""
    wasm, name = guest_file.read(guest), guest_file.name_of(guest)
    engine = new_engine(fuel=False)
    if guest_file.is_component(wasm):
        report = _on_component(name, wasm, compiled_within_limits(Component, engine, wasm, name), engine)
    else:
        report = _on_module(name, compiled_within_limits(Module, engine, wasm, name), engine, dialect)
    return replace(report, producers=producers_of(wasm))


def compiled_within_limits(kind: type[Compiled], engine: Engine, wasm: bytes, name: str) -> Compiled:
    """A guest that is compiled, within the usual limits, to learn of its imports and exports. Raises `GuestError`."""
    limits = Limits()
    work = Work[Compiled](limits)
    work.begin(lambda: compile_guest(kind, engine, wasm, name, limits, False, work, time.monotonic()))
    try:
        return work.wait()
    except WasmtimeError as error:
        raise guest_file.invalid(name, wasm, error) from error


def _on_module(name: str, module: Module, engine: Engine, dialect: Dialect | str) -> GuestReport:
    imports = imports_of(module)
    abi = abi_of(dialect, module)
    linker, store = Linker(engine), Store(engine)
    with Session() as session:
        Wasi([name], {}, {}, None, None, Limits()).add_to(linker, store, module)
        abi(session).add_to_linker(linker)
        problems = tuple(guest_file.problems_of(module, abi, linker, store))
    store.close()
    dialect_name = next(kind.value for kind in Dialect if kind is not Dialect.AUTO and abi_of(kind, None) is abi)
    return GuestReport(
        "core",
        dialect_name if any(module_name in MODULES for module_name, _ in imports) else None,
        (),
        tuple(interfaces_of(imports)),
        _named(item for item in imports if item[0] in MODULES),
        _named(item for item in imports if item[0].startswith("wasi_") and item[0] not in MODULES),
        _named(item for item in imports if not item[0].startswith("wasi_")),
        problems,
        calls_of_module(module),
    )


def _named(imports: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"{module}.{name}" for module, name in imports)


def _on_component(name: str, wasm: bytes, component: Component, engine: Engine) -> GuestReport:
    problems = []
    try:
        compose.bridges_of(wasm, name)
    except GuestError as error:
        problems.append(str(error).removeprefix(f"{name} "))
    imported_types = component.type.imports(engine)
    imports = list(imported_types)
    nn = [imported for imported in imports if imported.startswith(NAMESPACES)]
    extensions = [
        imported.removeprefix(EXTENSIONS_NAMESPACE).partition("@")[0]
        for imported in nn
        if imported.startswith(EXTENSIONS_NAMESPACE)
    ]
    wasi = [imported for imported in imports if imported.startswith("wasi:") and imported not in nn]
    make = make_of_component(imports, component.type.exports(engine))
    if make is not None:
        problems.insert(0, make)
    else:
        unknown = [imported for imported in imports if imported not in nn and not _is_wasi_0_2(imported)]
        if unknown:
            problems.append(f"has imports that this host lacks: {', '.join(unknown)}")
        try:
            run_of(name, component, engine, imports)
        except GuestError as error:
            problems.append(str(error).removeprefix(f"{name} "))
    return GuestReport(
        "component",
        None,
        tuple(sorted({imported.partition("@")[2] for imported in nn if imported.startswith(NAMESPACE)})),
        tuple(name for name in EXTENSIONS if name in extensions),
        tuple(nn),
        tuple(wasi),
        tuple(imported for imported in imports if not imported.startswith("wasi:") and imported not in nn),
        tuple(problems),
        calls_of_component(imported_types, nn, engine),
    )


def _is_wasi_0_2(imported: str) -> bool:
    interface, _, version = imported.partition("@")
    namespace, _, rest = interface.partition(":")
    return namespace == "wasi" and rest.partition("/")[0] in _WASI_0_2 and version.startswith("0.2.")
