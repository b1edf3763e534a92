"""Outputs in memory that a worker shares with the host: written there, and read here without belief.

The worker says once where in the memory outputs lie. As long as the next ones have the same dtypes and dims they lie
there too, and a runner that can write into arrays of its caller's has written them there itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.named_tensors import output_infos
from wasi_nn.graph.runner import EndedEarly, NamedOutputs
from wasi_nn.isolation.wire.descriptions import (
    InvalidWorkerMessage,
    dims_of,
    dtype_of,
    encoded_texts,
    require_few_texts,
    texts_of,
)
from wasi_nn.isolation.wire.protocol import Message

if TYPE_CHECKING:
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.isolation.shared_memory import SharedMemory, WorkerMemory
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
        """What a runner may write the next outputs into; see `wasi_nn.graph.runner.Runner`."""

    def told(self, outputs: Sequence[Array]) -> Message:
        """Have outputs in the memory; gives what the host is told of them."""
        if self._places is not None and _lie_like(outputs, self._places):
            self._write(outputs, self._places)
            return SAME
        contents = [np.frombuffer(encoded_texts(array), np.uint8) if _is_text(array) else array for array in outputs]
        texts = [
            (array.size, content.nbytes) for array, content in zip(outputs, contents, strict=True) if _is_text(array)
        ]
        require_few_texts(sum(count for count, _ in texts), sum(size for _, size in texts))
        starts = layout([content.nbytes for content in contents])
        if starts[-1] > len(self._memory):
            self._memory = memoryview(b"")  # before there is more: the host counts what the worker may still have
            self._places, self.reuse = None, ()
            self._memory = self._room(starts[-1])
        places = [self._place(content, start) for content, start in zip(contents, starts[:-1], strict=True)]
        self._write(contents, places)
        answer: Message = {"outputs": list(map(_described, outputs, contents, starts))}
        if isinstance(outputs, NamedOutputs):
            answer["names"] = [info.name for info in output_infos(self._graph, outputs)]
        if isinstance(outputs, EndedEarly):
            answer["full"] = True
        is_plain = len(answer) == 1 and not any(map(_is_text, outputs))
        self._places = places if is_plain else None
        self.reuse = places if is_plain else outputs
        return answer

    def _place(self, array: Array, start: int) -> Array:
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


def _described(array: Array, content: Array, start: int) -> list[Any]:
    if _is_text(array):
        return ["object", list(array.shape), start, content.nbytes]
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
    """The host's side, which has memory from what its worker may have."""

    def __init__(self, graph: Graph, memory: WorkerMemory) -> None:
        self._graph = graph
        self._worker = memory
        self._memory: SharedMemory | None = None
        self._last: list[Array] | None = None
        self._read_to = self._texts = self._text_bytes = 0  # of an answer: where it was read to, and its strings

    def give_room(self, size: Any) -> SharedMemory:
        """Memory in place of what there was, of the size that the worker asks for. Raises `InvalidWorkerMessage`, and `NNError`
        as `WorkerMemory.take` does."""
        least = 0 if self._memory is None else self._memory.size
        if not isinstance(size, int) or size <= least:
            raise InvalidWorkerMessage(f"outputs of {size!r:.40} bytes, with room for {least}")
        self._memory = self._last = None
        self._memory = self._worker.take(size)
        return self._memory

    def read(self, answer: Message, index: int | None = None) -> list[Array]:
        """The outputs that an answer tells of, over the memory: that of this index alone, or all that the graph has.

        Raises `InvalidWorkerMessage` for an answer that can't be.
        """
        last, self._last = self._last, None
        if answer.get("same"):
            if last is None:
                raise InvalidWorkerMessage("outputs like the last ones, which there aren't")
            arrays = last
        else:
            self._read_to = self._texts = self._text_bytes = 0
            try:
                arrays = [self._output(*said) for said in answer["outputs"]]
                if self._graph.outputs_vary:
                    return NamedOutputs(zip(map(str, answer["names"]), arrays, strict=True))
            except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
                raise InvalidWorkerMessage(str(error)) from error
        self._require_declared(arrays, self._graph.outputs if index is None else self._graph.outputs[index : index + 1])
        if answer.get("full"):
            return EndedEarly(arrays)
        self._last = arrays
        return arrays

    @staticmethod
    def _require_declared(arrays: Sequence[Array], infos: Sequence[TensorInfo]) -> None:
        if len(arrays) != len(infos):
            raise InvalidWorkerMessage(f"{len(arrays)} outputs")
        for array, info in zip(arrays, infos, strict=True):
            if info.dtype is not None and array.dtype != info.dtype:
                raise InvalidWorkerMessage(f"an output of {array.dtype}, which is {info.dtype}")

    def _output(self, dtype: str, dims: Any, start: Any, size: Any = None) -> Array:
        kind, shape = dtype_of(dtype), dims_of(dims)
        if kind.hasobject:
            content = self._content(start, size)
            self._texts += prod(shape)
            self._text_bytes += len(content)
            try:
                require_few_texts(self._texts, self._text_bytes)
            except NNError as error:
                raise InvalidWorkerMessage(str(error)) from error
            return texts_of(bytes(content), shape)  # a copy, which the worker can't change while it is looked at
        nbytes = prod(shape) * kind.itemsize
        if not nbytes:
            return np.empty(shape, kind)
        view: Array = np.frombuffer(self._content(start, nbytes), kind)
        return view.reshape(shape)

    def _content(self, start: Any, size: Any) -> memoryview:
        """The bytes of an output, which lies behind those before it: the host may copy all, and must not copy more than
        the worker has memory for."""
        if not isinstance(start, int) or not isinstance(size, int) or start < self._read_to or size < 0:
            raise InvalidWorkerMessage("an output that is nowhere")
        content = memoryview(b"") if self._memory is None else self._memory.bytes[start : start + size]
        if len(content) < size:
            raise InvalidWorkerMessage("an output that is nowhere")
        self._read_to = start + size
        return content


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
