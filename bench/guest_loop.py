"""A guest that does nothing but inference: text, with a loop of `set_input`, `compute` and `get_output`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import core_guest

import wasi_nn

LOOP = """
    (func (export "infer") (param $context i32) (param $times i32) (result i32) (local $errno i32)
      (loop $again
        (local.set $errno (i32.or (local.get $errno)
          (call $set_input (local.get $context) (i32.const 0) (i32.const 64))))
        (local.set $errno (i32.or (local.get $errno) (call $compute (local.get $context))))
        (local.set $errno (i32.or (local.get $errno)
          (call $get_output (local.get $context) (i32.const 0) (i32.const 4096) (i32.const 8192) (i32.const 8))))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br_if $again (local.get $times)))
      (local.get $errno))"""


def through_a_guest(graph: wasi_nn.Graph, tensor: Any, times: int) -> tuple[Callable[[], None], Callable[[int], bytes]]:
    """What runs a graph through a guest, so many times a call; and what reads so many bytes of its first output."""
    guest = core_guest.CoreGuest(wasi_nn.Session({"net": graph}), core_guest.wat(rest=LOOP))
    context = guest.context("net")
    guest.put_tensor(tensor.shape, core_guest.F32, tensor.tobytes())
    infer, store = guest.exports["infer"], guest.store

    def run() -> None:
        assert infer(store, context, times) == core_guest.SUCCESS  # type: ignore[operator]

    return run, lambda size: guest.read(4096, size)
