"""Checks that tensors fit the inputs and outputs that a graph declares, and finds these by index or name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.settings import how_to_set
from wasi_nn.types import Dims, dims_text, dtype_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.types import Array, DType

MAX_RANK = 64  # numpy's own limit


def find(infos: Sequence[TensorInfo], key: int | str, what: str) -> int:
    """The index of a tensor by its index, its name, or a decimal number where no tensor has that name."""
    if isinstance(key, str):
        for index, info in enumerate(infos):
            if info.name == key:
                return index
        if not (key.isascii() and key.isdigit() and len(key) <= 10):
            names = ", ".join(repr(info.name) for info in infos)
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no {what} is named {key!r}; the graph's {what}s: {names}")
        key = int(key)
    if not 0 <= key < len(infos):
        raise NNError(
            ErrorCode.INVALID_ARGUMENT, f"no {what} has index {key}: the graph has {len(infos)}, counted from 0"
        )
    return key


def require_rank(info: TensorInfo) -> None:
    """Raise `NNError` with `invalid-argument` for an input or output of more than 64 dimensions."""
    if info.dims is not None and len(info.dims) > MAX_RANK:
        message = f"the graph's {info.name!r} has {len(info.dims)} dims, and there can be {MAX_RANK}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def no_such_tensors(kind: str) -> str:
    """The end of an error message about an element type that wasi-nn lacks."""
    how = how_to_set("LoadRules(convert_types=True)", "--convert-types", "convert-types = true")
    return f"wasi-nn has no tensors of {kind}; the host can convert them ({how})"


def as_declared(info: TensorInfo, tensor: ArrayLike) -> Array:
    """A tensor as a row-major array in the machine's byte order. Strings become arrays of objects, as runtimes take
    them; an opaque input becomes its bytes."""
    if info.opaque and isinstance(tensor, str):
        tensor = tensor.encode()
    if isinstance(tensor, bytes | bytearray) and (info.opaque or info.dtype == np.uint8):
        return np.frombuffer(tensor, np.uint8)
    array: Array = np.asarray(tensor, order="C")
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    return array.astype(object) if info.dtype == object and array.dtype.kind in "US" else array


def checked(info: TensorInfo, array: Array) -> Array:
    """An array with the declared rank. Raises `NNError` if the array doesn't fit the input."""
    if info.opaque:
        return array.reshape(-1).view(np.uint8)
    dims = fitting_dims(info, array.dtype, array.shape)
    return array if dims == array.shape else array.reshape(dims)


def fitting_dims(info: TensorInfo, dtype: DType, dims: Dims) -> Dims:
    """The dimensions for the runtime: the given ones, but `()` for a scalar that is given as `[1]`."""
    if info.dtype is not None and dtype != info.dtype:
        message = f"input {info.name!r} is {info.type_name}, got {dtype_name(dtype)}"
        if info.type is None:
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"{message}; {no_such_tensors(info.type_name)}")
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if len(dims) > MAX_RANK:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {info.name!r}: rank {len(dims)} is above {MAX_RANK}")
    if prod(dim or 1 for dim in dims) * dtype.itemsize > sys.maxsize:  # too much for numpy, be one of them 0
        message = f"input {info.name!r}: the dims {dims_text(dims)} are too large together"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if info.dims is None:
        return dims
    if info.dims == () and dims == (1,):
        return ()
    fits = len(dims) == len(info.dims) and all(
        isinstance(declared, str) or declared == dim for declared, dim in zip(info.dims, dims, strict=True)
    )
    if not fits:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {info.name!r} is {info.dims_text}, got {dims_text(dims)}")
    return dims


def byte_view(array: Array) -> memoryview:
    """The bytes of an array, row-major: a view if the array is contiguous (writable like the array), else a copy."""
    return array.reshape(-1).view(np.uint8).data
