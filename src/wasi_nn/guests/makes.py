"""Names the make of a guest that can't run here: the toolchain or the WASI that it was made for. Says how to build the
guest for this host. The names of its imports and exports show the make."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from wasi_nn.abi.wasm_binary import uses_async
from wasi_nn.errors import printable

Import = tuple[str, str]
"""An import of a core module: a module and a name."""

_MOST_NAMES, _MOST_LETTERS = 12, 200  # in a message, and in a name there
_PREVIEW_1 = "wasi_snapshot_preview1"
_INTERFACE = r"(?:cm32p2\|)?[a-z][a-z0-9-]*:[a-z0-9-]+/[a-z0-9-]+(?:@.*)?|\$root|\[export\].*|cm32p2.*"
_RUN = "wasi:cli/run@"
_WASI_0_3 = r"(?s)wasi:(?!nn/).*@0\.3(?:\.|$)"
_BEFORE_INTERFACE = r"(?:\[[a-z-]+\])*(?:cm32p2\|)?"  # in the names of a component's core module
_HTTP_SERVER = r"wasi:http/(?:incoming-handler|handler)@.*"

_FOR_WASI = "build it for WASI preview 1 (wasm32-wasip1, formerly wasm32-wasi)"
_FOR_WASI_0_2 = (
    "build it for WASI 0.2 (Rust: --target wasm32-wasip2; C and C++: wasi-sdk's --target=wasm32-wasip2; Python and "
    "JavaScript: a world with wasi:cli@0.2), or as a core module for WASI preview 1"
)

_NOT_YET = f"which this host's engine can't link yet: {_FOR_WASI_0_2}"


def listed(names: Collection[str]) -> str:
    """The names for a message: the first of them, and the number of the others."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return printable(", ".join(name[:_MOST_LETTERS] for name in islice(names, _MOST_NAMES))) + more


# Core modules


class _Make(NamedTuple):
    """A make of core modules.

    text   a sentence without its subject, the module
    shows  whether a missing import shows this make
    """

    text: str
    shows: Callable[[Import], bool]


def _from(*modules: str) -> Callable[[Import], bool]:
    return lambda item: item[0] in modules


def _named(pattern: str, module: str = "env") -> Callable[[Import], bool]:
    return lambda item: item[0] == module and re.fullmatch(pattern, item[1]) is not None


_THREADS = "is built with threads, which this host doesn't have: build it without (wasm32-wasip1, not -threads)"
_MAKES = (
    _Make(_THREADS, lambda item: item == ("wasi", "thread-spawn")),
    _Make(
        f"is built for WASI preview 0 (wasi_unstable), by old tools: {_FOR_WASI}, with newer ones",
        _from("wasi_unstable"),
    ),
    _Make(
        "is built for WASIX, Wasmer's extension of WASI, which this host doesn't have: build it for WASI preview 1 "
        "(wasm32-wasip1), with functions of WASI only",
        lambda item: item[0].startswith("wasix_"),
    ),
    _Make(
        "is built by Go for JavaScript (GOOS=js): build it by `GOOS=wasip1 GOARCH=wasm go build`, or by "
        "`tinygo build -target=wasip1`",
        _from("gojs", "go"),
    ),
    _Make(
        "is built by Rust's wasm-bindgen for JavaScript (wasm32-unknown-unknown): build it without wasm-bindgen, with "
        "--target wasm32-wasip1",
        lambda item: item[0].startswith("__wbindgen_") or item[0] == "wbg" or item[0].endswith("_bg.js"),
    ),
    _Make(
        "is built by Emscripten for JavaScript: build it with wasi-sdk or `zig cc --target=wasm32-wasi`, or by "
        "`emcc -sSTANDALONE_WASM`",
        _named(r"_?emscripten_.*|__syscall_.*|invoke_.*|_?embind_.*|__cxa_.*|_abort_js|__asyncjs__.*|_?emval_.*"),
    ),
    _Make(
        "is built by a tool that shortens the names of imports, as `emcc -O2` does for JavaScript: build it with "
        "wasi-sdk or `zig cc --target=wasm32-wasi`, or by `emcc -sSTANDALONE_WASM`",
        lambda item: item[0] == "a" and len(item[1]) <= 2,
    ),
    _Make(
        "is a shared library (-shared, -sSIDE_MODULE): link it statically, as a command",
        lambda item: item[0].startswith("GOT.") or item == ("env", "__memory_base"),
    ),
    _Make(
        "is built for JavaScript: build it for WASI preview 1",
        lambda item: item[0].startswith(("./", "wasm:", "dart")) or item[0].endswith((".js", ".mjs")),
    ),
)  # fmt: skip
_ASSEMBLYSCRIPT = frozenset({"abort", "trace", "seed", "Date.now", "console.log", "performance.now"})


def make_of_module(missing: Sequence[Import], exports: Collection[str], *, adapts: bool) -> str | None:
    """The make of a core module that can't run here: a sentence without its subject; None if no make is known by it.

    missing  the imports that this host lacks
    exports  the names of the exports
    adapts   whether the module imports functions of WASI preview 1, for which a component needs an adapter
    """
    if is_core_of_component(missing, exports):
        return _core_of_component(missing, exports, adapts=adapts)
    if not missing:
        return None
    names = listed([f"{module}.{name}" for module, name in missing])
    for make in _MAKES:
        if any(map(make.shows, missing)):
            return f"{make.text} (it imports {names})"
    environment = {name for module, name in missing if module == "env"}
    if environment and environment <= _ASSEMBLYSCRIPT:
        return (
            f"is built by AssemblyScript for JavaScript: {_assemblyscript(environment, exports)} (it imports {names})"
        )
    modules = {module for module, _ in missing}
    if modules == {_PREVIEW_1}:
        return (
            f"imports functions that WASI preview 1 doesn't have: {names} (a host's own extension, as WasmEdge's "
            "sockets are): build it without them"
        )
    if ("env", "memory") in missing:
        return f"imports its memory: link it without --import-memory (it imports {names})"
    if modules == {"env"}:
        return f"imports functions that its linker didn't find: {names}: link the library or object that defines them"
    return None


def is_core_of_component(missing: Sequence[Import], exports: Collection[str]) -> bool:
    """Whether a module is the part of a component that its tool has made before the component."""
    exports_interfaces = any("#" in name for name in exports)
    is_library = "cabi_realloc" in exports and "_start" not in exports
    return exports_interfaces or is_library or any(re.fullmatch(_INTERFACE, module) for module, _ in missing)


def _assemblyscript(imports: Collection[str], exports: Collection[str]) -> str:
    for_wasi = "`--config node_modules/@assemblyscript/wasi-shim/asconfig.json`"
    if set(imports) == {"abort"}:
        start = "" if "_start" in exports else " --exportStart _start"
        return f"build it with `asc --use abort={start}`, so that an abort is a trap, or for WASI with {for_wasi}"
    return f"build it for WASI with `asc` and {for_wasi}"


def _core_of_component(missing: Sequence[Import], exports: Collection[str], *, adapts: bool) -> str:
    kind = "command" if "_start" in exports else "reactor"
    adapt = f" --adapt {_PREVIEW_1}=wasi_snapshot_preview1.{kind}.wasm" if adapts else ""
    adapter = ", with the adapter of wasmtime's releases" if adapts else ""
    interfaces = dict.fromkeys(module for module, _ in missing if re.fullmatch(_INTERFACE, module))
    newer = [name for name in interfaces if _is_wasi_0_3(_interface(name))]
    what = f"imports {listed(newer)}"
    if not newer:
        exported = dict.fromkeys(map(_interface, exports))
        newer = [] if any(map(_is_run, exported)) else list(filter(_is_wasi_0_3, exported))
        what = f"exports {listed(newer)}"
    if newer:
        return f"is the core module of a component for WASI 0.3 (it {what}), {_NOT_YET}"
    seen = f" (it imports {listed(interfaces)})" if interfaces else ""
    return (
        "is the core module of a component, not the component: make that by "
        f"`wasm-tools component new guest.wasm{adapt} -o guest.component.wasm`{adapter} (and before, if the module has "
        "no component type, `wasm-tools component embed`), or have the toolchain make it (Rust: --target "
        f"wasm32-wasip2; wasi-sdk: --target=wasm32-wasip2; componentize-py; jco){seen}"
    )


def _interface(name: str) -> str:
    """The interface in the name of an import's module or of an export; the name itself if it has none."""
    return re.split("[#|]", re.sub(_BEFORE_INTERFACE, "", name, count=1))[0]


def _is_run(interface: str) -> bool:
    """Whether an interface is the one that this host calls, of WASI 0.2."""
    return interface.startswith(f"{_RUN}0.2.")


# Components


def make_of_component(imports: Iterable[str], exports: Iterable[str]) -> str | None:
    """The make of a component that can't run here, by the names of its imports and exports: a sentence without its
    subject; None if no make is known by them."""
    imports, exports = list(imports), list(exports)
    runs = any(map(_is_run, exports))
    older = [name for name in imports if name.startswith("wasi:cli/") and "@0.2.0-rc-" in name]
    if older:
        return (
            f"is built for WASI 0.2 as it was before its release (it imports {listed(older)}): build it with newer "
            "tools, for a release of WASI 0.2"
        )
    newer = [name for name in imports if _is_wasi_0_3(name)]
    seen = f"imports {listed(newer)}"
    if not newer and not runs:
        newer = [name for name in exports if _is_wasi_0_3(name)]
        seen = f"exports {listed(newer)}"
    if newer:
        return f"is built for WASI 0.3 (it {seen}), {_NOT_YET}"
    if runs:
        return None
    if any(re.fullmatch(_HTTP_SERVER, name) for name in exports):
        return (
            f"is a server of HTTP requests, not a command (it exports {listed(exports)}): serve it with wasi-nn serve, "
            "by a table [guests.NAME]; only a command, which exports wasi:cli/run, can be run"
        )
    return None


def why_not_compiled(wasm: bytes) -> str | None:
    """The make of a component that the engine doesn't compile: a sentence without its subject."""
    from wasi_nn.abi.component.reading import names_of  # which the command doesn't import for other guests

    names = names_of(wasm)
    make = make_of_component(*names)
    if make is not None or not uses_async(wasm):
        return make
    return (
        "uses the async functions, streams or futures of WASI 0.3 in a way that this host's engine doesn't have: "
        f"{_FOR_WASI_0_2}"
    )


def _is_wasi_0_3(name: str) -> bool:
    return re.match(_WASI_0_3, name) is not None
