"""Checks of a guest's answers against the outputs that its operator declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wasi_nn.errors import shortened
from wasi_nn.oip.datatypes import datatype_of, datatype_of_output, shape_of
from wasi_nn.types import dims_text

if TYPE_CHECKING:
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.serving.guests.guest_graph import GuestGraph
    from wasi_nn.types import Array


def checked_outputs(graph: GuestGraph, outputs: Mapping[str, Array]) -> list[Array]:
    """The outputs of an answer in the order in which they are declared. Raises `NNError` with `runtime-error` unless
    the answer has all of them, with the declared types and shapes, and no others."""
    declared = {info.name for info in graph.outputs}
    missing = [info.name for info in graph.outputs if info.name not in outputs]
    if missing:
        raise graph.failed(f"its answer lacks output {missing[0]!r}; it has {_listed(outputs)}")
    more = [name for name in outputs if name not in declared]
    if more:
        raise graph.failed(f"its answer has output {shortened(more[0])!r}, which isn't declared")
    for info in graph.outputs:
        _require_fit(graph, info, outputs[info.name])
    return [outputs[info.name] for info in graph.outputs]


def _require_fit(graph: GuestGraph, info: TensorInfo, array: Array) -> None:
    dims = info.dims or ()
    fits = len(dims) == array.ndim and all(
        not isinstance(dim, int) or dim == size for dim, size in zip(dims, array.shape, strict=False)
    )
    if array.dtype != info.dtype or not fits:
        given = datatype_of_output(info.name, array)
        wanted = f"{datatype_of(info)}{dims_text(tuple(shape_of(info)))}"
        raise graph.failed(f"output {info.name!r} of its answer is {given}{dims_text(array.shape)}, declared {wanted}")


def _listed(outputs: Mapping[str, Array]) -> str:
    names = [repr(shortened(name)) for name in list(outputs)[:10]]
    return ", ".join(names) + (", ..." if len(outputs) > len(names) else "") if names else "none"
