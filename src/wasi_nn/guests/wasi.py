"""WASI for one run of a guest: arguments, environment, directories, the standard streams, and the exit code.

The functions are wasmtime's: preview 1 for modules, 0.2 for components. A few functions of this package replace
wasmtime's. `proc_exit` does so for every module, because wasmtime's refuses exit codes of 126 and above, which C's
`abort`, `exit(-1)` and shells use.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from wasmtime import Linker, Module, Store, WasiConfig, WasmtimeError, _ffi as ffi

from wasi_nn.abi.call_boundary import GuestFault
from wasi_nn.abi.core import host_functions, preview1
from wasi_nn.abi.core.dialects import imports_of
from wasi_nn.abi.core.guest_memory import GuestMemory
from wasi_nn.errors import GuestError
from wasi_nn.guests import terminals
from wasi_nn.guests.directories import Directories, c_string, preopen
from wasi_nn.guests.open_files import OpenFiles
from wasi_nn.guests.output import STDERR, STDOUT, Output, write_all
from wasi_nn.guests.stdin import StdinFeed
from wasi_nn.guests.streams import Stdin, StreamFailed
from wasi_nn.limits.limits import Limits
from wasi_nn.process.threads import require_threads

if TYPE_CHECKING:
    from wasmtime.component import Component, Linker as ComponentLinker


PROC_EXIT = "proc_exit"
_DESCRIPTORS = "/proc/self/fd"


def define_wasi(linker: Linker, proc_exit: Callable[..., int | None]) -> None:
    """Define WASI preview 1 in a linker, with this function in place of the engine's `proc_exit`."""
    linker.define_wasi()
    linker.allow_shadowing = True
    host_functions.define(linker, preview1.MODULE, PROC_EXIT, host_functions.i32_signature(1, 0), proc_exit)
    linker.allow_shadowing = False


def define_wasip2(linker: ComponentLinker, *, http: bool) -> None:
    """Define WASI 0.2 in a linker; `http` adds `wasi:http`."""
    linker.add_wasip2()
    if http:
        linker.add_wasi_http()


class Wasi:
    """The WASI state of one guest."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        dirs: Directories,
        stdin: Stdin,
        output: Output | None,
        limits: Limits,
    ) -> None:
        self.exit_code: int | None = None
        """The argument of `proc_exit`; None if the guest hasn't called it."""
        self.output = output
        """Receives the guest's output; None if the output goes to this process's own standard output and error."""
        self.feed: StdinFeed | None = None
        """Feeds the guest's standard input, if it comes from a file of Python's; begins with the run."""
        self._limits = limits
        self._counts_files = bool(dirs)  # even without a limit, because some descriptors are reserved for the host
        self._terminals = frozenset[int]() if output is None else output.terminals
        self._config = config = WasiConfig()
        config.argv = [c_string("an argument", argument) for argument in argv]
        config.env = [(c_string("a variable", key), c_string("a variable", env[key])) for key in env]
        if dirs or (stdin is not None and stdin is sys.stdin):
            require_threads(1)  # the engine starts one at the first read, and ends the process if it can't
        preopen(config, dirs)
        self._connect_output(config)
        self._connect_stdin(config, stdin)

    def _connect_stdin(self, config: WasiConfig, stdin: Stdin) -> None:
        if isinstance(stdin, bytes):
            _set_stdin_bytes(config, stdin)
        elif isinstance(stdin, os.PathLike):
            if os.path.exists(stdin) and stat.S_ISFIFO(os.stat(stdin).st_mode):
                raise GuestError(
                    f"the guest's standard input {os.fspath(stdin)} is a pipe, which may block the host: give its bytes"
                )
            try:
                config.stdin_file = os.fsencode(stdin)  # the engine refuses a name that is no Unicode
            except WasmtimeError as error:
                raise GuestError(f"the guest's standard input {os.fspath(stdin)} can't be read") from error
        elif stdin is not None and stdin is sys.stdin:
            config.inherit_stdin()
        elif stdin is not None:
            require_threads(2)  # one of the engine's, and one that reads the file
            self.feed = feed = StdinFeed(stdin)  # type: ignore[arg-type]  # `run_arguments` has checked it
            try:
                config.stdin_file = feed.path
            except WasmtimeError as error:
                feed.end()
                raise GuestError("the guest's standard input can't be opened: the process has no files left") from error
            finally:
                feed.close_read_end()

    def close(self) -> None:
        """End the guest's input, after the run."""
        if self.feed is not None:
            self.feed.end()

    def end_streams(self) -> None:
        """End the streams that the caller gave, after the guest's end. Raises `StreamFailed` with the error of a
        function that got the output, or of the file that was the input."""
        if self.output is not None:
            self.output.end()
        for stream in (self.output, self.feed):
            if stream is not None and stream.failure is not None:
                raise StreamFailed(stream.failure)

    def _connect_output(self, config: WasiConfig) -> None:
        if self.output is None or self.output.is_passed_on:
            for stream in (sys.stdout, sys.stderr):  # so that earlier output of this process precedes the guest's
                with suppress(OSError, ValueError):  # the stream is closed, on either end
                    if stream is not None:
                        stream.flush()
        if self.output is not None:
            if not self.output.open_in_engine(STDOUT, partial(setattr, config, "stdout_file")):
                config.stdout_custom = self.output.for_engine(STDOUT)
            if not self.output.open_in_engine(STDERR, partial(setattr, config, "stderr_file")):
                config.stderr_custom = self.output.for_engine(STDERR)
            return
        config.inherit_stdout()
        config.inherit_stderr()

    def connect(self, stdin: int | None, stdout: int) -> None:
        """Have the guest read and write these pipes, in place of the streams that it was given. The descriptors may be
        closed afterwards."""
        try:
            if stdin is not None:
                self._config.stdin_file = f"{_DESCRIPTORS}/{stdin}"
            self._config.stdout_file = f"{_DESCRIPTORS}/{stdout}"
        except WasmtimeError as error:
            raise GuestError("the pipes of the guest can't be opened: the process has no files left") from error

    def write_stdout(self, content: bytes) -> None:
        """Write to the destination of the guest's standard output."""
        if self.output is None:
            write_all(1, content)
        else:
            self.output.write(STDOUT, content)

    @property
    def shows_terminals(self) -> bool:
        """Whether the guest writes to a terminal of this process, and is told so."""
        return bool(self._terminals)

    def extra_instances(self, guest: Module | Component) -> int:
        """How many instances of this package a guest's store must hold: 1 if `add_to` makes a `Preview1`, else 0."""
        if not isinstance(guest, Module):
            return 0
        if not (self._counts_files or self._terminals):
            return 0
        imports = {name for module, name in imports_of(guest) if module == preview1.MODULE}
        counts_files = self._counts_files and "path_open" in imports
        shows_terminals = self._terminals and "fd_fdstat_get" in imports
        return 1 if counts_files or shows_terminals else 0

    def add_to(self, linker: Linker, store: Store, guest: Module) -> None:
        """Define WASI preview 1 for a guest in a linker, with this state in its store. May be called once."""
        self.set_in(store)
        define_wasi(linker, self.proc_exit)
        if self.extra_instances(guest):
            engine_functions = preview1.Preview1(linker, store)
            if self._counts_files:
                OpenFiles(engine_functions, self._limits)
            if self._terminals:
                terminals.show_to_module(engine_functions, self._terminals)

    def set_in(self, store: Store, *, http: bool = False) -> None:
        """Put this state into a store; `http` with that of `wasi:http`. May be called once."""
        store.set_wasi(self._config)
        if http:
            store.set_wasi_http()

    def add_to_component(self, linker: ComponentLinker, store: Store, guest: Component, http: bool) -> None:
        """Define WASI 0.2 for a guest in a linker, with this state in its store. `http` adds `wasi:http`."""
        self.set_in(store, http=http)
        define_wasip2(linker, http=http)
        if self._terminals:
            terminals.show_to_component(linker, guest, store.engine, self._terminals)

    def proc_exit(self, _: GuestMemory | None, code: int) -> None:
        """The function of preview 1."""
        self.exit_code = code
        raise GuestFault(f"exit with code {code}")


def _set_stdin_bytes(config: WasiConfig, content: bytes) -> None:
    """Set a guest's standard input to bytes. wasmtime-py binds the C function but has no method for it."""
    vector = ffi.wasm_byte_vec_t()
    pointer = ctypes.cast(ctypes.c_char_p(content), ctypes.POINTER(ctypes.c_ubyte))
    ffi.wasm_byte_vec_new(ctypes.byref(vector), len(content), pointer)
    ffi.wasi_config_set_stdin_bytes(config.ptr(), ctypes.byref(vector))
