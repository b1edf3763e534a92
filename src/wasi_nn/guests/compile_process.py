"""The program of the process that compiles one guest. `wasi_nn.guests.compilation` starts it, and may kill it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from wasmtime import Module, WasmtimeError

from wasi_nn.guests.engine import new_engine
from wasi_nn.process.resource_limits import limit

if TYPE_CHECKING:
    from wasmtime import Engine
    from wasmtime.component import Component

INVALID = 3
"""The exit code for bytes that are not WebAssembly. The engine's message is on standard output."""

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def main(kind: str, fuel: str, memory: str, source: str, target: str, parent: str) -> NoReturn:
    """Compile the WebAssembly in a file into another file, and end this process. All arguments are text.

    kind            `Module` or `Component`
    fuel            1 if the compiled code counts instructions, 0 if not
    memory          the most bytes of memory that this process may use; 0: no limit
    source, target  the descriptors of the two files
    parent          the id of the process that started this one. This process ends when that one does
    """
    _end_with(int(parent))
    with suppress(OSError):  # if the machine's memory runs out, the kernel kills this process first
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    if int(memory):
        limit(resource.RLIMIT_DATA, int(memory))
    limit(resource.RLIMIT_CORE, 0)
    with open(int(source), "rb") as opened:
        wasm = opened.read()
    engine = new_engine(fuel=fuel == "1", parallel=True)
    try:
        serialized = _compiled(kind, engine, wasm).serialize()
        with open(int(target), "wb") as opened:
            opened.write(serialized)
    except WasmtimeError as error:
        os.write(1, str(error).encode("utf-8", "replace"))
        os._exit(INVALID)
    except MemoryError:
        os.abort()  # as the engine does when it is out of memory
    os._exit(0)


def _compiled(kind: str, engine: Engine, wasm: bytes) -> Module | Component:
    if kind == "Module":
        return Module(engine, wasm)
    from wasmtime.component import Component

    return Component(engine, wasm)


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it, and that waits for it, ends."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the line above
        os._exit(1)
