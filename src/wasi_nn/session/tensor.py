"""Tensors as a guest component holds them: those that it made, and those that a compute gave it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.graph.fitting import MAX_RANK, no_such_tensors
from wasi_nn.types import TensorType, dims_text

if TYPE_CHECKING:
    from wasi_nn.types import Array, Dims


class Tensor:
    """A tensor behind a handle: its type, and its data and dimensions as bytes.

    A guest can make one whose data isn't as long as dimensions and type say, since making one can't fail. That is told
    when the tensor is used: `array` raises `invalid-argument`. `data` are bytes, row-major; `encoded_dims` the
    dimensions as little-endian u32s.
    """

    __slots__ = ("data", "encoded_dims", "type")

    def __init__(self, kind: TensorType, data: Array, encoded_dims: Array) -> None:
        self.type = kind
        self.data = data
        self.encoded_dims = encoded_dims

    @classmethod
    def of(cls, name: str, array: Array) -> Tensor:
        """The tensor with an array's elements; of dimensions `[1]` for a scalar, as the specification has it.

        Raises `NNError` with `unsupported-operation` if wasi-nn has no such elements. `name` is for the message.
        """
        kind = TensorType.of(array.dtype)
        if kind is None:
            kind_name = array.dtype.name
            message = f"output {name!r} is {kind_name}; {no_such_tensors(kind_name)}"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
        dims: Array = np.array(array.shape or (1,), "<u4")
        return cls(kind, np.ascontiguousarray(array).reshape(-1).view(np.uint8), dims.view(np.uint8))

    @property
    def dims(self) -> Dims:
        """The dimensions."""
        return tuple(self.encoded_dims.view("<u4").tolist())

    def array(self, name: str) -> Array:
        """The tensor as an array, over the same bytes. Raises `NNError` with `invalid-argument` if it is none."""
        rank = len(self.encoded_dims) // 4
        if rank > MAX_RANK:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"tensor {name!r}: rank {rank} is above {MAX_RANK}")
        dims, dtype = self.dims, self.type.dtype
        expected = prod(dims) * dtype.itemsize
        if len(self.data) != expected:
            message = f"{self.type.value}{dims_text(dims)} is {expected} bytes, got {len(self.data)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"tensor {name!r}: {message}")
        try:
            array: Array = self.data.view(dtype).reshape(dims)
        except ValueError as error:  # no elements, but dimensions that are too large together
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"tensor {name!r}: {one_line(error)}") from error
        return array
