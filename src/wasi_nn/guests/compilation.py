"""Compiles guests within limits on time and memory.

The engine can't be stopped while it compiles, and a few kilobytes of WebAssembly can keep it busy for minutes and fill
the machine's memory: nested loops with many values cost the third power of their size. So this process compiles only
modules that can't take long. Other guests are compiled by `wasi_nn.guests.compile_process` in a process that is killed
when its time is over.
"""

from __future__ import annotations

import os
import time
from math import inf
from typing import TYPE_CHECKING, Any, BinaryIO

from wasmtime import Engine, Module, WasmtimeError, _ffi as ffi

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
# The limits of a module that this process compiles. Found by trial: the worst such module takes half a second.
_SMALL = 2**16  # bytes, and local variables
_EASY = 10**9  # the sum over all functions of size * size * (size + size of all types)

_OUT_OF_MEMORY = "memory allocation of"  # in the message of the engine, before a number of bytes


def compile_guest(
    kind: type[Compiled],
    engine: Engine,
    wasm: bytes,
    name: str,
    limits: Limits,
    fuel: bool,
    work: Work[Any],
    begun: float,
) -> Compiled:
    """Compile WebAssembly, as a part of the task `work`. Stopping the task stops the compilation.

    `engine` is one of `new_engine`, with the same `fuel`. The limit on time counts from `begun` on
    (`time.monotonic`).

    Raises `GuestError` if the compilation takes more time or memory than the limits allow, and `WasmtimeError` if the
    bytes are not WebAssembly.
    """
    if kind is Module and is_easy(wasm):
        return kind(engine, wasm)
    with _unnamed_file() as source, _unnamed_file() as target:
        source.write(wasm)
        source.seek(0)
        _compile_in_process(kind, source, target, name, limits, fuel, work, begun)
        target.seek(0)
        return kind.deserialize(engine, target.read())


def is_easy(module: bytes) -> bool:
    """Whether the engine surely compiles a core module quickly, even a malicious one."""
    if len(module) > _SMALL:
        return False
    types_size = difficulty = variables = 0
    try:
        for number, body in sections(module, MODULE_HEADER):
            if number == _TYPES:
                types_size = len(body)
            elif number == _CODE:
                reader = WasmReader(body)
                for _ in range(reader.u32()):
                    function = reader.take(reader.u32())
                    variables += _variables(function)
                    difficulty += len(function) ** 2 * (len(function) + types_size)
    except Malformed:
        return False
    return difficulty <= _EASY and variables <= _SMALL


def _variables(function: memoryview) -> int:
    """The number of local variables that a function declares."""
    reader = WasmReader(function)
    count = 0
    for _ in range(reader.u32()):
        count += reader.u32()
        if reader.byte() in (0x63, 0x64):  # a reference; the number of its type follows
            reader.u32()
    return count


def _unnamed_file() -> BinaryIO:
    """A file without a name, which is in memory where the operating system has such files."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("wasi-nn"), "w+b")
    import tempfile

    return tempfile.TemporaryFile()


def _compile_in_process(
    kind: type[Compiled],
    source: BinaryIO,
    target: BinaryIO,
    name: str,
    limits: Limits,
    fuel: bool,
    work: Work[Any],
    begun: float,
) -> None:
    """Compile the file `source` into the file `target`, in another process."""
    import subprocess

    files = (source.fileno(), target.fileno())
    memory = limits.compile_memory or 0
    program, of = "wasi_nn.guests.compile_process:main", kind.__name__.lower()
    command = python_command(program, ffi.filename, of, int(fuel), memory, *files, os.getpid())
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
        raise GuestError(
            f"{name} can't be compiled: no process can be started for the compiler ({one_line(error)})"
        ) from error
    assert process.stdout is not None
    until = inf if limits.compile_time is None else begun + limits.compile_time
    alarm = Alarm()
    with process:
        alarm.set(min(until, work.until), process.kill)
        try:
            with work.stopped_by(lambda _: process.kill()):
                output = process.stdout.read().decode("utf-8", "replace")
                exit_code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            is_late = alarm.clear()
            alarm.discard()
    if exit_code == INVALID:
        raise WasmtimeError(output)
    if exit_code != 0:
        if is_late:
            exceeded = "compile_time" if time.monotonic() >= until else "run_time"
            reason = _over_limit(limits, exceeded, "took longer than", " s")
        else:
            reason = _why_it_failed(exit_code, output, limits)
        raise GuestError(f"{name} can't be compiled: {reason}")


def _why_it_failed(exit_code: int, output: str, limits: Limits) -> str:
    """Why the process that compiles has ended without a result, in words."""
    if _OUT_OF_MEMORY in output and limits.compile_memory is not None:
        return _over_limit(limits, "compile_memory", "took more than", " bytes of memory")
    lines = [line for line in output.splitlines() if line.strip() and not line.startswith("note: ")]
    reason = f"the compiler failed: {how_it_ended(exit_code)}"
    if lines:
        reason += f"; its last message: {printable(lines[-1])[:200]}"
    if limits.compile_memory is not None:
        how = how_to_raise(limits, "compile_memory")
        reason += f"; it may have needed more memory than {limits.compile_memory} bytes ({how})"
    return reason


def _over_limit(limits: Limits, name: str, verb: str, unit: str) -> str:
    value = getattr(limits, name)
    return f"it {verb} {value if isinstance(value, int) else f'{value:g}'}{unit} ({how_to_raise(limits, name)})"
