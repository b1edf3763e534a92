"""Reads guests from their files, and words the errors about a guest that can't run or that trapped."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import wasmtime
from wasmtime import Engine, Linker, MemoryType, Module, Store, Trap, WasmtimeError

from wasi_nn.abi.component.bridge import NAMESPACE
from wasi_nn.abi.core import extensions, serving
from wasi_nn.abi.core.spec import CoreAbi
from wasi_nn.abi.wasm_binary import COMPONENT_HEADER, MODULE_HEADER, end_if_cut_short
from wasi_nn.errors import GuestError, GuestTrap, one_line, printable
from wasi_nn.guests.engine import SOURCE_LINES
from wasi_nn.guests.makes import is_core_of_component, listed, make_of_module, why_not_compiled
from wasi_nn.guests.store_limits import COMPONENT_MEMORIES, MODULE_MEMORIES
from wasi_nn.limits.limits import Limits, how_to_raise
from wasi_nn.process.files import read_regular
from wasi_nn.settings import how_to_set

if TYPE_CHECKING:
    from wasmtime.component import Component

Guest = bytes | str | os.PathLike[str]
"""A guest: the path of a `.wasm` or `.wat` file, or the bytes of either."""

# Parts of the engine's messages about a limit that the engine enforces, and the name of the limit.
_LIMIT_OF_MESSAGE = {"all fuel consumed": "fuel", "exceeds memory limits": "guest_memory"}
_PAGE = 65536  # bytes
_SHARED_MEMORY = "shared memory support is disabled"
_NO_HTTP = "unknown import: `wasi:http/"
_TOO_MANY_MEMORIES = "memory count too high"
_MAGIC = b"\0asm"
_AN_ADDRESS = re.compile(r"[a-z]+:/|[\w.-]+:[0-9]+/")  # as a path: two slashes are one
_IN_A_REGISTRY = (
    "; the command takes a guest in a registry as oci://HOST/NAME:TAG, and in Python wasi_nn.oci.pull_guest gets it"
)
_PROGRAMS = (b"\x7fELF", b"\xcf\xfa\xed\xfe")  # for the machine itself


def name_of(guest: Guest | Module | Component) -> str:
    """The name of a guest in messages, and in its own argv."""
    return os.path.basename(guest) or str(guest) if isinstance(guest, str | os.PathLike) else "guest.wasm"


def read(guest: Guest) -> bytes:
    """The binary of a guest. Raises `GuestError` for a file that doesn't exist or isn't WebAssembly."""
    name = name_of(guest)
    content = guest if isinstance(guest, bytes) else _read_file(Path(guest))
    if content.lstrip().startswith((b"(", b";;")):
        try:
            content = bytes(wasmtime.wat2wasm(content))
        except WasmtimeError as error:
            raise GuestError(f"{name} is not valid WebAssembly text: {one_line(error)}") from error
    if not content:
        raise GuestError(f"{name} is empty")
    if not content.startswith(_MAGIC):
        raise _not_webassembly(name, content)
    if not (content.startswith(MODULE_HEADER) or is_component(content)):
        raise GuestError(f"{name} is WebAssembly of an unknown version, or cut short")
    end = end_if_cut_short(content)
    if end is not None:
        message = f"it has {len(content)} bytes of at least {end}: download or build it again"
        raise GuestError(f"{name} is WebAssembly, cut short: {message}")
    return content


def _not_webassembly(name: str, content: bytes) -> GuestError:
    from wasi_nn.loading.explanation import what_is

    found = what_is(memoryview(content), name)
    if found is None or found.vague:
        return GuestError(f"{name} is not WebAssembly, neither binary nor text: it begins with {content[:8]!r}")
    advice = f": {found.advice}" if found.hides else ""
    if found.encoded:
        advice = f": give it to a guest as a named graph ({how_to_set('Host(graphs)', '--graph NAME=PATH')})"
    elif content.startswith(_PROGRAMS) and not found.hides:
        advice = ": build the guest for a target of WebAssembly, such as wasm32-wasip1"
    return GuestError(f"{name} is {found.name}, not WebAssembly{advice}")


def is_component(content: bytes) -> bool:
    """Whether a guest is a component, not a core module."""
    return content.startswith(COMPONENT_HEADER)


def _read_file(path: Path) -> bytes:
    try:
        return read_regular(path)
    except FileNotFoundError as error:
        advice = _IN_A_REGISTRY if _AN_ADDRESS.match(str(path)) else ""
        raise GuestError(f"no guest at {printable(str(path))}: no such file{advice}") from error
    except IsADirectoryError as error:
        message = f"{printable(str(path))} is a directory, not a guest: give the path of its .wasm file"
        raise GuestError(message) from error
    except OSError as error:
        raise GuestError(f"the guest {printable(str(path))} can't be read: {one_line(error)}") from error


def invalid(name: str, wasm: bytes, error: WasmtimeError) -> GuestError:
    """The error for a guest that the engine refused to compile."""
    make = why_not_compiled(wasm) if is_component(wasm) else None
    if make is None and "gc feature" in str(error):
        make = (
            "uses WebAssembly's garbage collection, which this host refuses: build it in a language without it, such "
            f"as C, C++, Rust or Go ({one_line(error)})"
        )
    return GuestError(f"{name} is not valid WebAssembly: {one_line(error)}" if make is None else f"{name} {make}")


def require_command(name: str, module: Module, abi: type[CoreAbi], linker: Linker, store: Store) -> None:
    """Raise `GuestError` if the linker, which has the nn functions of `abi`, lacks an import of the module, or if the
    module isn't a command."""
    for problem in problems_of(module, abi, linker, store):
        raise GuestError(f"{name} {problem}")


def problems_of(module: Module, abi: type[CoreAbi], linker: Linker, store: Store) -> Iterator[str]:
    """The reasons why a module can't be run as a command with this linker: sentences whose subject is the module."""
    imports = module.imports
    missing = [(item.module, item.name or "") for item in imports if not _has(linker, store, item)]
    modules = {item.module for item in imports}
    exports = {item.name: item.type for item in module.exports}
    make = make_of_module(missing, exports, adapts="wasi_snapshot_preview1" in modules)
    if make is not None:
        yield make
    elif missing:
        yield (
            f"has imports that this host lacks: {listed([f'{module}.{name}' for module, name in missing])} "
            f"(this host has WASI preview 1 and {_functions_of(abi, modules)})"
        )
    if not modules.isdisjoint((abi.module, extensions.MODULE, serving.MODULE)):
        memory = exports.get("memory")
        if not isinstance(memory, MemoryType):
            yield "exports no memory named 'memory', through which nn calls pass their data"
        elif memory.is_shared:
            yield "has a shared memory, through which no nn call is safe: build it without threads"
    if "_start" not in exports and not is_core_of_component(missing, exports):
        kind = "library" if "_initialize" not in exports else "reactor"
        yield (
            f"is a {kind}, not a command, since it exports no '_start': build it as a command, with a main function "
            "(C and C++: without -mexec-model=reactor; Rust: no cdylib; Go: without -buildmode=c-shared; "
            "AssemblyScript: --exportStart _start)"
        )
    elif "_start" in exports:
        yield from _problem_of_start(exports["_start"])


def _functions_of(abi: type[CoreAbi], modules: Collection[str]) -> str:
    """The nn functions of this host for a message, with the extensions' for a guest that imports some."""
    parts = [f"{abi.module}: {', '.join(abi.functions)}"]
    for module, functions in ((extensions.MODULE, extensions.FUNCTIONS), (serving.MODULE, serving.FUNCTIONS)):
        if module in modules:
            parts.append(f"{module}: {', '.join(functions)}")
    return "; and ".join(parts)


def _problem_of_start(start: object) -> Iterator[str]:
    if not isinstance(start, wasmtime.FuncType):
        yield "exports a '_start' that is no function: build it as a command, with a main function"
        return
    for types, has in ((start.params, "takes parameters"), (start.results, "gives results")):
        if types:
            names = listed([str(it) for it in types])
            yield f"exports a '_start' that {has} ({names}): a command's '_start' takes none and gives none"
            return


def imports_wasi(guest: Module | Component, engine: Engine) -> bool:
    """Whether a guest imports functions of WASI other than those of wasi-nn."""
    if isinstance(guest, Module):
        return any(item.module.startswith("wasi_") for item in guest.imports)
    return any(name.startswith("wasi:") and not name.startswith(NAMESPACE) for name in guest.type.imports(engine))


def _has(linker: Linker, store: Store, item: wasmtime.ImportType) -> bool:
    try:
        linker.get(store, item.module, item.name or "")
    except WasmtimeError:
        return False
    return True


_ADVICE = f"note: using the `{SOURCE_LINES}"  # which the command follows by itself


def guest_error(name: str, error: Trap | WasmtimeError, limits: Limits) -> GuestError:
    """The `GuestTrap` or `GuestError` for an error of the engine, with the limit and flag that it is about, if any."""
    text = error.message if isinstance(error, Trap) else str(error) or type(error).__name__
    for part, limit in _LIMIT_OF_MESSAGE.items():
        if part in text and getattr(limits, limit) is not None:
            most = getattr(limits, limit)
            unit = f" bytes, {most // _PAGE} pages, which its memories share equally" if limit == "guest_memory" else ""
            text = f"{text.rstrip()}: the limit is {most}{unit} ({how_to_raise(limits, limit)})"
    if _SHARED_MEMORY in text:
        text = f"{text.rstrip()}: the guest is built with threads, which this host doesn't have: build it without"
    if _NO_HTTP in text:
        how = how_to_set("allow_http=True", "--allow-http")
        text = f"{text.rstrip()}: the guest makes HTTP requests, which it may not ({how})"
    if _TOO_MANY_MEMORIES in text:
        how = how_to_raise(limits, "guest_memory")
        most = f"a module may have {MODULE_MEMORIES} memories, a component {COMPONENT_MEMORIES}"
        text = f"{text.rstrip()}: {most}; under a limit ({how}), only those that their code defines, each once"
    frames, _, cause = text.partition("Caused by:")
    if isinstance(error, Trap) or "wasm backtrace" in frames or text.startswith("wasm trap: "):
        backtrace = [line for line in frames.splitlines()[1:] if line.strip() and not line.startswith(_ADVICE)]
        return GuestTrap(_reason(cause or text), "\n".join(map(printable, backtrace)))
    return GuestError(f"{name} can't be run: {printable(' '.join(text.split()))}")


def _reason(cause: str) -> str:
    """Why a guest trapped, in one line: the trap itself, and then what the engine tells about it. The engine numbers
    several causes, the trap last."""
    causes = [" ".join(part.split()).removeprefix("wasm trap: ") for part in re.split(r"(?m)^\s+\d+: ", cause)]
    return printable(": ".join(part for part in reversed(causes) if part))
