"""WASI for one run of a guest: arguments, environment, directories, the standard streams, and the exit code.

It is wasmtime's, preview 1 for modules and 0.2 for components. Only the exit of preview 1 is ours: wasmtime's
`proc_exit` refuses codes of 126 and above, which C's `abort`, `exit(-1)` and shells use.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wasmtime import Linker, Store, WasiConfig, WasmtimeError
from wasmtime.component import Linker as ComponentLinker

from wasi_nn.abi import host_calls
from wasi_nn.abi.memory import GuestMemory
from wasi_nn.directories import Directories, c_string, preopen
from wasi_nn.types import GuestError

if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

_MODULE = "wasi_snapshot_preview1"


class Wasi:
    """The WASI state of one guest. Use it as a context manager: captured output is gone when it is left."""

    def __init__(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        dirs: Directories,
        stdin: bytes | os.PathLike[str] | TextIO | None,
        capture_output: bool,
    ) -> None:
        self.exit_code: int | None = None
        """What the guest gave to `proc_exit`; None if it never called that."""
        self._config = config = WasiConfig()
        self._scratch: Path | None = None
        self._stdout: BinaryIO | None = None  # what is captured
        try:
            config.argv = [c_string("an argument", argument) for argument in argv]
            config.env = [(c_string("a variable", key), c_string("a variable", env[key])) for key in env]
            preopen(config, dirs)
            self._connect_stdin(config, stdin)
            self._connect_output(config, capture_output)
        except BaseException:
            self.close()
            raise

    def _connect_stdin(self, config: WasiConfig, stdin: bytes | os.PathLike[str] | TextIO | None) -> None:
        if isinstance(stdin, bytes):
            file = self._scratch_directory() / "stdin"
            file.write_bytes(stdin)
            stdin = file
        if isinstance(stdin, os.PathLike):
            try:
                config.stdin_file = stdin
            except WasmtimeError as error:
                raise GuestError(f"the guest's standard input {os.fspath(stdin)} can't be read") from error
        elif stdin is not None and stdin is sys.stdin:
            config.inherit_stdin()
        elif stdin is not None:
            raise TypeError(f"stdin must be bytes, a path, sys.stdin or None, not {type(stdin).__name__}")

    def _connect_output(self, config: WasiConfig, capture: bool) -> None:
        if capture:
            self._stdout = open(self._scratch_directory() / "stdout", "w+b")  # noqa: SIM115  until `close`
            config.stdout_custom = self.write_stdout
            config.stderr_file = str(self._scratch_directory() / "stderr")
            return
        for stream in (sys.stdout, sys.stderr):  # what was written before the guest ran comes before what it writes
            if stream is not None:
                stream.flush()
        config.inherit_stdout()
        config.inherit_stderr()

    def write_stdout(self, content: bytes) -> None:
        """Write to where the guest's standard output goes."""
        if self._stdout is not None:
            self._stdout.write(content)
            return
        while content:
            content = content[os.write(1, content) :]

    def _scratch_directory(self) -> Path:
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp(prefix="wasi-nn-"))
        return self._scratch

    def add_to(self, linker: Linker, store: Store) -> None:
        """Define WASI preview 1 in a linker, over this state in its store. Once only."""
        store.set_wasi(self._config)
        linker.define_wasi()
        linker.allow_shadowing = True
        host_calls.define(linker, _MODULE, "proc_exit", host_calls.i32_signature(1, 0), self._proc_exit)
        linker.allow_shadowing = False

    def add_to_component(self, linker: ComponentLinker, store: Store, http: bool) -> None:
        """Define WASI 0.2 in a linker for components, over this state in its store, with `wasi:http` if wanted."""
        store.set_wasi(self._config)
        linker.add_wasip2()
        if http:
            store.set_wasi_http()
            linker.add_wasi_http()

    def _proc_exit(self, _: GuestMemory | None, code: int) -> None:
        self.exit_code = code
        raise host_calls.GuestFault(f"exit with code {code}")

    def output(self) -> tuple[bytes, bytes]:
        """What the guest wrote to its standard output and error, if that was captured."""
        if self._stdout is None or self._scratch is None:
            return b"", b""
        self._stdout.flush()
        return (self._scratch / "stdout").read_bytes(), (self._scratch / "stderr").read_bytes()

    def close(self) -> None:
        """Throw away what was captured."""
        if self._stdout is not None:
            self._stdout.close()
            self._stdout = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def __enter__(self) -> Wasi:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
