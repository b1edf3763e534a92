"""Tensors in the messages of gRPC whose elements are in the field for their type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.graph.byte_strings import as_bytes
from wasi_nn.graph.datatypes import BYTES
from wasi_nn.oip.datatypes import checked_shape, dtype_of, invalid, strings_array
from wasi_nn.types import dims_text

if TYPE_CHECKING:
    from wasi_nn.types import Array

FIELDS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""The field for the elements of each type; FP16 and BF16 have none."""

_WIDE = {
    "bool_contents": np.bool_,
    "int_contents": np.int32,
    "int64_contents": np.int64,
    "uint_contents": np.uint32,
    "uint64_contents": np.uint64,
    "fp32_contents": np.float32,
    "fp64_contents": np.float64,
}
"""The type of the numbers in each field."""

_PIECE = 2**14  # elements that C code works on at once, while other threads have no turn


def from_contents(what: str, datatype: str, shape: Sequence[int], contents: Any) -> Array:
    """A tensor from `InferTensorContents`. `what` names the tensor in messages. Raises `NNError` with
    `invalid-argument`."""
    dtype = dtype_of(what, datatype)
    dims = checked_shape(what, shape, dtype)
    field = FIELDS.get(datatype)
    if field is None:
        raise invalid(f"{what}: {datatype} has no contents: send it in raw_input_contents")
    for descriptor, _ in contents.ListFields():
        if descriptor.name != field:
            raise invalid(f"{what}: {datatype} is in {field}, got {descriptor.name}")
    items = getattr(contents, field)
    if datatype == BYTES:
        return strings_array(what, list(items), dims)
    count = int(np.prod(dims, dtype=np.uint64))
    if len(items) != count:
        raise invalid(f"{what}: {datatype}{dims_text(dims)} has {count} elements, got {len(items)}")
    array: Array = np.empty(count, dtype)
    for place in range(0, count, _PIECE):
        wide: Array = np.array(items[place : place + _PIECE], _WIDE[field])
        part = array[place : place + _PIECE]
        part[:] = wide.astype(dtype)
        if dtype.kind in "iu" and (part != wide).any():
            raise invalid(f"{what}: {datatype} can't hold {wide[part != wide][0]}")
    return array.reshape(dims)


def into_contents(datatype: str, array: Array, contents: Any) -> None:
    """Put the elements of a tensor into `InferTensorContents`."""
    field = getattr(contents, FIELDS[datatype])
    if datatype == BYTES:
        field.extend(as_bytes(array))
        return
    flat = array.ravel()
    for place in range(0, len(flat), _PIECE):
        field.extend(flat[place : place + _PIECE].tolist())
