"""Starts the parts of the engine that WASI needs, while a failure is still an error.

At the first WASI call that may block, the engine makes threads and descriptors for the whole process. If it can't make
them, it ends the process. A guest could cause that: it uses up all descriptors first, and then makes such a call.
"""

from __future__ import annotations

import threading

from wasmtime import Linker, Module, Store, WasiConfig

from wasi_nn.errors import GuestError, NNError, one_line
from wasi_nn.guests.engine import new_engine
from wasi_nn.process import forks
from wasi_nn.process.descriptors import require_free_descriptors
from wasi_nn.process.processors import processors
from wasi_nn.process.threads import Call, require_threads

_DESCRIPTORS = 8  # wasmtime 49 was seen to open three: a poll, a copy of it, and the descriptor that wakes it

# A guest that writes nothing to its standard output: that needs all that a blocking call needs. As text:
#   (module (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
#     (memory (export "memory") 1)
#     (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 100)))))
_WRITES_NOTHING = bytes.fromhex(
    "0061736d01000000010c0260047f7f7f7f017f60000002230116776173695f736e617073686f745f70726576696577310866645f7772697465"
    "0000030201010503010001071302066d656d6f72790200065f737461727400010a10010e0041014100410041e40010001a0b"
)


class _Start:
    def __init__(self) -> None:
        self.reset_in_child()

    def reset_in_child(self) -> None:
        """Start again, as in a fork: there, the threads of the parent don't exist."""
        self._lock = threading.Lock()
        self.is_made = False

    def make(self) -> None:
        """See `start_wasi`."""
        if self.is_made:
            return
        with self._lock:
            if self.is_made:
                return
            try:
                forks.start("wasmtime's WASI")
                require_free_descriptors(_DESCRIPTORS)
                require_threads(1 + processors())  # the engine starts a thread for each
                call = Call(_write_nothing)
            except (NNError, RuntimeError) as error:
                raise GuestError(f"WASI can't be started: {one_line(error)}") from error
            call.wait_for_end()
            call.result()
            self.is_made = True


_start = _Start()
forks.reset_in_child(_start)


def wasi_is_started() -> bool:
    """Whether the engine has started WASI in this process."""
    return _start.is_made


def start_wasi() -> None:
    """Have the engine start WASI, once per process.

    Raises `GuestError` if the process has no threads or descriptors left for it, or is a fork of a process that had
    started WASI.
    """
    _start.make()


def _write_nothing() -> None:
    engine = new_engine(fuel=False)
    store, linker = Store(engine), Linker(engine)
    store.set_epoch_deadline(1)
    store.set_wasi(WasiConfig())
    linker.define_wasi()
    linker.instantiate(store, Module(engine, _WRITES_NOTHING)).exports(store)["_start"](store)  # type: ignore[operator]
    store.close()
