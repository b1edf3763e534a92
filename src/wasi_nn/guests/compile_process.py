"""The program of the process that compiles one guest. `wasi_nn.guests.compilation` starts it, and may kill it."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from wasi_nn.guests.engine_settings import engine_settings
from wasi_nn.process.resource_limits import limit

INVALID = 3
"""The exit code for bytes that are not WebAssembly. The engine's message is on standard output."""

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class _Bytes(ctypes.Structure):
    """A `wasm_byte_vec_t`."""

    _fields_ = (("size", ctypes.c_size_t), ("data", ctypes.c_void_p))

    @property
    def content(self) -> bytes:
        """A copy of the bytes."""
        return ctypes.string_at(self.data, self.size)


def main(engine: str, kind: str, fuel: str, memory: str, source: str, target: str, parent: str) -> NoReturn:
    """Compile the WebAssembly in a file into another file, and end this process. All arguments are text.

    engine          the path of the engine's library
    kind            `module` or `component`
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
    try:
        with open(int(source), "rb") as opened:
            wasm = opened.read()
        compiled = _compiled(ctypes.CDLL(engine), kind, wasm, is_counting=fuel == "1")
        with open(int(target), "wb") as opened:
            opened.write(compiled)
    except MemoryError:
        os.abort()  # as the engine does when it is out of memory
    os._exit(0)


def _compiled(library: ctypes.CDLL, kind: str, wasm: bytes, *, is_counting: bool) -> bytes:
    """The compiled code. If the engine can't compile these bytes, this writes its message and ends the process. Nothing
    is freed, as the process ends anyway."""

    def function(name: str, result: Any = None) -> Any:
        found = library[name]
        found.restype = result
        return found

    config = ctypes.c_void_p(function("wasm_config_new", ctypes.c_void_p)())
    for name, value in engine_settings(fuel=is_counting, parallel=True).items():
        function(f"wasmtime_config_{name}_set")(config, ctypes.c_bool(value))
    engine = ctypes.c_void_p(function("wasm_engine_new_with_config", ctypes.c_void_p)(config))
    compiled, text = ctypes.c_void_p(), _Bytes()
    error = function(f"wasmtime_{kind}_new", ctypes.c_void_p)(
        engine, wasm, ctypes.c_size_t(len(wasm)), ctypes.byref(compiled)
    )
    error = error or function(f"wasmtime_{kind}_serialize", ctypes.c_void_p)(compiled, ctypes.byref(text))
    if error:
        function("wasmtime_error_message")(ctypes.c_void_p(error), ctypes.byref(text))
        os.write(1, text.content)
        os._exit(INVALID)
    return text.content


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it, and that waits for it, ends."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the line above
        os._exit(1)
