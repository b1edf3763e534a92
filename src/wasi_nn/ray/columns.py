"""Columns of a batch: what Ray Data gives to a class with `batch_format="numpy"`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wasi_nn.arguments import shown
from wasi_nn.errors import ErrorCode, NNError, nearest

if TYPE_CHECKING:
    from wasi_nn.types import Array

Batch = Mapping[str, "Array"]
"""Columns by their names, each with a row for each item."""


def column(batch: Batch, name: str, purpose: str) -> Array:
    """A column of a batch. Raises `NNError` with `invalid-argument` if there is none of this name."""
    if name in batch:
        return batch[name]
    columns = ", ".join(map(shown, batch)) or "none"
    message = f"the batch has no column {shown(name)} for {purpose}; its columns are {columns}{nearest(name, batch)}"
    raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def rows_of(batch: Batch) -> int:
    """The number of rows of a batch."""
    return len(next(iter(batch.values()))) if batch else 0
