"""Guests that only make inferences: a loop of `set_input`, `compute` and `get_output`, or a loop over pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import core_guest
import wasmtime

import wasi_nn
from wasi_nn.abi.core.dialects import ABIS
from wasi_nn.abi.core.spec import CoreAbi

LOOP = """
    (func (export "infer") (param $context i32) (param $times i32) (result i32) (local $errno i32)
      (loop $again
        (local.set $errno (i32.or (local.get $errno)
          (call $set_input (local.get $context) (i32.const 0) (i32.const 64))))
        (local.set $errno (i32.or (local.get $errno) (call $compute (local.get $context))))
        (local.set $errno (i32.or (local.get $errno)
          (call $get_output (local.get $context) (i32.const 0) (i32.const {at}) (i32.const {room}) (i32.const 8))))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br_if $again (local.get $times)))
      (local.get $errno))"""


def through_a_guest(
    graph: wasi_nn.Graph, tensor: Any, times: int, *, room: int = 8192
) -> tuple[Callable[[], None], Callable[[int], bytes]]:
    """Two functions: one makes `times` inferences in a guest, the other reads so many bytes of the first output. The
    guest has room for `room` bytes of the output."""
    at = core_guest.DATA + tensor.nbytes + 65_536
    loop = LOOP.replace("{at}", str(at)).replace("{room}", str(room))
    memory = f'(memory (export "memory") {(at + room) // 65_536 + 1})'
    store = wasmtime.Store()
    linker = wasmtime.Linker(store.engine)
    session = wasi_nn.Session({"net": graph})
    abi = CoreAbi(session)
    abi.add_to_linker(linker)
    guest = core_guest.CoreGuest(session, core_guest.wat(memory, loop), store, linker=linker)
    abi.callers.are_one = True  # as in `Host.run`
    context = guest.context("net")
    guest.put_tensor(tensor.shape, core_guest.F32, tensor.tobytes())
    infer = guest.exports["infer"]

    def run() -> None:
        assert infer(store, context, times) == core_guest.SUCCESS  # type: ignore[operator]

    return run, lambda size: guest.read(at, size)


DESCRIPTIONS = """
    (func (export "ask") (param $graph i32) (param $times i32) (result i32) (local $errno i32)
      (loop $again
        (drop (call $describe (local.get $graph) (i32.const {at}) (i32.const 0) (i32.const 8)))
        (local.set $errno (i32.or (local.get $errno)
          (call $describe (local.get $graph) (i32.const {at}) (i32.load (i32.const 8)) (i32.const 8))))
        (local.set $times (i32.sub (local.get $times) (i32.const 1)))
        (br_if $again (local.get $times)))
      (local.get $errno))"""


def descriptions_in_a_guest(graph: wasi_nn.Graph, times: int) -> Callable[[], None]:
    """A function that has a guest ask for the description of a graph `times` times, each time for its size first."""
    loop = DESCRIPTIONS.replace("{at}", str(core_guest.DATA))
    guest = core_guest.CoreGuest(wasi_nn.Session({"net": graph}), core_guest.wat(rest=loop, extensions=["describe"]))
    assert guest.load_by_name("net") == core_guest.SUCCESS
    handle, ask = guest.u32(), guest.exports["ask"]

    def run() -> None:
        assert ask(guest.store, handle, times) == core_guest.SUCCESS  # type: ignore[operator]

    return run


PIECES = """
    (func (export "write") (param $context i32) (param $at i32) (result i32) (local $end i32)
      (local.set $end (local.get $at))
      (block $ended
        (loop $again
          (br_if $ended (call $compute_single (local.get $context)))
          (drop (call $get_output_single
            (local.get $context) (i32.const 0) (local.get $end) (i32.const 4096) (i32.const 8)))
          (local.set $end (i32.add (local.get $end) (i32.load (i32.const 8))))
          (br_if $again (i32.const 1))))
      (i32.sub (local.get $end) (local.get $at)))"""


def pieces_through_a_guest(graph: wasi_nn.Graph, prompt: bytes) -> tuple[Callable[[], str], Callable[[], None]]:
    """Two functions: one generates a text in a guest piece by piece and returns it, the other makes the first piece."""
    abi = ABIS[wasi_nn.Dialect.WASMEDGE]
    guest = core_guest.CoreGuest(
        wasi_nn.Session({"net": graph}), core_guest.wat(rest=PIECES, abi=abi), dialect="wasmedge"
    )
    context = guest.context("net")
    write: Any = guest.exports["write"]

    def text() -> str:
        assert guest.set_input(context, 0, [1], core_guest.U8, prompt) == core_guest.SUCCESS
        size = write(guest.store, context, core_guest.DATA)
        return guest.read(core_guest.DATA, size).decode()

    def first_piece() -> None:
        assert guest.set_input(context, 0, [1], core_guest.U8, prompt) == core_guest.SUCCESS
        assert guest.call("compute_single", context) == core_guest.SUCCESS
        assert guest.call("fini_single", context) == core_guest.SUCCESS

    return text, first_piece
