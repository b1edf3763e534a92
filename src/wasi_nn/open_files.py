"""The files and directories that a core module has open: no more of them than it may have.

They are counted where it opens and closes them. The engine's own functions take the memory of the instance that calls
them, so these calls go through a small instance, with a copy of the path.
"""

from __future__ import annotations

import ctypes
import logging
from struct import Struct
from typing import Any
from weakref import WeakKeyDictionary

from wasmtime import Engine, FuncType, Instance, Linker, Memory, Module, Store, Trap, ValType, WasmtimeError
from wasmtime.component import Component

from wasi_nn.abi import host_calls
from wasi_nn.abi.memory import GuestMemory, OutOfBounds
from wasi_nn.descriptors import are_free, reserve
from wasi_nn.limits import Limits, how_to_raise

logger = logging.getLogger("wasi_nn")

_MODULE = "wasi_snapshot_preview1"
_FUNCTIONS = "path_open", "fd_close", "fd_renumber"
_MFILE, _NAME_TOO_LONG, _NFILE = 33, 37, 41
_LONGEST_PATH = 4096
# The arguments of a call lie in the instance's memory, as does the errno that it gives: a call without any is quickest.
_OPENED_AT, _ERRNO_AT, _ARGUMENTS_AT, _PATH_AT = 0, 4, 16, 64
_OPEN, _CLOSE, _RENUMBER = Struct("<IIIIQQI"), Struct("<I"), Struct("<II")
_THROUGH = f"""(module
  (import "" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "" "fd_close" (func $close (param i32) (result i32)))
  (import "" "fd_renumber" (func $renumber (param i32 i32) (result i32)))
  (memory (export "memory") 1 1)
  (func (export "path_open") (i32.store (i32.const {_ERRNO_AT}) (call $open
    (i32.load (i32.const 16)) (i32.load (i32.const 20)) (i32.const {_PATH_AT}) (i32.load (i32.const 24))
    (i32.load (i32.const 28)) (i64.load (i32.const 32)) (i64.load (i32.const 40)) (i32.load (i32.const 48))
    (i32.const {_OPENED_AT}))))
  (func (export "fd_close")
    (i32.store (i32.const {_ERRNO_AT}) (call $close (i32.load (i32.const 16)))))
  (func (export "fd_renumber")
    (i32.store (i32.const {_ERRNO_AT}) (call $renumber (i32.load (i32.const 16)) (i32.load (i32.const 20))))))"""
_compiled: WeakKeyDictionary[Engine, Module] = WeakKeyDictionary()


def are_opened_by(guest: Module | Component) -> bool:
    """Whether a guest is a core module that may open files."""
    if isinstance(guest, Component):
        return False
    return any(item.module == _MODULE and item.name == "path_open" for item in guest.imports)


def count_in(linker: Linker, store: Store, limits: Limits) -> None:
    """Have a core module's linker, in which WASI is defined, count the files that the guest has open. It takes one
    more instance and memory of the store."""
    _Counted(linker, store, limits).define(linker)


class _Counted:
    """The functions that open and close files."""

    def __init__(self, linker: Linker, store: Store, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._opened: set[int] = set()
        self._told = False
        engine = store.engine
        if engine not in _compiled:
            _compiled[engine] = Module(engine, _THROUGH)
        engines = [linker.get(store, _MODULE, name) for name in _FUNCTIONS]
        exports = Instance(store, _compiled[engine], engines).exports(store)
        self._calls: Any = {name: exports[name] for name in _FUNCTIONS}
        memory = exports["memory"]
        assert isinstance(memory, Memory)
        self._between = GuestMemory()  # it can't grow, and so stays where it is
        self._between.look(ctypes.addressof(memory.data_ptr(store).contents), memory.data_len(store))

    def define(self, linker: Linker) -> None:
        """Define these functions in the place of the engine's."""
        i32, i64 = ValType.i32(), ValType.i64()
        opens = FuncType([i32, i32, i32, i32, i32, i64, i64, i32, i32], [i32])
        linker.allow_shadowing = True
        host_calls.define(linker, _MODULE, "path_open", opens, self._path_open)
        host_calls.define(linker, _MODULE, "fd_close", host_calls.i32_signature(1, 1), self._fd_close)
        host_calls.define(linker, _MODULE, "fd_renumber", host_calls.i32_signature(2, 1), self._fd_renumber)
        linker.allow_shadowing = False

    def _path_open(
        self,
        memory: GuestMemory | None,
        directory: int,
        lookup: int,
        path: int,
        size: int,
        flags: int,
        rights: int,
        inherited: int,
        file_flags: int,
        result: int,
    ) -> int:
        if memory is None:
            raise host_calls.GuestFault("path_open: it exports no memory of its own named 'memory'")
        try:
            memory.check("the result", result, 4)
            name = memory.range("the path", path, size)
        except OutOfBounds as error:
            raise host_calls.GuestFault(f"path_open: {error}") from None
        if self._limits.files is not None and len(self._opened) >= self._limits.files:
            return self._refused(_MFILE, f"it has {len(self._opened)} open ({how_to_raise(self._limits, 'files')})")
        if not are_free(2 * reserve()):
            return self._refused(_NFILE, "this process is nearly out of files (ulimit -n)")
        if size > _LONGEST_PATH:
            return _NAME_TOO_LONG
        self._between.bytes[_PATH_AT : _PATH_AT + size] = name
        arguments = directory, lookup, size, flags, rights, inherited, file_flags
        errno = self._call("path_open", _OPEN, *arguments)
        if errno == 0:
            opened = self._between.read_u32(_OPENED_AT)
            self._opened.add(opened)
            memory.write_u32(result, opened)
        return errno

    def _fd_close(self, _: GuestMemory | None, closed: int) -> int:
        errno = self._call("fd_close", _CLOSE, closed)
        if errno == 0:
            self._opened.discard(closed)
        return errno

    def _fd_renumber(self, _: GuestMemory | None, old: int, new: int) -> int:
        errno = self._call("fd_renumber", _RENUMBER, old, new)
        if errno == 0 and old != new:
            self._opened.discard(new)
            if old in self._opened:
                self._opened.remove(old)
                self._opened.add(new)
        return errno

    def _refused(self, errno: int, why: str) -> int:
        if not self._told:
            logger.warning("path_open: the guest may open no more files: %s", why)
            self._told = True
        return errno

    def _call(self, name: str, layout: Struct, *arguments: int) -> int:
        """Call one of the engine's functions. Gives its errno, and traps as it does."""
        layout.pack_into(self._between.bytes, _ARGUMENTS_AT, *arguments)
        try:
            self._calls[name](self._store)
        except (Trap, WasmtimeError) as error:
            text = error.message if isinstance(error, Trap) else str(error)
            raise host_calls.GuestFault(" ".join((text.partition("Caused by:")[2] or text).split())) from None
        return self._between.read_u32(_ERRNO_AT)
