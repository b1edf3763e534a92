"""Replaces functions of the engine's WASI preview 1 by host functions that call the engine's.

The engine's functions use the memory of the instance that calls them. So a small instance calls them. Its memory holds
the arguments and the results, because wasmtime-py's fastest call is one without arguments and results.
"""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import Any
from weakref import WeakKeyDictionary

from wasmtime import Engine, FuncType, Instance, Linker, Memory, Module, Store, Trap, ValType, WasmtimeError

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core import host_functions
from wasi_nn.abi.core.guest_memory import GuestMemory

MODULE = "wasi_snapshot_preview1"
LONGEST_PATH = 4096

_RESULT_AT, _RESULT_SIZE, _ERRNO_AT, _ARGUMENTS_AT, _PATH_AT = 0, 24, 24, 32, 96
_LAYOUTS = {
    "path_open": Struct("<IIIIQQI"),  # without the addresses of the path and the result
    "fd_close": Struct("<I"),
    "fd_renumber": Struct("<II"),
    "fd_fdstat_get": Struct("<I"),  # without the address of the result
}
_CALLER = f"""(module
  (import "" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "" "fd_close" (func $close (param i32) (result i32)))
  (import "" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (import "" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (func (export "path_open") (i32.store (i32.const {_ERRNO_AT}) (call $open
    (i32.load (i32.const 32)) (i32.load (i32.const 36)) (i32.const {_PATH_AT}) (i32.load (i32.const 40))
    (i32.load (i32.const 44)) (i64.load (i32.const 48)) (i64.load (i32.const 56)) (i32.load (i32.const 64))
    (i32.const {_RESULT_AT}))))
  (func (export "fd_close") (i32.store (i32.const {_ERRNO_AT}) (call $close (i32.load (i32.const 32)))))
  (func (export "fd_renumber")
    (i32.store (i32.const {_ERRNO_AT}) (call $renumber (i32.load (i32.const 32)) (i32.load (i32.const 36)))))
  (func (export "fd_fdstat_get")
    (i32.store (i32.const {_ERRNO_AT}) (call $stat (i32.load (i32.const 32)) (i32.const {_RESULT_AT})))))"""
_compiled: WeakKeyDictionary[Engine, Module] = WeakKeyDictionary()  # saves a millisecond for each run of a guest


class Preview1:
    """The engine's functions, read from a linker before others replace them. Takes one instance and one memory of the
    store."""

    def __init__(self, linker: Linker, store: Store) -> None:
        self._linker = linker
        self._store = store
        engine = store.engine
        if engine not in _compiled:
            _compiled[engine] = Module(engine, _CALLER)
        engines = [linker.get(store, MODULE, name) for name in _LAYOUTS]
        exports = Instance(store, _compiled[engine], engines).exports(store)
        self._functions: Any = {name: exports[name] for name in _LAYOUTS}
        memory = exports["memory"]
        assert isinstance(memory, Memory)
        self._memory = GuestMemory()  # can't grow, and so never moves
        self._memory.look(ctypes.addressof(memory.data_ptr(store).contents), memory.data_len(store))

    def replace(self, name: str, function: host_functions.HostFunction) -> None:
        """Replace one of the engine's functions by a host function."""
        i32, i64 = ValType.i32(), ValType.i64()
        parameters = {"path_open": [i32, i32, i32, i32, i32, i64, i64, i32, i32], "fd_close": [i32]}
        signature = FuncType(parameters.get(name, [i32, i32]), [i32])
        self._linker.allow_shadowing = True
        host_functions.define(self._linker, MODULE, name, signature, function)
        self._linker.allow_shadowing = False

    def call(self, name: str, *arguments: int, path: memoryview | None = None) -> int:
        """Call one of the engine's functions; returns its errno. Raises `GuestFault` if it traps."""
        memory = self._memory.bytes
        _LAYOUTS[name].pack_into(memory, _ARGUMENTS_AT, *arguments)
        if path is not None:
            memory[_PATH_AT : _PATH_AT + len(path)] = path
        try:
            self._functions[name](self._store)
        except (Trap, WasmtimeError) as error:
            text = error.message if isinstance(error, Trap) else str(error)
            raise GuestFault(" ".join((text.partition("Caused by:")[2] or text).split())) from None
        return self._memory.read_u32(_ERRNO_AT)

    @property
    def result(self) -> memoryview:
        """The place of the last call's result, beside its errno."""
        return self._memory.bytes[_RESULT_AT : _RESULT_AT + _RESULT_SIZE]
