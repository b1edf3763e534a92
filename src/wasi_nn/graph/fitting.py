"""Checks that tensors fit the inputs and outputs that a graph declares, and finds these by index or name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.arguments import plain, shown, wrong_argument
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.guest_types import guest_info, no_such_tensors
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import Dims, dims_text, dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import Array, DType

MAX_RANK = 64  # numpy's own limit


class NoSuchIndex(NNError):
    """A graph has fewer inputs or outputs than an index needs."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INVALID_ARGUMENT, message)


def find(infos: Sequence[TensorInfo], key: int | str, what: str) -> int:
    """The index of a tensor by its index, its name, an alias that no other tensor has, or a decimal number where no
    tensor has that name."""
    if isinstance(key, str):
        for index, info in enumerate(infos):
            if info.name == key:
                return index
        aliased = [index for index, info in enumerate(infos) if key in info.aliases]
        if len(aliased) == 1:
            return aliased[0]
        if not (key.isascii() and key.isdigit() and len(key) <= 10):
            names = ", ".join(repr(info.name) for info in infos)
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"no {what} is named {key!r}; the graph's {what}s: {names}")
        key = int(key)
    elif type(key) is not int:
        key = plain(key)
        if type(key) is not int:
            raise wrong_argument(f"the key of an {what}", "its name or its index", key)
    if not 0 <= key < len(infos):
        raise NoSuchIndex(f"no {what} has index {shown(key)}: the graph has {len(infos)}, counted from 0")
    return key


def require_rank(info: TensorInfo) -> None:
    """Raise `NNError` with `invalid-argument` for an input or output of more than 64 dimensions."""
    if info.dims is not None and len(info.dims) > MAX_RANK:
        message = f"the graph's {info.name!r} has {len(info.dims)} dims: at most {MAX_RANK} are allowed"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def checked(info: TensorInfo, array: Array) -> Array:
    """An array with the declared rank. Raises `NNError` if the array doesn't fit the input."""
    if info.opaque:
        return array.reshape(-1).view(np.uint8)
    _require_type(info, array.dtype)
    dims = _declared_dims(info, array.shape)
    return array if dims == array.shape else array.reshape(dims)


def is_as_declared(info: TensorInfo, tensor: object) -> bool:
    """Whether a tensor is an array that a runtime can take as it is: row-major, of the declared type and of dimensions
    that are all declared as numbers. This saves the checks and conversions of any other tensor."""
    return (
        type(tensor) is np.ndarray
        and tensor.shape == info.dims
        and tensor.dtype == info.dtype
        and tensor.flags.c_contiguous
        and not tensor.dtype.hasobject
    )


def fitting_dims(info: TensorInfo, dtype: DType, dims: Dims) -> Dims:
    """The dimensions for the runtime: the given ones, but `()` for a scalar that is given as `[1]`."""
    _require_type(info, dtype)
    if len(dims) > MAX_RANK:
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {info.name!r}: rank {len(dims)} is above {MAX_RANK}")
    if prod(dim or 1 for dim in dims) * dtype.itemsize > sys.maxsize:  # too much for numpy, be one of them 0
        message = f"input {info.name!r}: the dims {dims_text(dims)} are too large together"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return _declared_dims(info, dims)


def _require_type(info: TensorInfo, dtype: DType) -> None:
    if info.dtype is not None and dtype != info.dtype:
        message = f"input {info.name!r} is {info.type_name}, got {dtype_name(dtype)}"
        if info.type is None:
            reason = no_such_tensors(info.type_name, is_convertible=guest_info(info) is not info)
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, f"{message}; {reason}")
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def _declared_dims(info: TensorInfo, dims: Dims) -> Dims:
    if info.dims is None or info.dims == dims:
        return dims
    if info.dims == () and dims == (1,):
        return ()
    fits = len(dims) == len(info.dims) and all(
        isinstance(declared, str) or declared == dim for declared, dim in zip(info.dims, dims, strict=True)
    )
    if not fits:
        raise NNError(
            ErrorCode.INVALID_ARGUMENT, f"input {info.name!r} has dims {info.dims_text}, got {dims_text(dims)}"
        )
    return dims


def byte_view(array: Array) -> memoryview:
    """The bytes of an array, row-major: a view if the array is contiguous (writable like the array), else a copy."""
    return array.reshape(-1).view(np.uint8).data
