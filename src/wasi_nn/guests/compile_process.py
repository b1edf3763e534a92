"""The process that compiles one guest for `wasi_nn.guests.compilation`, which may end it at any time."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from wasmtime import Module, WasmtimeError
from wasmtime.component import Component

from wasi_nn.guests.engine import new_engine

INVALID = 3
"""The exit code for what is not WebAssembly; standard output has the engine's words."""

_PR_SET_PDEATHSIG = 1


def main(kind: str, fuel: str, memory: str, source: str, target: str, parent: str) -> NoReturn:
    """Compile the WebAssembly in file `source` (a descriptor) into file `target`, with `memory` bytes at most (0: any).

    `kind` is `Module` or `Component`. `fuel` is 1 where instructions are counted. `parent` is the process to end with.
    """
    _end_with(int(parent))
    with suppress(OSError):  # where memory runs out, this process goes first
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    if int(memory):
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(int(source), "rb") as opened:
        wasm = opened.read()
    engine = new_engine(fuel=fuel == "1", parallel=True)
    try:
        compiled = Component(engine, wasm) if kind == "Component" else Module(engine, wasm)
        with open(int(target), "wb") as opened:
            opened.write(compiled.serialize())
    except WasmtimeError as error:
        os.write(1, str(error).encode("utf-8", "replace"))
        os._exit(INVALID)
    except MemoryError:
        os.kill(os.getpid(), signal.SIGABRT)  # as the engine ends where it finds no memory
    os._exit(0)


def _end_with(parent: int) -> None:
    """Have the kernel end this process when the thread that started it is gone, which waits for it."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
