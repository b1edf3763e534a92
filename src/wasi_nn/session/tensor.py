"""Tensors that a guest component holds: tensors that it made, and outputs of its computes."""

from __future__ import annotations

from math import prod
from struct import pack
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.graph.byte_strings import decoded, encoded
from wasi_nn.graph.fitting import MAX_RANK, find
from wasi_nn.graph.guest_types import holds_texts
from wasi_nn.graph.named_tensors import unsupported_output
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import TensorType, dims_text

if TYPE_CHECKING:
    from wasi_nn.graph.graph import Graph
    from wasi_nn.types import Array, Dims


_BYTE, _U32 = np.dtype(np.uint8), np.dtype("<u4")


class Tensor:
    """A tensor behind a handle: its type, and its data and dimensions as bytes.

    `data` holds the elements as bytes in row-major order; `encoded_dims` holds the dimensions as little-endian u32s.
    The constructor of a tensor can't fail in the specification, so a guest can make a tensor whose data doesn't fit its
    dimensions and type. `array` then raises `invalid-argument`. The elements of a tensor that `holds_strings` are byte
    strings: its type is u8, and its data is in the encoding of `wasi_nn.graph.byte_strings`.
    """

    __slots__ = ("data", "encoded_dims", "holds_strings", "type")

    def __init__(self, kind: TensorType, data: Array, encoded_dims: Array, *, holds_strings: bool = False) -> None:
        self.type = kind
        self.data = data
        self.encoded_dims = encoded_dims
        self.holds_strings = holds_strings

    @classmethod
    def of(cls, kind: TensorType, array: Array) -> Tensor:
        """A tensor with the elements of an array of this type. A scalar gets the dimensions `[1]`, as the specification
        requires."""
        return cls(kind, array.reshape(-1).view(_BYTE), _encoded_dims(array.shape or (1,)))

    @classmethod
    def of_strings(cls, array: Array) -> Tensor:
        """A tensor with the strings of an array. Raises `NNError` as `wasi_nn.graph.byte_strings.encoded` does."""
        return cls(TensorType.U8, encoded(array), _encoded_dims(array.shape or (1,)), holds_strings=True)

    def copy(self) -> Tensor:
        """A tensor with a copy of the data."""
        return Tensor(self.type, self.data.copy(), self.encoded_dims, holds_strings=self.holds_strings)

    @property
    def nbytes(self) -> int:
        """The bytes of the data and of the dimensions."""
        return self.data.nbytes + self.encoded_dims.nbytes

    @property
    def dims(self) -> Dims:
        """The dimensions."""
        return tuple(self.encoded_dims.view(_U32).tolist())

    def array(self, name: str) -> Array:
        """The tensor as an array over the same bytes. Raises `NNError` with `invalid-argument` if the data doesn't fit
        the dimensions and type, or the rank is too high. `name` is for the message."""
        rank = len(self.encoded_dims) // 4
        if rank > MAX_RANK:
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"tensor {name!r}: rank {rank} is above {MAX_RANK}")
        if self.holds_strings:
            return decoded(f"tensor {name!r}", self.data.data, self.dims)
        dims, dtype = self.dims, self.type.dtype
        expected = prod(dims) * dtype.itemsize
        if len(self.data) != expected:
            message = f"{self.type.value}{dims_text(dims)} is {expected} bytes, got {len(self.data)}"
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"tensor {name!r}: {message}")
        try:
            array: Array = self.data.view(dtype).reshape(dims)
        except ValueError as error:  # no elements, yet numpy rejects dimensions whose product is too large
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"tensor {name!r}: {one_line(error)}") from error
        return array


class BoundTensor(Tensor):
    """A tensor whose memory an execution context keeps for the next input that is alike: the runtime may have bound it.

    It counts as long as its memory exists, not as long as it has a handle. `elements` is the tensor as an array: always
    the same object. `handle` is the handle by which the guest has it, or 0.
    """

    __slots__ = ("__weakref__", "elements", "handle", "ref", "shape")

    def __init__(self, tensor: Tensor, elements: Array) -> None:
        super().__init__(tensor.type, tensor.data, tensor.encoded_dims)
        self.elements = elements
        self.handle = 0
        self.shape = tensor.encoded_dims.tobytes()
        self.ref = ref(self)

    def is_alike(self, tensor: Tensor) -> bool:
        """Whether another tensor has elements of the same type, the same dimensions and the same size."""
        same = self.type is tensor.type and len(self.data) == len(tensor.data) and not tensor.holds_strings
        return same and self.shape == tensor.encoded_dims.tobytes()


def _encoded_dims(dims: Dims) -> Array:
    return np.frombuffer(pack(f"<{len(dims)}I", *dims), _BYTE)


def as_tensor(graph: Graph, name: str, array: Array, takes_byte_strings: bool = False) -> Tensor:
    """An output of a graph as a guest's tensor. Raises `NNError` with `unsupported-operation` if wasi-nn lacks the
    output's type; byte strings are such a type unless the guest `takes_byte_strings`."""
    kind = TensorType.of(array.dtype)
    if kind is not None:
        return Tensor.of(kind, array)
    if takes_byte_strings and array.dtype == object and holds_texts(array):
        return Tensor.of_strings(array)
    infos = graph.outputs
    raise unsupported_output(infos[find(infos, name, "output")] if infos else TensorInfo(name, None, None), array)
