"""Guests and sessions that end in every way without releasing anything: contexts, tensors, a text that is half read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import pack

import core_guest
import ggml_models
import numpy as np
import onnx_models
import pytest
from driven_component import Driven, GuestFailed

import wasi_nn
from wasi_nn import Dialect, GuestError, GuestTrap, Host
from wasi_nn.abi.core.dialects import ABIS

INFER = Path(__file__).parents[2] / "guests" / "component" / "infer.wasm"

_NAME, _TENSOR, _DIMS, _DATA = 1024, 64, 128, 4096
_GRAPHS, _CONTEXTS = (8, 12), (16, 20)


def graphs() -> dict[str, wasi_nn.Graph]:
    """The graphs that the guests use: `relu`, and `text`, a language model."""
    options = {"threads": 1}
    return {
        "relu": wasi_nn.load(onnx_models.relu(), options=options),
        "text": wasi_nn.load(ggml_models.tiny(), options=options),
    }


def _guest(name: str, data: bytes, kind: int, rest: str, dialect: Dialect = Dialect.SPEC) -> bytes:
    """A core guest that loads a graph twice, makes two contexts, sets an input of each, and then runs `rest`. It exits
    with 99 if a call fails."""
    dims = [len(data) // 4] if kind == core_guest.F32 else [1]
    record = pack("<IIB3xII", _DIMS, len(dims), kind, _DATA, len(data))
    pieces = {_NAME: name.encode(), _TENSOR: record, _DIMS: pack("<I", *dims), _DATA: data}
    data_segments = "".join(f'(data (i32.const {at}) "{_escaped(piece)}")' for at, piece in pieces.items())
    calls = [f"load_by_name (i32.const {_NAME}) (i32.const {len(name)}) (i32.const {out})" for out in _GRAPHS]
    for graph, context in zip(_GRAPHS, _CONTEXTS, strict=True):
        calls.append(f"init_execution_context (i32.load (i32.const {graph})) (i32.const {context})")
        calls.append(f"set_input (i32.load (i32.const {context})) (i32.const 0) (i32.const {_TENSOR})")
    body = "".join(map(must, calls)) + rest
    exit_ = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
    module = core_guest.wat(rest=f'{data_segments} (func (export "_start") {body})', abi=ABIS[dialect])
    return module.replace("(module", f"(module {exit_}", 1).encode()


def _escaped(content: bytes) -> str:
    return "".join(f"\\{byte:02x}" for byte in content)


def must(call: str) -> str:
    """Code for a call that ends the guest if it fails."""
    return f"(if (call ${call}) (then (call $exit (i32.const 99))))"


_COMPUTE = must(f"compute (i32.load (i32.const {_CONTEXTS[0]}))")
_PIECE = must(f"compute_single (i32.load (i32.const {_CONTEXTS[0]}))")
_X = np.arange(4, dtype=np.float32).tobytes()


def _relu(rest: str) -> bytes:
    return _guest("relu", _X, core_guest.F32, _COMPUTE + rest)


_RETURNS, _EXITS, _TRAPS = _relu(""), _relu("(call $exit (i32.const 3))"), _relu("unreachable")
_READS_HALF = _guest("text", b"hello", core_guest.U8, _PIECE + _PIECE, Dialect.WASMEDGE)
_OUT_OF_BOUNDS = _relu("(drop (i32.load (i32.const -4)))")


def returns(host: Host) -> None:
    """A core guest returns from `_start`."""
    assert host.run(_RETURNS).exit_code == 0


def exits(host: Host) -> None:
    """A core guest ends with `proc_exit`."""
    assert host.run(_EXITS, capture_output=True).exit_code == 3


def traps(host: Host) -> None:
    """A core guest traps."""
    for guest in (_TRAPS, _OUT_OF_BOUNDS):
        with pytest.raises(GuestTrap):
            host.run(guest)


def reads_half_of_a_text(host: Host) -> None:
    """A core guest ends in the middle of a sequence."""
    assert host.run(_READS_HALF, dialect="wasmedge").exit_code == 0


def is_no_guest(host: Host) -> None:
    """The guest can't be run."""
    for wasm in (b"\0asm\1\0\0\0\xff", b'(module (import "a" "b" (func)) (func (export "_start")))', b"(module)"):
        with pytest.raises(GuestError):
            host.run(wasm)


def infers_as_a_component(host: Host) -> None:
    """A component returns from `run`."""
    result = host.run(INFER, ["--graph", "relu", "x=FP32:4:1,2,3,-4"], capture_output=True)
    assert result.stdout == b"y: FP32 [4]: 1, 2, 3, 0\n"


def fails_as_a_component(host: Host) -> None:
    """A component gets an error and exits."""
    assert host.run(INFER, ["--graph", "nope"], capture_output=True).exit_code == 1


def leaves_a_component_open(host: Host) -> None:
    """A component in the embedder's own Store is dropped with all that it has."""
    with host.session() as session:
        guest = Driven("0.2.0-rc-2024-10-28", session)
        tensor = guest.tensor(np.arange(4, dtype=np.float32))
        context = guest.init_execution_context(guest.load_by_name("relu"))
        guest.compute_named(context, [("x", tensor)])
        with pytest.raises(GuestFailed, match="not-found"):
            guest.load_by_name("nope")


def leaves_a_session_open(host: Host) -> None:
    """A session that loads a model from Python isn't closed."""
    session = host.session()
    builder = memoryview(onnx_models.relu())
    graph = session.load([builder], wasi_nn.GraphEncoding.ONNX, wasi_nn.ExecutionTarget.CPU)
    context = session.context(session.init_execution_context(graph))
    context.set_input("x", np.ones(4, np.float32))
    context.compute()
    text = session.context(session.init_execution_context(session.load_by_name("text")))
    text.set_input(0, np.frombuffer(b"hello", np.uint8))
    text.compute_single()


UNTIDY: tuple[Callable[[Host], None], ...] = (
    returns,
    exits,
    traps,
    reads_half_of_a_text,
    is_no_guest,
    infers_as_a_component,
    fails_as_a_component,
    leaves_a_component_open,
    leaves_a_session_open,
)
