"""A guest component that passes any numbers to the lowered functions of wasi:nn, valid or not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import wasmtime
from wasmtime import Engine, Store
from wasmtime.component import Component, Linker

from wasi_nn.abi.component import compose, host_functions, linking
from wasi_nn.session.session import Session

_ENGINE = Engine()
_VERSION = "0.2.0-rc-2024-10-28"

TENSOR_INSTANCE = f"""(import "wasi:nn/tensor@{_VERSION}" (instance $tensors
    (export "tensor" (type $r (sub resource)))
    (type $d0 (list u32)) (export "tensor-dimensions" (type $d (eq $d0)))
    (type $k0 (enum "FP16" "FP32" "FP64" "BF16" "U8" "I32" "I64")) (export "tensor-type" (type $k (eq $k0)))
    (type $b0 (list u8)) (export "tensor-data" (type $b (eq $b0)))
    (export "[constructor]tensor" (func (param "dimensions" $d) (param "ty" $k) (param "data" $b) (result (own $r))))
    (export "[method]tensor.data" (func (param "self" (borrow $r)) (result $b)))))"""

GRAPH_INSTANCE = f"""(import "wasi:nn/errors@{_VERSION}" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $error))
  (import "wasi:nn/graph@{_VERSION}" (instance $graphs
    (export "graph" (type $g (sub resource)))
    (alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))
    (type $n0 (enum "openvino" "onnx" "tensorflow" "pytorch" "tensorflowlite" "ggml" "autodetect"))
    (export "graph-encoding" (type $n (eq $n0)))
    (type $t0 (enum "cpu" "gpu" "tpu")) (export "execution-target" (type $t (eq $t0)))
    (type $l0 (list u8)) (export "graph-builder" (type $l (eq $l0)))
    (export "load" (func (param "builder" (list $l)) (param "encoding" $n) (param "target" $t)
      (result (result (own $g) (error (own $e))))))))"""

STRINGS_INSTANCE = """(alias export $tensors "tensor" (type $a-tensor))
  (import "wasi-nn:ext/byte-strings@0.1.0" (instance $strings
    (alias outer 1 $a-tensor (type $t0)) (export "tensor" (type $t (eq $t0)))
    (alias outer 1 $error (type $e0)) (export "error" (type $e (eq $e0)))
    (type $d0 (list u32)) (export "tensor-dimensions" (type $d (eq $d0)))
    (type $l (list (list u8)))
    (export "new" (func (param "dimensions" $d) (param "strings" $l) (result (result (own $t) (error (own $e))))))
    (export "strings" (func (param "tensor" (borrow $t)) (result (result $l (error (own $e))))))))"""
"""An interface of wasi-nn:ext, behind the other two."""

_MEMORY = """(core module $table-module (table (export "functions") 2 funcref))
  (core instance $table (instantiate $table-module))
  (core module $memory-module
    (import "table" "functions" (table 2 funcref))
    (type $drop (func (param i32)))
    (type $new (func (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") {pages})
    (global $next (mut i32) (i32.const 4096))
    (global $growth (mut i32) (i32.const 0))
    (global $answer (mut i32) (i32.const -1))
    (global $reentry (mut i32) (i32.const 0))
    (global $replacement (mut i32) (i32.const -1))
    (func (export "set-next") (param i32) (global.set $next (local.get 0)))
    (func (export "set-growth") (param i32) (global.set $growth (local.get 0)))
    (func (export "set-answer") (param i32) (global.set $answer (local.get 0)))
    (func (export "set-reentry") (param i32) (global.set $reentry (local.get 0)))
    (func (export "set-replacement") (param i32) (global.set $replacement (local.get 0)))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (if (global.get $reentry) (then
        (call_indirect (type $drop) (global.get $reentry) (i32.const 0))
        (if (i32.ne (global.get $replacement) (i32.const -1)) (then
          (drop (call_indirect (type $new)
            (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0) (global.get $replacement) (i32.const 1)))))))
      (drop (memory.grow (global.get $growth)))
      (if (i32.ne (global.get $answer) (i32.const -1)) (then (return (global.get $answer))))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16)))))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "get") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "put") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2))))
  (core instance $m (instantiate $memory-module (with "table" (instance $table))))"""


def memory(pages: int) -> str:
    """A memory with some pages, and the functions that a test calls on it.

    The function for the engine's memory, `realloc`, can drop a tensor meanwhile (`set-reentry`), and make another one
    of some bytes in its place (`set-replacement`).
    """
    return _MEMORY.replace("{pages}", str(pages))


MEMORY_FUNCTIONS = {
    "set-next": (1, False),
    "set-growth": (1, False),
    "set-answer": (1, False),
    "set-reentry": (1, False),
    "set-replacement": (1, False),
    "grow": (1, True),
    "get": (1, True),
    "put": (2, False),
    "fill": (3, False),
}
NN_FUNCTIONS = {"new": (5, True), "data": (2, False), "load": (5, False), "drop": (1, False)}
"""The functions that are called from `caller`, with the number of their parameters, and whether they have a result."""

STRINGS_FUNCTIONS = {"strings-new": (5, False), "strings": (2, False)}
"""Those of `STRINGS_INSTANCE`."""

_LOWERED = """
  (alias export $tensors "tensor" (type $tensor))
  (core func $new (canon lower (func $tensors "[constructor]tensor") (memory (core memory $m "memory"))))
  (core func $data (canon lower (func $tensors "[method]tensor.data")
    (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
  (core func $load (canon lower (func $graphs "load")
    (memory (core memory $m "memory")) (realloc (core func $m "realloc"))))
  (core func $drop (canon resource.drop $tensor))"""


def lifted(name: str, core: str, parameters: int, result: bool) -> str:
    """A core function as an exported function of numbers."""
    named = " ".join(f'(param "p{index}" u32)' for index in range(parameters))
    return f'(func (export "{name}") {named} {"(result u32)" if result else ""} (canon lift (core func {core})))'


def caller(lowered: Mapping[str, tuple[int, bool]] = NN_FUNCTIONS) -> str:
    """A core module that passes its arguments on, so that the lowered functions are called from a core module."""
    imports, functions = [], []
    for name, (parameters, result) in lowered.items():
        kinds = f"(param {'i32 ' * parameters}) {'(result i32)' if result else ''}"
        arguments = " ".join(f"(local.get {index})" for index in range(parameters))
        imports.append(f'(import "nn" "{name}" (func ${name} {kinds}))')
        functions.append(f'(func (export "{name}") {kinds} (call ${name} {arguments}))')
    exports = " ".join(f'(export "{name}" (func ${name}))' for name in lowered)
    return f"""(core module $caller-module {"".join(imports)} {"".join(functions)})
  (core instance $caller (instantiate $caller-module (with "nn" (instance {exports}))))
  (core module $table-filler
    (import "table" "functions" (table 2 funcref)) (import "nn" "drop" (func $drop (param i32)))
    (import "nn" "new" (func $new (param i32 i32 i32 i32 i32) (result i32)))
    (elem (i32.const 0) $drop $new))
  (core instance (instantiate $table-filler (with "table" (instance $table)) (with "nn" (instance $caller))))"""


@cache
def raw_guest(pages: int = 1, after: str = "") -> bytes:
    """The guest as a binary. Its memory has some pages, and more items may come at its end."""
    lifts = [lifted(name, f'$m "{name}"', *kind) for name, kind in MEMORY_FUNCTIONS.items()]
    lifts += [lifted(name, f'$caller "{name}"', *kind) for name, kind in NN_FUNCTIONS.items()]
    parts = (TENSOR_INSTANCE, GRAPH_INSTANCE, memory(pages), _LOWERED, caller(), *lifts, after)
    return bytes(wasmtime.wat2wasm(f"(component {' '.join(parts)})"))


@cache
def _compiled(wasm: bytes, direct: bool, engine: Engine) -> Component:
    return Component(engine, compose.wrap_component(wasm, direct=direct))


class RawGuest:
    """An instance of the guest: `call` calls an exported function with numbers."""

    def __init__(self, session: Session, *, direct: bool, wasm: bytes | None = None, engine: Engine = _ENGINE) -> None:
        linker, component = Linker(engine), _compiled(raw_guest() if wasm is None else wasm, direct, engine)
        imports = component.type.imports(engine)
        self.memories = linking.add_functions(linker, session, host_functions.define, imports).memories
        self.store = Store(engine)
        self.instance = linker.instantiate(self.store, component)

    def call(self, name: str, *arguments: int) -> Any:
        function = self.instance.get_func(self.store, name)
        assert function is not None, name
        return function(self.store, *arguments)

    def make_the_host_look(self) -> None:
        """Make tensors until the shim asks the host to find the memory."""
        for _ in range(64):
            self.call("drop", self.call("new", 0, 0, 4, 0, 0))

    def read(self, tensor: int, result: int = 64) -> bytes:
        """The data of a tensor, with the result at an address."""
        self.call("data", tensor, result)
        at, size = self.call("get", result), self.call("get", result + 4)
        return b"".join(self.call("get", at + offset).to_bytes(4, "little") for offset in range(0, size, 4))[:size]
