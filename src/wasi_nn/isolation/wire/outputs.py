"""Outputs in shared memory: the worker writes them, and the host reads them and checks every number.

The worker tells the host once where the outputs lie. While the next outputs have the same element types and dimensions
they lie there too. A runner that can write into given arrays writes them there itself, so that nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import NNError
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.guest_types import holds_texts
from wasi_nn.graph.named_tensors import output_infos, unsupported_output
from wasi_nn.graph.outputs import Outputs
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
"""The message about outputs that lie where the last ones did."""


class OutputWriter:
    """The worker's side. `room` asks the host for a number of bytes of shared memory, in place of the memory before."""

    def __init__(self, graph: Graph, room: Callable[[int], memoryview]) -> None:
        self._graph = graph
        self._room = room
        self._memory = memoryview(b"")
        self._places: Sequence[Array] | None = None
        self.reuse: Sequence[Array] = ()
        """The `reuse` argument of the runner's next call."""

    def told(self, outputs: Sequence[Array], infos: Sequence[TensorInfo] | None = None) -> Message:
        """Write outputs into the memory; gives the message about them for the host. Without `infos`, they are all
        outputs of the graph. Raises `NNError` with `unsupported-operation` for an output that is no tensor."""
        if self._places is not None and _lie_like(outputs, self._places):
            self._write(outputs, self._places)
            return SAME
        for info, array in zip(infos or output_infos(self._graph, outputs), outputs, strict=False):
            if _is_text(array) and not holds_texts(array):
                raise unsupported_output(info, array)  # only tensors cross to the host
        contents = [np.frombuffer(encoded_texts(array), np.uint8) if _is_text(array) else array for array in outputs]
        texts = [
            (array.size, content.nbytes) for array, content in zip(outputs, contents, strict=True) if _is_text(array)
        ]
        require_few_texts(sum(count for count, _ in texts), sum(size for _, size in texts))
        starts = layout([content.nbytes for content in contents])
        if starts[-1] > len(self._memory):
            self._memory = memoryview(b"")  # released first, since the host counts all memory that the worker maps
            self._places, self.reuse = None, ()
            self._memory = self._room(starts[-1])
        places = [self._place(content, start) for content, start in zip(contents, starts[:-1], strict=True)]
        self._write(contents, places)
        answer: Message = {"outputs": list(map(_described, outputs, contents, starts)), **_facts(outputs)}
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
        not _facts(outputs)
        and len(outputs) == len(places)
        and all(
            array is place or (array.dtype == place.dtype and array.shape == place.shape)
            for array, place in zip(outputs, places, strict=True)
        )
    )


def _facts(outputs: Sequence[Array]) -> Message:
    """The fields of a message that `Outputs` have beside their arrays."""
    if not isinstance(outputs, Outputs):
        return {}
    names = {} if outputs.infos is None else {"names": [info.name for info in outputs.infos]}
    return {**names, "full": True} if outputs.context_full else names


def _described(array: Array, content: Array, start: int) -> list[Any]:
    if _is_text(array):
        return ["object", list(array.shape), start, content.nbytes]
    return [array.dtype.name, list(array.shape), start]


def _is_text(array: Array) -> bool:
    return array.dtype.kind in "OSU"


def layout(sizes: Sequence[int]) -> list[int]:
    """The offsets of arrays of these sizes in bytes, one behind the other, and the end of the last one."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // ALIGNMENT) * ALIGNMENT)
    return starts


def declared_outputs(graph: Graph) -> Sequence[TensorInfo] | None:
    """The outputs that a graph declares; None if it declares none, and names them when it gives them."""
    return None if graph.outputs_vary else graph.outputs


class OutputReader:
    """The host's side. It takes memory from the worker's share (`WorkerMemory`). `declared` are the outputs that the
    graph declares; None: each answer names its own."""

    def __init__(self, declared: Sequence[TensorInfo] | None, memory: WorkerMemory) -> None:
        self._declared = declared
        self._worker = memory
        self._memory: SharedMemory | None = None
        self._last: list[Array] | None = None
        self._read_to = self._texts = self._text_bytes = 0  # of the answer that is read: its end so far, its strings

    def give_room(self, size: Any) -> SharedMemory:
        """New memory of the size that the worker asks for, in place of the memory before. Raises
        `InvalidWorkerMessage`, and `NNError` as `WorkerMemory.take` does."""
        size_before = 0 if self._memory is None else self._memory.size
        if not isinstance(size, int) or size <= size_before:
            raise InvalidWorkerMessage(f"outputs that need {size!r:.40} bytes, although they have {size_before}")
        self._memory = self._last = None
        self._memory = self._worker.take(size)
        return self._memory

    def read(self, answer: Message, index: int | None = None) -> list[Array]:
        """The outputs of an answer, as arrays over the shared memory: the output of this index alone, or all.

        Raises `InvalidWorkerMessage` for an answer that can't be true.
        """
        last, self._last = self._last, None
        if answer.get("same"):
            if last is None:
                raise InvalidWorkerMessage("outputs like the last ones, although there are no last ones")
            arrays = last
        else:
            self._read_to = self._texts = self._text_bytes = 0
            try:
                arrays = [self._output(*described) for described in answer["outputs"]]
                if self._declared is None:
                    return Outputs.named(zip(map(str, answer["names"]), arrays, strict=True))
            except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
                raise InvalidWorkerMessage(str(error)) from error
        declared = self._declared or ()
        self._require_declared(arrays, declared if index is None else declared[index : index + 1])
        if answer.get("full"):
            return Outputs(arrays, context_full=True)
        self._last = arrays
        return arrays

    @staticmethod
    def _require_declared(arrays: Sequence[Array], infos: Sequence[TensorInfo]) -> None:
        if len(arrays) != len(infos):
            raise InvalidWorkerMessage(f"{len(arrays)} outputs, although the graph declares {len(infos)}")
        for array, info in zip(arrays, infos, strict=True):
            if info.dtype is not None and array.dtype != info.dtype:
                raise InvalidWorkerMessage(f"an output of {array.dtype}, although it is declared as {info.dtype}")

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
            return texts_of(bytes(content), shape)  # a copy: the worker could change the memory meanwhile
        nbytes = prod(shape) * kind.itemsize
        if not nbytes:
            return np.empty(shape, kind)
        view: Array = np.frombuffer(self._content(start, nbytes), kind)
        return view.reshape(shape)

    def _content(self, start: Any, size: Any) -> memoryview:
        """The bytes of an output. Outputs lie one behind the other: if they could overlap, a small memory would be many
        large outputs, which the host might copy."""
        if isinstance(start, int) and isinstance(size, int) and start >= self._read_to and size >= 0:
            content = memoryview(b"") if self._memory is None else self._memory.bytes[start : start + size]
            if len(content) == size:
                self._read_to = start + size
                return content
        raise InvalidWorkerMessage(
            f"an output at {start!r:.40} of {size!r:.40} bytes, outside of its part of the memory"
        )


def tells_of_outputs(answer: Message) -> bool:
    """Whether an answer has outputs, for `OutputReader.read`."""
    return "outputs" in answer or "same" in answer


def copies(outputs: list[Array]) -> list[Array]:
    """Copies of outputs, in memory of this process alone."""
    made = [array if array.dtype == object else array.copy() for array in outputs]
    if isinstance(outputs, Outputs):
        outputs[:] = made
        return outputs
    return made
