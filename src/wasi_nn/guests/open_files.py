"""Limits how many files and directories a core module has open, by counting its calls that open and close them."""

from __future__ import annotations

import logging

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core.guest_memory import GuestMemory, OutOfBounds
from wasi_nn.abi.core.preview1 import LONGEST_PATH, Preview1
from wasi_nn.limits.limits import Limits, how_to_raise
from wasi_nn.process.descriptors import are_free, reserve

logger = logging.getLogger("wasi_nn")

_MFILE, _NAME_TOO_LONG, _NFILE = 33, 37, 41


class OpenFiles:
    """Replaces the functions of WASI that open and close files by functions that count."""

    def __init__(self, engine_functions: Preview1, limits: Limits) -> None:
        self._engine_functions = engine_functions
        self._limits = limits
        self._opened: set[int] = set()
        self._logged = False
        engine_functions.replace("path_open", self._path_open)
        engine_functions.replace("fd_close", self._fd_close)
        engine_functions.replace("fd_renumber", self._fd_renumber)

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
            raise GuestFault("path_open: the guest exports no memory of its own named 'memory'")
        try:
            memory.check("the result", result, 4)
            name = memory.range("the path", path, size)
        except OutOfBounds as error:
            raise GuestFault(f"path_open: {error}") from None
        if self._limits.files is not None and len(self._opened) >= self._limits.files:
            return self._refused(_MFILE, f"the limit is {self._limits.files} ({how_to_raise(self._limits, 'files')})")
        if not are_free(2 * reserve()):
            return self._refused(_NFILE, "this process is nearly out of file descriptors (ulimit -n)")
        if size > LONGEST_PATH:
            return _NAME_TOO_LONG
        arguments = directory, lookup, size, flags, rights, inherited, file_flags
        errno = self._engine_functions.call("path_open", *arguments, path=name)
        if errno == 0:
            opened = int.from_bytes(self._engine_functions.result[:4], "little")
            self._opened.add(opened)
            memory.write_u32(result, opened)
        return errno

    def _fd_close(self, _: GuestMemory | None, closed: int) -> int:
        errno = self._engine_functions.call("fd_close", closed)
        if errno == 0:
            self._opened.discard(closed)
        return errno

    def _fd_renumber(self, _: GuestMemory | None, old: int, new: int) -> int:
        errno = self._engine_functions.call("fd_renumber", old, new)
        if errno == 0 and old != new:
            self._opened.discard(new)
            if old in self._opened:
                self._opened.remove(old)
                self._opened.add(new)
        return errno

    def _refused(self, errno: int, why: str) -> int:
        if not self._logged:
            logger.warning("path_open: the guest may open no more files: %s", why)
            self._logged = True
        return errno
