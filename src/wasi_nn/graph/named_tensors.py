"""The inputs and outputs of a graph as whole lists, by name, and the bytes of an output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wasi_nn.arguments import wrong_argument
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.fitting import byte_view, checked, find, is_as_declared
from wasi_nn.graph.guest_types import guest_info, holds_texts, no_such_tensors
from wasi_nn.graph.outputs import Outputs
from wasi_nn.graph.python_tensors import as_declared
from wasi_nn.graph.runner import ABSENT
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.graph.graph import Graph
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.types import Array


def unsupported_output(info: TensorInfo, array: Array) -> NNError:
    """The error for an output of a type that wasi-nn lacks."""
    actual = replace(info, dtype=array.dtype)
    convertible = guest_info(actual) is not actual or (array.dtype == object and holds_texts(array))
    reason = no_such_tensors(actual.type_name, is_convertible=convertible)
    return NNError(ErrorCode.UNSUPPORTED_OPERATION, f"output {info.name!r} is {actual.type_name}; {reason}")


def output_view(info: TensorInfo, array: Array) -> memoryview:
    """The bytes of an output, as `byte_view` gives them. Raises `NNError` with `unsupported-operation` if wasi-nn lacks
    the output's type."""
    if TensorType.of(array.dtype) is None:
        raise unsupported_output(info, array)
    return byte_view(array)


def output_infos(graph: Graph, outputs: Sequence[Array]) -> Sequence[TensorInfo]:
    """The tensor infos of these outputs of a graph."""
    infos = outputs.infos if isinstance(outputs, Outputs) else None
    return graph.outputs if infos is None else infos


def named_outputs(graph: Graph, outputs: Sequence[Array]) -> list[tuple[str, Array]]:
    """The outputs of a graph, each with its name."""
    return [(info.name, array) for info, array in zip(output_infos(graph, outputs), outputs, strict=True)]


class OutputsByName(dict[str, "Array"]):
    """The outputs of a graph by name. An alias that only one output has finds it too."""

    def __init__(self, graph: Graph, outputs: Sequence[Array]) -> None:
        super().__init__(named_outputs(graph, outputs))
        self._infos = output_infos(graph, outputs)

    def __missing__(self, key: str) -> Array:
        aliased = [info.name for info in self._infos if key in info.aliases]
        if len(aliased) != 1:
            raise KeyError(key)
        return self[aliased[0]]


def input_pairs(graph: Graph, inputs: Any) -> Sequence[tuple[str, ArrayLike]]:
    """Pairs of name and tensor: from a mapping, from such pairs, or from the tensor for the only input that must be
    set. Raises `NNError` with `invalid-argument` for anything else."""
    if type(inputs) is not list:  # a list is usual, and the other tests take long
        if isinstance(inputs, Mapping):
            return list(inputs.items())
        if isinstance(inputs, Iterator):
            inputs = list(inputs)
    if isinstance(inputs, list | tuple) and all(map(_is_pair, inputs)):
        return inputs
    required = [info.name for info in graph.inputs if not info.optional]
    if len(required) == 1 and inputs is not None:
        return [(required[0], inputs)]
    example = ", ".join(f"{name!r}: ..." for name in required[:3])
    raise wrong_argument("inputs", f"a mapping of names to tensors, such as {{{example}}}", inputs)


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)


def named_inputs(graph: Graph, named: Iterable[tuple[str, ArrayLike]]) -> list[Array]:
    """The arrays for a graph's inputs, in the graph's order, from pairs of name and tensor. Raises `NNError` with
    `invalid-argument` for an input that is missing, given twice, or doesn't fit."""
    arrays: list[Array | None] = [None] * len(graph.inputs)
    for name, tensor in named:
        index = find(graph.inputs, name, "input")
        info = graph.inputs[index]
        if arrays[index] is not None:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {info.name!r} is given twice")
        given: Any = tensor
        arrays[index] = given if is_as_declared(info, given) else checked(info, as_declared(info, given))
    missing = []
    for index, info in enumerate(graph.inputs):
        if arrays[index] is None:
            if info.optional:
                arrays[index] = ABSENT
            else:
                missing.append(info.name)
    if missing:
        noun = "input" if len(missing) == 1 else "inputs"
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"no value is given for the {noun} {', '.join(map(repr, missing))}")
    return arrays  # type: ignore[return-value]
