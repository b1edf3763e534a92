"""Small commands as guests, as core modules and as components, and code for their `_start`."""

from __future__ import annotations

from wasi_nn.abi.core import spec

WASI = "wasi_snapshot_preview1"
EMPTY = b'(module (func (export "_start")))'
LOOPS = b'(module (func (export "_start") (loop $again (br $again))))'
# A guest that computes on the graph "slow" for ever.
COMPUTES = b"""(module
    (import "wasi_ephemeral_nn" "load_by_name" (func $load (param i32 i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "init_execution_context" (func $init (param i32 i32) (result i32)))
    (import "wasi_ephemeral_nn" "compute" (func $compute (param i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 400) "slow")
    (func (export "_start")
      (drop (call $load (i32.const 400) (i32.const 4) (i32.const 0)))
      (drop (call $init (i32.load (i32.const 0)) (i32.const 4)))
      (loop $again (drop (call $compute (i32.load (i32.const 4)))) (br $again))))"""

# Bodies of `_start`.
LOOKS_UP_NET = """
    (i32.store (i32.const 100) (i32.const 0x74656e)) ;; "net"
    (call $exit (call $lookup (i32.const 100) (i32.const 3) (i32.const 0)))"""
ECHOES_STDIN = """
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 64))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"""


def command(body: str, imports: str = "", memory: str = '(memory (export "memory") 1)') -> str:
    """The WebAssembly text of a guest whose `_start` is `body`."""
    exit_ = f'(import "{WASI}" "proc_exit" (func $exit (param i32)))'
    write = f'(import "{WASI}" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
    read = f'(import "{WASI}" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))'
    lookup = f'(import "{spec.MODULE}" "load_by_name" (func $lookup (param i32 i32 i32) (result i32)))'
    return f'(module {exit_} {write} {read} {lookup} {imports} {memory} (func (export "_start") {body}))'


OBEYS = command(
    f"""{ECHOES_STDIN}
    (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const {ord("L")})) (then (loop $again (br $again))))
    (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const {ord("T")})) (then (unreachable)))
    (if (i32.eq (i32.load8_u (i32.const 64)) (i32.const {ord("E")})) (then (call $exit (i32.const 3))))"""
).encode()
"""A guest that writes what it reads, and then loops for L, traps for T, and exits with 3 for E."""


def says(text: str, stream: int = 1) -> str:
    """Code that writes `text` to a standard stream."""
    stores = "".join(f"(i32.store8 (i32.const {64 + n}) (i32.const {byte}))" for n, byte in enumerate(text.encode()))
    record = f"(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const {len(text)}))"
    call = f"(drop (call $write (i32.const {stream}) (i32.const 0) (i32.const 1) (i32.const 8)))"
    return stores + record + call


def component_command(body: str, version: str = "0.2.0", imports: str = "", given: str = "") -> bytes:
    """A component whose `wasi:cli/run` is the core function `run` of a module."""
    return f"""(component {imports}
      (core module $m {body})
      (core instance $i (instantiate $m {given}))
      (func $run (result (result)) (canon lift (core func $i "run")))
      (instance $interface (export "run" (func $run)))
      (export "wasi:cli/run@{version}" (instance $interface)))""".encode()
