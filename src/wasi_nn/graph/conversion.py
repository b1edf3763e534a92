"""Conversion of tensors whose element types wasi-nn lacks, for graphs whose operator asks for it.

A guest sees each such type as one that holds all of its values (`wasi_nn.graph.guest_types`). A value that would change
on the way there and back is an error: an i32 of 300 for an int8, a u8 of 2 for a bool, an uint64 above the largest i64.

A string in Python takes far more memory than a short row, and a row may be far longer than its string. So there are two
limits for each compute: the number of strings in all inputs, and the bytes of the rows in all outputs. A map takes more
memory than a row too, so that the second limit holds for rows of maps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, printable
from wasi_nn.graph.byte_strings import as_bytes
from wasi_nn.graph.graph import Graph
from wasi_nn.graph.guest_types import NUMBERS, guest_info, holds_texts, is_maps, is_text
from wasi_nn.graph.named_tensors import output_infos
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.python_tensors import cast_exactly
from wasi_nn.graph.runner import ABSENT, Runner, as_runner
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.graph.variables import OtherVariables, Variables
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    from wasi_nn.types import Array

_MAX_STRINGS = 1 << 20
_MAX_ROWS = 64 << 20  # bytes


def converted(graph: Graph) -> Graph:
    """The graph with inputs and outputs of wasi-nn's types, where a conversion exists; else itself."""
    known = all(info.type is not None for info in (*graph.inputs, *graph.outputs))
    return graph if known and not graph.outputs_vary else _ConvertedGraph(graph)


class _ConvertedGraph(Graph):
    def __init__(self, graph: Graph) -> None:
        keys = {
            f"keys of {info.name}": json.dumps(info.keys, ensure_ascii=False) for info in graph.outputs if info.keys
        }
        super().__init__(map(guest_info, graph.inputs), map(guest_info, graph.outputs), graph.metadata | keys)
        self._graph = graph
        self.take_after(graph)

    def configured(self, config: memoryview) -> Graph:
        return converted(self._graph.configured(config))

    def variables(self) -> Variables:
        return _ConvertedVariables(self._graph.variables())

    def close(self) -> None:
        super().close()
        self._graph.close()

    def runner(self) -> Runner:
        return _ConvertingRunner(self._graph)


class _ConvertedVariables(OtherVariables):
    """A set of variables whose graphs convert their tensors. The variables themselves have their own types."""

    def __init__(self, variables: Variables) -> None:
        super().__init__(variables)
        self.nbytes = variables.nbytes

    def graph(self, signature: str) -> Graph:
        return converted(super().graph(signature))


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

    def know_deadline(self, deadline: Callable[[], float]) -> None:
        self._run.know_deadline(deadline)

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
        if guest_info(info) is info:
            self._run.check_input(index, data)

    def output_before_compute(self, index: int, inputs: Sequence[Array | None]) -> Array | None:
        output = self._run.output_before_compute(index, self._for_graph(inputs))
        return None if output is None else _outward(self._graph.outputs[index], output)

    def _for_graph(self, inputs: Sequence[Array | None]) -> list[Any]:
        """The inputs in the graph's own types."""
        infos = self._graph.inputs
        pairs = list(zip(infos, inputs, strict=True))
        strings = sum(prod(array.shape[:-1]) for info, array in pairs if is_text(info) and array is not None)
        if strings > _MAX_STRINGS:
            raise NNError(
                ErrorCode.TOO_LARGE, f"the inputs have {strings} strings: at most {_MAX_STRINGS} are converted"
            )
        return [None if array is None else _inward(info, array) for info, array in pairs]

    def _for_guest(self, results: Sequence[Array]) -> Sequence[Array]:
        """The outputs in wasi-nn's types."""
        pairs, left = [], _MAX_ROWS
        for info, array in zip(output_infos(self._graph, results), results, strict=True):
            output = _outward(info, array, left)
            left -= output.nbytes if array.dtype == object else 0
            pairs.append((info.name, output))
        outputs = Outputs.named(pairs)
        if not self._graph.outputs_vary:
            outputs.infos = None
        outputs.context_full = isinstance(results, Outputs) and results.context_full
        return outputs


def _inward(info: TensorInfo, array: Array) -> Array:
    """A guest's tensor in the graph's own type."""
    if array is ABSENT or info.dtype is None or array.dtype == info.dtype:
        return array
    if is_text(info):
        return _texts(info.name, array)
    return cast_exactly(f"input {info.name!r}", array, info.dtype)


def _outward(info: TensorInfo, array: Array, most: int = _MAX_ROWS) -> Array:
    """A graph's tensor in a type of wasi-nn, strings and maps in at most `most` bytes. Unchanged if no conversion
    exists."""
    if array.dtype == object:
        return _values_of(info, array.item(), most) if is_maps(info) else _bytes_of(info.name, array, most)
    kind = NUMBERS.get(array.dtype.name)
    return array if kind is None else cast_exactly(f"output {info.name!r}", array, kind.dtype)


def _texts(name: str, array: Array) -> Array:
    """The strings whose bytes are the rows of an array."""
    if array.ndim == 0:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {name!r} takes strings: their bytes need a dimension")
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
    if not holds_texts(array):
        return array
    _row_size(name, array.reshape(-1).tolist(), most)
    texts = as_bytes(array)
    if any(text.endswith(b"\0") for text in texts):
        message = f"output {name!r} has a string that ends in a zero byte, which a guest can't tell from filling zeros"
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
            f"output {name!r} has {len(texts)} strings, of {longest} bytes each with filling zeros: {most} of the "
            f"{_MAX_ROWS} bytes for all converted outputs are left"
        )
        raise NNError(ErrorCode.TOO_LARGE, message)
    return longest


def _values_of(info: TensorInfo, maps: Sequence[Mapping[Any, float]], most: int) -> Array:
    """An array whose rows are the values of maps, in the order of their keys."""
    keys: Sequence[Any] = info.keys if info.keys is not None else sorted(maps[0]) if maps else ()
    dtype, dims = TensorType.F32.dtype, (len(maps), len(keys))
    if prod(dims) * dtype.itemsize > most:
        message = f"{most} of the {_MAX_ROWS} bytes for all converted outputs are left"
        raise NNError(ErrorCode.TOO_LARGE, f"output {info.name!r} has {len(maps)} maps of {len(keys)} keys: {message}")
    known = set(keys)
    if any(each.keys() != known for each in maps):
        message = f"output {info.name!r} has maps with different keys, which can't be rows of one tensor"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    return np.fromiter((each[key] for each in maps for key in keys), dtype, prod(dims)).reshape(dims)
