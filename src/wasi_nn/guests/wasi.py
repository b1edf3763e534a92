"""WASI for one run of a guest: arguments, environment, directories, the standard streams, and the exit code.

It is wasmtime's, preview 1 for modules and 0.2 for components. Only the exit of preview 1 is ours: wasmtime's
`proc_exit` refuses codes of 126 and above, which C's `abort`, `exit(-1)` and shells use.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from wasmtime import Linker, Module, Store, WasiConfig, WasmtimeError, _ffi as ffi
from wasmtime.component import Component, Linker as ComponentLinker

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core import host_functions, preview1
from wasi_nn.abi.core.guest_memory import GuestMemory
from wasi_nn.errors import GuestError
from wasi_nn.guests import terminals
from wasi_nn.guests.directories import Directories, c_string, preopen
from wasi_nn.guests.open_files import OpenFiles
from wasi_nn.guests.output import STDERR, STDOUT, Output, write_all
from wasi_nn.limits.limits import Limits
from wasi_nn.process.threads import require_threads

if TYPE_CHECKING:
    from typing import TextIO


class Wasi:
    """The WASI state of one guest."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        dirs: Directories,
        stdin: bytes | os.PathLike[str] | TextIO | None,
        output: Output | None,
        limits: Limits,
    ) -> None:
        self.exit_code: int | None = None
        """What the guest gave to `proc_exit`; None if it never called that."""
        self.output = output
        """Where what it writes goes, if not to our own standard output and error."""
        self._limits = limits
        self._counts_files = bool(dirs)  # without a limit too: some are kept for the host
        self._terminals = frozenset[int]() if output is None else output.terminals
        self._config = config = WasiConfig()
        config.argv = [c_string("an argument", argument) for argument in argv]
        config.env = [(c_string("a variable", key), c_string("a variable", env[key])) for key in env]
        if dirs or (stdin is not None and stdin is sys.stdin):
            require_threads(1)  # the engine makes one when they are first read, and ends the process if it can't
        preopen(config, dirs)
        self._connect_stdin(config, stdin)
        self._connect_output(config)

    def _connect_stdin(self, config: WasiConfig, stdin: bytes | os.PathLike[str] | TextIO | None) -> None:
        if isinstance(stdin, bytes):
            _give_stdin(config, stdin)
        elif isinstance(stdin, os.PathLike):
            if os.path.exists(stdin) and stat.S_ISFIFO(os.stat(stdin).st_mode):
                raise GuestError(f"the guest's standard input {os.fspath(stdin)} is a pipe, which would be waited for")
            try:
                config.stdin_file = stdin
            except WasmtimeError as error:
                raise GuestError(f"the guest's standard input {os.fspath(stdin)} can't be read") from error
        elif stdin is not None and stdin is sys.stdin:
            config.inherit_stdin()
        elif stdin is not None:
            raise TypeError(f"stdin must be bytes, a path, sys.stdin or None, not {type(stdin).__name__}")

    def _connect_output(self, config: WasiConfig) -> None:
        if self.output is not None:
            if not self.output.opened(STDOUT, partial(setattr, config, "stdout_file")):
                config.stdout_custom = partial(self.output.write, STDOUT)
            if not self.output.opened(STDERR, partial(setattr, config, "stderr_file")):
                config.stderr_custom = partial(self.output.write, STDERR)
            return
        for stream in (sys.stdout, sys.stderr):  # what was written before the guest ran comes before what it writes
            with suppress(OSError, ValueError):  # it is closed, here or at the other end
                if stream is not None:
                    stream.flush()
        config.inherit_stdout()
        config.inherit_stderr()

    def write_stdout(self, content: bytes) -> None:
        """Write to where the guest's standard output goes."""
        if self.output is None:
            write_all(1, content)
        else:
            self.output.write(STDOUT, content)

    def stands_in_for(self, guest: Module | Component) -> bool:
        """Whether functions of ours take the place of the engine's for a guest, which takes an instance more."""
        if isinstance(guest, Component) or not (self._counts_files or self._terminals):
            return False
        imports = {item.name for item in guest.imports if item.module == preview1.MODULE}
        return (self._counts_files and "path_open" in imports) or bool(self._terminals and "fd_fdstat_get" in imports)

    def add_to(self, linker: Linker, store: Store, guest: Module) -> None:
        """Define WASI preview 1 for a guest in a linker, over this state in its store. Once only."""
        store.set_wasi(self._config)
        linker.define_wasi()
        if self.stands_in_for(guest):
            engines = preview1.Preview1(linker, store)
            if self._counts_files:
                OpenFiles(engines, self._limits)
            if self._terminals:
                terminals.tell_module(engines, self._terminals)
        linker.allow_shadowing = True
        host_functions.define(linker, preview1.MODULE, "proc_exit", host_functions.i32_signature(1, 0), self._proc_exit)
        linker.allow_shadowing = False

    def add_to_component(self, linker: ComponentLinker, store: Store, guest: Component, http: bool) -> None:
        """Define WASI 0.2 for a guest in a linker, over this state in its store, with `wasi:http` if wanted."""
        store.set_wasi(self._config)
        linker.add_wasip2()
        if self._terminals:
            terminals.tell_component(linker, guest, store.engine, self._terminals)
        if http:
            store.set_wasi_http()
            linker.add_wasi_http()

    def _proc_exit(self, _: GuestMemory | None, code: int) -> None:
        self.exit_code = code
        raise GuestFault(f"exit with code {code}")


def _give_stdin(config: WasiConfig, content: bytes) -> None:
    """Give a guest bytes as its standard input. wasmtime-py binds this but doesn't wrap it."""
    vector = ffi.wasm_byte_vec_t()
    there = ctypes.cast(ctypes.c_char_p(content), ctypes.POINTER(ctypes.c_ubyte))
    ffi.wasm_byte_vec_new(ctypes.byref(vector), len(content), there)
    ffi.wasi_config_set_stdin_bytes(config.ptr(), ctypes.byref(vector))
