"""Batches: which graphs can compute several requests at once, and how their tensors are joined and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.runner import ABSENT
from wasi_nn.types import dims_text

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.serving.request import NamedArrays
    from wasi_nn.types import Array


@dataclass(frozen=True)
class Batching:
    """How a graph computes in batches: of at most so many rows, for which its first request waits so many seconds at
    most, also where a turn is free."""

    max_rows: int
    max_delay: float = 0.0


class NotByRows(NNError):
    """The outputs of a batch don't have its rows, so that the graph can't compute in batches at all."""


Kind = tuple[tuple[object, ...] | None, ...]
"""What the inputs of requests have in common that can be joined: the type and the other dims of each; None for an input
that isn't given."""


def require_batchable(graph: Graph) -> None:
    """Raise `NNError` with `unsupported-operation` for a graph that can't compute in batches: the first dim of each
    input and output must vary, or the model mustn't tell it."""
    why = None
    if graph.keeps_state:
        why = "it keeps state from one compute to the next"
    elif not graph.inputs:
        why = "it has no inputs"
    for kind, infos in (("input", graph.inputs), ("output", graph.outputs)):
        why = why or next((f"{kind} {info.name!r} {fault}" for info in infos if (fault := _fault(info))), None)
    if why:
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"the graph can't compute in batches (max-batch): {why}")


def _fault(info: TensorInfo) -> str | None:
    if info.opaque:
        return "is bytes, which have no rows"
    if info.dims is None or (info.dims and isinstance(info.dims[0], str)):
        return None
    return f"has the dims {info.dims_text}, whose first one doesn't vary" if info.dims else "has no dims"


def kind_of(arrays: Sequence[Array]) -> Kind:
    """What inputs, in the graph's order, need to have in common to be joined."""
    return tuple(None if array is ABSENT else (array.dtype, array.shape[1:]) for array in arrays)


def rows_of(graph: Graph, arrays: Sequence[Array]) -> int:
    """The rows of a request: the first dim of all of its inputs. Raises `NNError` with `invalid-argument` for inputs of
    different first dims, or without dims."""
    given = [(info.name, array) for info, array in zip(graph.inputs, arrays, strict=True) if array is not ABSENT]
    for name, array in given:
        if not array.shape:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {name!r} has no dims; the first one is the rows'")
    for name, array in given[1:]:
        if len(array) != len(given[0][1]):
            message = f"input {given[0][0]!r} has {len(given[0][1])} rows, and input {name!r} {len(array)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"{message}: the first dim of all inputs is the rows'")
    return len(given[0][1]) if given else 0


def joined(parts: Sequence[Sequence[Array]]) -> Sequence[Array]:
    """The inputs of a batch, from those of its requests, which are of one kind."""
    if len(parts) == 1:
        return parts[0]
    return [arrays[0] if arrays[0] is ABSENT else np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def split(outputs: NamedArrays, rows: Sequence[int]) -> list[NamedArrays]:
    """The outputs of each request of a batch, which have so many rows: views of the batch's outputs. Raises
    `NotByRows`."""
    total = sum(rows)
    for name, array in outputs:
        if not array.shape or len(array) != total:
            message = f"output {name!r} of a batch of {total} rows has the dims {dims_text(array.shape)}"
            text = f"{message}: its first dim must be the rows'; this model can't compute in batches (max-batch)"
            raise NotByRows(ErrorCode.RUNTIME_ERROR, text)
    ends = np.cumsum(rows).tolist()
    starts = [0, *ends]
    return [[(name, array[start:end]) for name, array in outputs] for start, end in zip(starts, ends, strict=False)]
