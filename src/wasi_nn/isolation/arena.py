"""Outputs in memory that a worker shares with the host: written there, and read here without belief.

The worker says once where in the memory outputs lie. As long as the next ones have the same dtypes and dims they lie
there too, and a runner that can write into arrays of its caller's has written them there itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.graph import Graph, output_infos
from wasi_nn.isolation.channel import Message, SharedMemory
from wasi_nn.isolation.described import Misleading, described_texts, dims_of, dtype_of, texts_of
from wasi_nn.runner import EndedEarly, NamedOutputs
from wasi_nn.types import ErrorCode, NNError

if TYPE_CHECKING:
    from wasi_nn.types import Array

ALIGNMENT = 64
SAME: Message = {"same": True}
"""What is said of outputs that lie where the last ones did."""


class OutputWriter:
    """The worker's side. `room` gives it memory of a number of bytes, in place of what it had."""

    def __init__(self, graph: Graph, room: Callable[[int], memoryview]) -> None:
        self._graph = graph
        self._room = room
        self._memory = memoryview(b"")
        self._places: Sequence[Array] | None = None
        self.reuse: Sequence[Array] = ()
        """What a runner may write the next outputs into; see `wasi_nn.runner.Runner`."""

    def told(self, outputs: Sequence[Array]) -> Message:
        """Have outputs in the memory; gives what the host is told of them."""
        if self._places is not None and _lie_like(outputs, self._places):
            self._write(outputs, self._places)
            return SAME
        sizes = [0 if _is_text(array) else array.nbytes for array in outputs]
        starts = layout(sizes)
        if starts[-1] > len(self._memory):
            self._memory = self._room(starts[-1])
        places = [self._place(array, start) for array, start in zip(outputs, starts[:-1], strict=True)]
        self._write(outputs, places)
        answer: Message = {"outputs": list(map(_described, outputs, starts))}
        if isinstance(outputs, NamedOutputs):
            answer["names"] = [info.name for info in output_infos(self._graph, outputs)]
        if isinstance(outputs, EndedEarly):
            answer["full"] = True
        is_plain = len(answer) == 1 and not any(map(_is_text, outputs))
        self._places = places if is_plain else None
        self.reuse = places if is_plain else outputs
        return answer

    def _place(self, array: Array, start: int) -> Array:
        if _is_text(array):
            return array
        if not array.nbytes:
            return np.empty(array.shape, array.dtype)
        place: Array = np.frombuffer(self._memory, array.dtype, array.size, start)
        return place.reshape(array.shape)

    def _write(self, outputs: Sequence[Array], places: Sequence[Array]) -> None:
        for array, place in zip(outputs, places, strict=True):
            if array is not place:
                np.copyto(place, array)


def _lie_like(outputs: Sequence[Array], places: Sequence[Array]) -> bool:
    return (
        not isinstance(outputs, NamedOutputs | EndedEarly)
        and len(outputs) == len(places)
        and all(
            array is place or (array.dtype == place.dtype and array.shape == place.shape)
            for array, place in zip(outputs, places, strict=True)
        )
    )


def _described(array: Array, start: int) -> list[Any]:
    if _is_text(array):
        return ["object", list(array.shape), described_texts(array)]
    return [array.dtype.name, list(array.shape), start]


def _is_text(array: Array) -> bool:
    return array.dtype.kind in "OSU"


def layout(sizes: Sequence[int]) -> list[int]:
    """Where arrays of these sizes in bytes lie one behind the other, and where the last ends."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    return starts


class OutputReader:
    """The host's side. No memory that it gives is larger than `most` bytes."""

    def __init__(self, graph: Graph, most: int) -> None:
        self._graph = graph
        self._most = most
        self._memory: SharedMemory | None = None
        self._last: list[Array] | None = None

    def give_room(self, size: Any) -> SharedMemory:
        """New memory, of the size that the worker asks for. Raises `Misleading`, and `NNError` with `too-large`."""
        if not isinstance(size, int) or size <= 0:
            raise Misleading(f"outputs of {size!r:.40} bytes")
        if size > self._most:
            text = f"the outputs are {size} bytes, and an isolated graph gives at most {self._most} (Isolation.memory)"
            raise NNError(ErrorCode.TOO_LARGE, text)
        self._memory, self._last = SharedMemory(size), None
        return self._memory

    def read(self, answer: Message, count: int | None = None) -> list[Array]:
        """The outputs that an answer tells of, over the memory; `count` of them, or as many as the graph has.

        Raises `Misleading` for an answer that can't be.
        """
        last, self._last = self._last, None
        if answer.get("same"):
            if last is None:
                raise Misleading("outputs like the last ones, which there aren't")
            arrays = last
        else:
            try:
                arrays = [self._output(*said) for said in answer["outputs"]]
                if self._graph.outputs_vary:
                    return NamedOutputs(zip(map(str, answer["names"]), arrays, strict=True))
            except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
                raise Misleading(str(error)) from error
        if len(arrays) != (len(self._graph.outputs) if count is None else count):
            raise Misleading(f"{len(arrays)} outputs")
        if answer.get("full"):
            return EndedEarly(arrays)
        self._last = arrays
        return arrays

    def _output(self, dtype: str, dims: Any, where: Any) -> Array:
        if dtype == "object":
            return texts_of(where, dims)
        kind, shape = dtype_of(dtype), dims_of(dims)
        count = prod(shape)
        if not count:
            return np.empty(shape, kind)
        if self._memory is None or not isinstance(where, int) or where < 0:
            raise Misleading("an output that is nowhere")
        view: Array = np.frombuffer(self._memory.bytes, kind, count, where)
        return view.reshape(shape)


def tells_of_outputs(answer: Message) -> bool:
    """Whether an answer has outputs for `OutputReader.read`."""
    return "outputs" in answer or "same" in answer


def copies(outputs: list[Array]) -> list[Array]:
    """The same outputs, in memory of this process alone."""
    made = [array if array.dtype == object else array.copy() for array in outputs]
    if isinstance(outputs, NamedOutputs | EndedEarly):
        outputs[:] = made
        return outputs
    return made
