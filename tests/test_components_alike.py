"""A component behaves alike whether the bytes of its tensors are read in its memory, or pass through the bridge."""

from __future__ import annotations

from random import Random
from typing import Any

import onnx_models
import wasmtime
from hypothesis import given, settings, strategies as st
from random_component import Call, random_calls, random_guest
from raw_component import RawGuest

from wasi_nn import Session


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_random_guests_behave_alike_with_and_without_the_shim(seed: int, extended: bool) -> None:
    random = Random(seed)
    guest = random_guest(random, extended=extended)
    for _ in range(3):
        calls = random_calls(random, onnx_models.relu(["n"]), extended=extended)
        assert outcome(guest, calls, direct=True) == outcome(guest, calls, direct=False)


def outcome(wasm: bytes, calls: list[Call], *, direct: bool) -> list[Any]:
    """The results of all calls, the tensors that are read, the trap that ends the calls, and what the session holds."""
    seen: list[Any] = []
    with Session() as session:
        try:
            guest = RawGuest(session, direct=direct, wasm=wasm)
            guest.make_the_host_look()
            make_calls(guest, calls, seen)
        except wasmtime.WasmtimeError as trap:
            seen.append(str(trap).splitlines()[-1])
        return [*seen, *(session.used(name) for name in ("tensor_bytes", "model_bytes", "graphs"))]


def make_calls(guest: RawGuest, calls: list[Call], seen: list[Any]) -> None:
    tensors: list[int] = []
    for name, *arguments in calls:
        if name in ("data", "drop", "strings"):
            if not tensors:
                continue
            place = arguments[0] % len(tensors)
            arguments[0] = tensors.pop(place) if name == "drop" else tensors[place]
        result = guest.call(name, *arguments)
        seen.append((name, result))
        if name == "new":
            tensors.append(result)
        elif name == "strings-new" and guest.call("get", 64) & 0xFF == 0:
            tensors.append(guest.call("get", 68))
        elif name == "data":
            at, size = (guest.call("get", arguments[1] + offset) for offset in (0, 4))
            seen.append((at, size, [guest.call("get", at + offset) for offset in range(0, min(size, 256) - 3, 4)]))
