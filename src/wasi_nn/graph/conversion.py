"""Conversion of tensors whose element types wasi-nn lacks, for graphs whose operator asks for it.

A guest sees each such type as one that holds all of its values, as in this table. A value that would change on the way
there and back is an error: an i32 of 300 for an int8, a u8 of 2 for a bool, an uint64 above the largest i64.

    int8, int16, uint16    i32
    uint32, uint64         i64
    bool                   u8, 0 or 1
    string                 u8, with one dimension more: the bytes of each in UTF-8, filled up with zeros

A string in Python takes far more memory than a short row, and a row may be far longer than its string. So there are two
limits for each compute: the number of strings in all inputs, and the bytes of the rows in all outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.named_tensors import named_outputs
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.python_tensors import exactly
from wasi_nn.graph.runner import ABSENT, Runner, as_runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    from wasi_nn.types import Array

_MAX_STRINGS = 1 << 20
_MAX_ROWS = 64 << 20  # bytes

_AS = {
    "int8": TensorType.I32,
    "int16": TensorType.I32,
    "uint16": TensorType.I32,
    "uint32": TensorType.I64,
    "uint64": TensorType.I64,
    "bool": TensorType.U8,
}


def converted(graph: Graph) -> Graph:
    """The graph with inputs and outputs of wasi-nn's types, where a conversion exists; else itself."""
    known = all(info.type is not None for info in (*graph.inputs, *graph.outputs))
    return graph if known and not graph.outputs_vary else _ConvertedGraph(graph)


class _ConvertedGraph(Graph):
    def __init__(self, graph: Graph) -> None:
        super().__init__(map(_outward_info, graph.inputs), map(_outward_info, graph.outputs), graph.metadata)
        self._graph = graph
        self.encoding, self.runtime, self.device = graph.encoding, graph.runtime, graph.device
        self.outputs_vary, self.keeps_state = graph.outputs_vary, graph.keeps_state

    def configured(self, config: memoryview) -> Graph:
        return converted(self._graph.configured(config))

    def runner(self) -> Runner:
        return _ConvertingRunner(self._graph)


class _ConvertingRunner(Runner):
    """A runner that converts the tensors for the graph's own runner, whose optional methods it has.

    Two of them see bytes before the conversion: it has no `input_buffer`, and `check_input` skips converted inputs.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._run = as_runner(graph.runner())
        self._last: tuple[Sequence[Array] | None, Sequence[Array]] = None, ()

    @property
    def features(self) -> frozenset[str]:
        return self._run.features - {"input_buffer"}

    @property
    def text_sink(self) -> Callable[[bytes], None] | None:
        return self._run.text_sink

    @text_sink.setter
    def text_sink(self, sink: Callable[[bytes], None] | None) -> None:
        self._run.text_sink = sink

    def interrupt(self) -> None:
        self._run.interrupt()

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        ours, theirs = self._last
        results = self._run(self._for_graph(inputs), None if reuse is None else theirs if reuse is ours else ())
        outputs = self._for_guest(results)
        self._last = (outputs, results) if reuse is not None else (None, ())
        return outputs

    def steps(self, inputs: Sequence[Array]) -> Generator[Sequence[Array], None, Sequence[Array] | None]:
        steps: Any = iter(self._run.steps(self._for_graph(inputs)))
        try:
            while True:
                yield self._for_guest(next(steps))
        except StopIteration as end:
            return None if end.value is None else self._for_guest(end.value)
        finally:
            if hasattr(steps, "close"):
                steps.close()

    def check_input(self, index: int, data: memoryview) -> None:
        info = self._graph.inputs[index]
        if _outward_info(info) is info:
            self._run.check_input(index, data)

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        output = self._run.output_before_compute(index, self._for_graph(inputs))
        return None if output is None else _outward(self._graph.outputs[index].name, output)

    def _for_graph(self, inputs: Sequence[Array | None]) -> list[Any]:
        """The inputs in the graph's own types."""
        infos = self._graph.inputs
        pairs = list(zip(infos, inputs, strict=True))
        strings = sum(prod(array.shape[:-1]) for info, array in pairs if _is_text(info) and array is not None)
        if strings > _MAX_STRINGS:
            raise NNError(
                ErrorCode.TOO_LARGE, f"{strings} strings as inputs, of which at most {_MAX_STRINGS} are converted"
            )
        return [None if array is None else _inward(info, array) for info, array in pairs]

    def _for_guest(self, results: Sequence[Array]) -> Sequence[Array]:
        """The outputs in wasi-nn's types."""
        pairs, left = [], _MAX_ROWS
        for name, array in named_outputs(self._graph, results):
            output = _outward(name, array, left)
            left -= output.nbytes if array.dtype == object else 0
            pairs.append((name, output))
        outputs = Outputs.named(pairs)
        if not self._graph.outputs_vary:
            outputs.infos = None
        outputs.context_full = isinstance(results, Outputs) and results.context_full
        return outputs


def _is_text(info: TensorInfo) -> bool:
    return info.dtype == object and "string" in info.native


def _outward_info(info: TensorInfo) -> TensorInfo:
    """The tensor info that a guest sees."""
    if _is_text(info):
        dims = None if info.dims is None else (*info.dims, "?")
        return replace(info, dtype=TensorType.U8.dtype, dims=dims)
    kind = None if info.dtype is None else _AS.get(info.dtype.name)
    return info if kind is None else replace(info, dtype=kind.dtype)


def _inward(info: TensorInfo, array: Array) -> Array:
    """A guest's tensor in the graph's own type."""
    if array is ABSENT or info.dtype is None or array.dtype == info.dtype:
        return array
    if _is_text(info):
        return _texts(info.name, array)
    return exactly(f"input {info.name!r}", array, info.dtype)


def _outward(name: str, array: Array, most: int = _MAX_ROWS) -> Array:
    """A graph's tensor in a type of wasi-nn, strings in at most `most` bytes. Unchanged if no conversion exists."""
    if array.dtype == object:
        return _bytes_of(name, array, most)
    kind = _AS.get(array.dtype.name)
    return array if kind is None else exactly(f"output {name!r}", array, kind.dtype)


def _texts(name: str, array: Array) -> Array:
    """The strings whose bytes are the rows of an array."""
    if array.ndim == 0:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {name!r}: strings need a dimension for their bytes")
    texts: Array = np.empty(array.shape[:-1], object)
    rows = array.reshape(texts.size, array.shape[-1])
    try:
        for place, row in zip(np.ndindex(texts.shape), rows, strict=True):
            texts[place] = row.tobytes().rstrip(b"\0").decode()
    except UnicodeDecodeError as error:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {name!r}: {printable(str(error))}") from error
    return texts


def _bytes_of(name: str, array: Array, most: int) -> Array:
    """An array whose rows are the bytes of strings."""
    items: list[Any] = array.reshape(-1).tolist()
    if not all(isinstance(item, str | bytes) for item in items):
        return array
    _row_size(name, items, most)
    texts = [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else item for item in items]
    if any(text.endswith(b"\0") for text in texts):
        message = f"output {name!r}: a string that ends in a zero can't be told from one that is filled up with them"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    rows = np.zeros((len(texts), _row_size(name, texts, most)), np.uint8)
    for row, text in zip(rows, texts, strict=True):
        row[: len(text)] = np.frombuffer(text, np.uint8)
    return rows.reshape(*array.shape, rows.shape[1])


def _row_size(name: str, texts: Sequence[str | bytes], most: int) -> int:
    """The length of the longest text."""
    longest = max(map(len, texts), default=0)
    if longest * len(texts) > most:
        message = (
            f"output {name!r}: {len(texts)} strings, filled up to {longest} bytes each, are more than the {most} that "
            f"are left of {_MAX_ROWS} for all converted outputs"
        )
        raise NNError(ErrorCode.TOO_LARGE, message)
    return longest
