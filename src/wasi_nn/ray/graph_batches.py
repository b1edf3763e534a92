"""`ComputeGraph`: a graph as a step of a pipeline of Ray Data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.loading.registry import Registry
from wasi_nn.ray.columns import Batch, column, rows_of

if TYPE_CHECKING:
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.loading.named_graph import NamedGraph, Source
    from wasi_nn.loading.rules import LoadRules
    from wasi_nn.types import Array


class ComputeGraph:
    """Computes a graph on batches, in an actor that loads it once.

        dataset.map_batches(
            wasi_nn.ray.ComputeGraph,
            fn_constructor_args=("graphs.toml", "net"),
            batch_format="numpy",
            compute=ray.data.ActorPoolStrategy(size=2),
        )

    graphs   a mapping of names to models (paths, bytes or `NamedGraph`s), or the path of a file of graphs. Paths are
             those of the actor's machine, since the graph is loaded there
    name     the graph's name
    inputs   the columns of inputs, by the inputs' names. None: each input has the column of its own name
    outputs  the columns of outputs, by the outputs' names. None: each output has the column of its own name
    batched  whether the first dimension of the inputs counts the rows of a batch. Otherwise each row is a compute of
             its own. None: it does if that dimension may vary in all inputs
    keep     whether the result has the other columns of the batch too
    rules    how models are loaded. None: `LoadRules()`

    Raises `NNError` as `Registry` does, and for a batch that doesn't fit: arrays aren't cast.
    """

    def __init__(
        self,
        graphs: Mapping[str, NamedGraph | Source] | str | os.PathLike[str],
        name: str,
        *,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        batched: bool | None = None,
        keep: bool = True,
        rules: LoadRules | None = None,
    ) -> None:
        self._graph = Registry(graphs, rules=rules).get(name)
        self._columns = dict(inputs or {})
        self._names = dict(outputs or {})
        self._keep = keep
        self._batched = all(map(_may_vary, self._graph.inputs)) if batched is None else batched

    def __call__(self, batch: Batch) -> dict[str, Array]:
        """The batch with the outputs as columns."""
        inputs: dict[str, Array] = {}
        for info in self._graph.inputs:
            name = self._columns.get(info.name, info.name)
            if name in batch or not info.optional:
                inputs[info.name] = column(batch, name, f"the input {info.name!r}")
        rows = rows_of(batch)
        if rows == 0:
            outputs = {info.name: _nothing(info, batched=self._batched) for info in self._graph.outputs}
        elif self._batched:
            outputs = self._whole(inputs, rows)
        else:
            outputs = self._row_by_row(inputs, rows)
        kept = dict(batch) if self._keep else {}
        return kept | {self._names.get(name, name): array for name, array in outputs.items()}

    def _whole(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        outputs = self._graph.compute(inputs)
        for name, array in outputs.items():
            if array.ndim == 0 or len(array) != rows:
                message = (
                    f"the output {name!r} has the dims {list(array.shape)} for {rows} rows: the first one doesn't "
                    "count rows (batched=False computes each row by itself)"
                )
                raise NNError(ErrorCode.INVALID_ARGUMENT, message)
        return outputs

    def _row_by_row(self, inputs: Mapping[str, Array], rows: int) -> dict[str, Array]:
        ranks = {info.name: None if info.dims is None else len(info.dims) for info in self._graph.inputs}
        # A model of one row has a first dimension of 1, which the rows of a column haven't.
        adds = {name: ranks[name] == np.ndim(array[0]) + 1 for name, array in inputs.items()}
        made: dict[str, list[Array]] = {}
        for row in range(rows):
            given = {name: _row(array[row], adds=adds[name]) for name, array in inputs.items()}
            for name, array in self._graph.compute(given).items():
                is_one = any(adds.values()) and array.ndim > 0 and len(array) == 1
                made.setdefault(name, []).append(array[0] if is_one else array)
        return {name: _stacked(arrays) for name, arrays in made.items()}


def _may_vary(info: TensorInfo) -> bool:
    return info.dims is None or (len(info.dims) > 0 and not isinstance(info.dims[0], int))


def _row(array: Array, *, adds: bool) -> Array:
    row = np.asarray(array)
    return np.ascontiguousarray(row[None] if adds else row)


def _nothing(info: TensorInfo, *, batched: bool) -> Array:
    dims: Sequence[int | str] = info.dims or ()
    rest = [dim if isinstance(dim, int) else 0 for dim in (dims[1:] if batched else dims)]
    return np.empty((0, *rest), info.dtype or np.float32)


def _stacked(arrays: Sequence[Array]) -> Array:
    """Arrays as the rows of a column, which may have different dims."""
    if all(array.shape == arrays[0].shape for array in arrays):
        return np.stack(arrays)
    ragged = np.empty(len(arrays), object)
    ragged[:] = arrays
    return ragged
