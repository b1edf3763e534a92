"""Compiling guests, within time and memory.

The engine can't be stopped while it compiles, and a few kilobytes of WebAssembly can keep it busy for minutes and have
it fill the machine's memory: nested loops with many values cost the third power of their size. So this process compiles
only what can't take long. All else is compiled by `wasi_nn.guests.compile_process`, which is ended when its
time is over.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from math import inf
from typing import TYPE_CHECKING, Any, BinaryIO

from wasmtime import Engine, Module, WasmtimeError

from wasi_nn.abi.wasm_binary import MODULE_HEADER, Malformed, WasmReader, sections
from wasi_nn.errors import GuestError, one_line, printable
from wasi_nn.guests.compile_process import INVALID
from wasi_nn.limits.limits import Limits, how_to_raise
from wasi_nn.process import environment
from wasi_nn.process.processes import how_it_ended, python_command
from wasi_nn.process.watchdog import Alarm

if TYPE_CHECKING:
    from wasi_nn.guests.compile_cache import Compiled
    from wasi_nn.guests.runs import Work

_TYPES, _CODE = 1, 10  # sections of a module
# What a module may have to be compiled here. Found by trial: the worst of such modules takes half a second.
_SMALL = 2**16  # bytes, and local variables
_EASY = 10**9  # the sum over all functions of size * size * (size + size of all types)

_OUT_OF_MEMORY = "memory allocation of"


def compile_guest(
    kind: type[Compiled], engine: Engine, wasm: bytes, name: str, limits: Limits, fuel: bool, work: Work[Any]
) -> Compiled:
    """Compile WebAssembly for an engine of `wasi_nn.guests.engine.new_engine`, which counts `fuel` or doesn't, as a
    part of some work.

    Raises `GuestError` if that takes more time or memory than the limits give it, and `WasmtimeError` for what is not
    WebAssembly.
    """
    if kind is Module and is_easy(wasm):
        return kind(engine, wasm)
    with _file() as source, _file() as target:
        source.write(wasm)
        source.seek(0)
        _compile_apart(kind, source, target, name, limits, fuel, work)
        target.seek(0)
        return kind.deserialize(engine, target.read())


def is_easy(module: bytes) -> bool:
    """Whether a core module can't take the engine long to compile, whatever is in it."""
    if len(module) > _SMALL:
        return False
    types = difficulty = variables = 0
    try:
        for number, body in sections(module, MODULE_HEADER):
            if number == _TYPES:
                types = len(body)
            elif number == _CODE:
                reader = WasmReader(body)
                for _ in range(reader.u32()):
                    function = reader.take(reader.u32())
                    variables += _variables(function)
                    difficulty += len(function) ** 2 * (len(function) + types)
    except Malformed:
        return False
    return difficulty <= _EASY and variables <= _SMALL


def _variables(function: memoryview) -> int:
    """How many local variables a function declares."""
    reader = WasmReader(function)
    count = 0
    for _ in range(reader.u32()):
        count += reader.u32()
        if reader.byte() in (0x63, 0x64):  # a reference, to a type that follows
            reader.u32()
    return count


def _file() -> BinaryIO:
    """A file without a name; in memory, where there are such files."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("wasi-nn"), "w+b")
    return tempfile.TemporaryFile()


def _compile_apart(
    kind: type[Compiled], source: BinaryIO, target: BinaryIO, name: str, limits: Limits, fuel: bool, work: Work[Any]
) -> None:
    """Have another process compile the one file into the other."""
    files = (source.fileno(), target.fileno())
    memory = limits.compile_memory or 0
    command = python_command(
        "wasi_nn.guests.compile_process:main", kind.__name__, int(fuel), memory, *files, os.getpid()
    )
    source.flush()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment.for_process(),
            pass_fds=files,
        )
    except OSError as error:
        raise GuestError(f"{name} can't be compiled: no process can be started for it ({one_line(error)})") from error
    assert process.stdout is not None
    until = inf if limits.compile_time is None else time.monotonic() + limits.compile_time
    alarm = Alarm()
    with process:
        alarm.set(min(until, work.until), process.kill)
        try:
            with work.stopped_by(lambda _: process.kill()):
                said = process.stdout.read().decode("utf-8", "replace")
                exit_code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            is_late = alarm.clear()
            alarm.discard()
    if exit_code == INVALID:
        raise WasmtimeError(said)
    if exit_code != 0:
        passed = "compile_time" if time.monotonic() >= until else "run_time"
        reason = _over_limit(limits, passed, "took longer than", " s") if is_late else _why(exit_code, said, limits)
        raise GuestError(f"{name} can't be compiled: {reason}")


def _why(exit_code: int, said: str, limits: Limits) -> str:
    """Why the process that compiles ended without a result."""
    if _OUT_OF_MEMORY in said and limits.compile_memory is not None:
        return _over_limit(limits, "compile_memory", "took more than", " bytes of memory")
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("note: ")]
    failed = f"the compiler failed: {how_it_ended(exit_code)}"
    if lines:
        failed += f"; it said: {printable(lines[-1])[:200]}"
    if limits.compile_memory is not None:
        how = how_to_raise(limits, "compile_memory")
        failed += f"; it may have needed more memory than {limits.compile_memory} bytes ({how})"
    return failed


def _over_limit(limits: Limits, name: str, what: str, unit: str) -> str:
    value = getattr(limits, name)
    return f"it {what} {value if isinstance(value, int) else f'{value:g}'}{unit} ({how_to_raise(limits, name)})"
