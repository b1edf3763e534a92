"""The part of the bridge's memory where it and the host leave each other the inputs and outputs of a compute.

`guests/bridge/kept.h` describes the request, the answer and the slots of the tensors that stay in the bridge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wasi_nn.abi.component.numbers import NUMBER_OF_TYPE, TENSOR_TYPES
from wasi_nn.session.tensor import Tensor

if TYPE_CHECKING:
    from wasi_nn.types import Array

# As in kept.h. Sizes are in bytes.
KEPT = 1 << 31
NO_SLOT = KEPT | (KEPT - 1)
SLOTS, SLOT_SIZE, MOST_DIMS = 64, 4096, 12
SLOT_HEAD = 4 * (4 + MOST_DIMS)
MOST_DATA = SLOT_SIZE - SLOT_HEAD
AREA, MOST_AT_HOST = 2048, 64

_ONE, _TWO, _THREE = (Struct(f"<{count}I") for count in (1, 2, 3))


class Input(NamedTuple):
    """An input of a compute. It stays in the bridge, or the host holds it."""

    name: str
    tensor: Tensor | None
    """A tensor that stays in the bridge, with a copy of its data."""
    slot: memoryview
    """The data of such a tensor, in the bridge's memory."""
    handle: int
    """The handle of a tensor that the host holds; else 0."""


class Output(NamedTuple):
    """An output of a compute."""

    name: str
    tensor: Tensor
    slot: int | None
    """The slot that it gets in the bridge; None for a tensor that the host will hold."""


class Answer(NamedTuple):
    """An answer that was given."""

    content: bytes
    places: Sequence[int]
    """Where in it the handles of the outputs without a slot are."""


Copies = Sequence[tuple[memoryview, memoryview]]
"""Pieces of memory, each with what is copied into it."""


class Exchange:
    """The exchange and the slots in the bridge's memory. `part` gives the memory at a place, in so many bytes."""

    def __init__(self, part: Callable[[int, int], memoryview], exchange: int, slots: int) -> None:
        self.request, self.answer = part(exchange, AREA), part(exchange + AREA, AREA)
        self.handles = part(exchange + 2 * AREA, _ONE.size * MOST_AT_HOST)
        """The handles of those inputs of a request that the host holds, as u32s."""
        self.slots = [part(slots + SLOT_SIZE * slot + SLOT_HEAD, MOST_DATA) for slot in range(SLOTS)]
        """The data of each slot."""

    def inputs(self, request: bytes) -> list[Input]:
        """The inputs that a request names."""
        count, offered = _TWO.unpack_from(request)
        at, inputs = _TWO.size + _ONE.size * offered, []
        handles = (handle for (handle,) in _ONE.iter_unpack(self.handles))
        for _ in range(count):
            number, length = _TWO.unpack_from(request, at)
            at += _TWO.size
            name = request[at : at + length].decode()
            at += _padded(length)
            if number == NO_SLOT:
                inputs.append(Input(name, None, memoryview(b""), next(handles)))
                continue
            kind, size, rank = _THREE.unpack_from(request, at)
            at += _THREE.size
            slot = self.slots[number & ~KEPT][:size]
            dims: Array = np.frombuffer(request[at : at + _ONE.size * rank], np.uint8)
            at += dims.nbytes
            inputs.append(Input(name, Tensor(TENSOR_TYPES[kind], np.array(slot), dims), slot, 0))
        return inputs

    def copies(self, outputs: Sequence[Output]) -> Copies:
        """The copies that put the data of outputs into their slots."""
        placed = [(tensor.data.data, slot) for _, tensor, slot in outputs if slot is not None]
        return [(self.slots[slot][: len(data)], data) for data, slot in placed]

    def write(self, outputs: Sequence[Output], handles: Sequence[int]) -> Answer:
        """Put outputs into their slots, and write the answer that tells of all outputs, for which there must be room;
        returns the answer. `handles` are those of the outputs without a slot."""
        given = iter(handles)
        answer = bytearray(_ONE.pack(len(outputs)))
        places = []
        for name, tensor, slot in outputs:
            encoded = _encoded(name)
            if slot is None:
                places.append(len(answer))
            number = next(given) if slot is None else KEPT | slot
            answer += _THREE.pack(number, len(tensor.data), len(encoded))
            answer += encoded.ljust(_padded(len(encoded)), b"\0")
            if slot is not None:
                answer += _TWO.pack(NUMBER_OF_TYPE[tensor.type], len(tensor.encoded_dims) // _ONE.size)
                answer += tensor.encoded_dims.data
        self.answer[: len(answer)] = answer
        for to, data in self.copies(outputs):
            to[:] = data
        return Answer(bytes(answer), places)

    def write_again(self, answer: Answer, handles: Sequence[int]) -> None:
        """Write an answer with other handles."""
        self.answer[: len(answer.content)] = answer.content
        for place, handle in zip(answer.places, handles, strict=True):
            _ONE.pack_into(self.answer, place, handle)


def fit_answer(outputs: Sequence[Output]) -> bool:
    """Whether there is room for the answer that tells of these outputs."""
    size = _ONE.size
    for name, tensor, slot in outputs:
        size += _THREE.size + _padded(len(_encoded(name)))
        size += 0 if slot is None else _TWO.size + len(tensor.encoded_dims)
    return size <= AREA


def placed(request: bytes, tensors: Sequence[tuple[str, Tensor]]) -> list[Output]:
    """The outputs for these tensors by name, with those slots that a request offers."""
    _, offered = _TWO.unpack_from(request)
    slots = iter(Struct(f"<{offered}I").unpack_from(request, _TWO.size))
    return [Output(name, tensor, next(slots, None) if _is_small(tensor) else None) for name, tensor in tensors]


def _is_small(tensor: Tensor) -> bool:
    fits = len(tensor.data) <= MOST_DATA and len(tensor.encoded_dims) <= _ONE.size * MOST_DIMS
    return fits and not tensor.holds_strings  # which the bridge doesn't know


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "replace")


def _padded(size: int) -> int:
    return (size + 3) & ~3
