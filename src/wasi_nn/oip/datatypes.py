"""The protocol's types of elements, and tensors as bytes.

Numbers are little-endian and row-major, and a bool is a byte, 0 or 1. Strings are `bytes` in arrays of objects; among
the bytes of a tensor, each string follows its length, a little-endian u32.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import shown
from wasi_nn.errors import ErrorCode, NNError, shortened
from wasi_nn.graph.byte_strings import MAX_STRINGS, as_bytes, as_objects
from wasi_nn.graph.datatypes import BYTES, DTYPE_NAMES
from wasi_nn.graph.fitting import MAX_RANK, byte_view
from wasi_nn.graph.guest_types import STRINGS, holds_texts, is_text
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import dims_text, dtype_name, dtype_named

if TYPE_CHECKING:
    from wasi_nn.types import Array, Dims, DType

UNKNOWN = "UNKNOWN"
"""The word for elements of a type that the protocol lacks, or that the model doesn't tell."""

_DTYPES = {word: dtype_named(name) for word, name in DTYPE_NAMES.items()}
_WORDS_OF_DTYPES = {dtype: word for word, dtype in _DTYPES.items()}
_WORDS = {name: word for word, name in DTYPE_NAMES.items()}
_LENGTH = struct.Struct("<I")


def invalid(message: str) -> NNError:
    """The error for a tensor that is wrong."""
    return NNError(ErrorCode.INVALID_ARGUMENT, message)


def dtype_of(what: str, datatype: Any) -> DType:
    """The dtype of a type of elements; `object` for strings. `what` names the tensor in messages. Raises
    `NNError` with `invalid-argument` for an unknown type."""
    if datatype == BYTES:
        return np.dtype(object)
    dtype = _DTYPES.get(datatype) if isinstance(datatype, str) else None
    if dtype is None:
        raise invalid(f"{what}: no datatype is named {shown(datatype)}; there are {', '.join((*_DTYPES, BYTES))}")
    return dtype


def datatype_of(info: TensorInfo) -> str:
    """The protocol's word for the elements of a graph's input or output."""
    if info.dtype is None:
        return UNKNOWN
    return BYTES if is_text(info) else _WORDS.get(info.dtype.name, UNKNOWN)


def datatype_of_output(name: str, array: Array) -> str:
    """The protocol's word for the elements of an output. Raises `NNError` with `unsupported-operation` for a type that
    the protocol lacks."""
    if array.dtype == object and holds_texts(array):
        return BYTES
    word = _WORDS_OF_DTYPES.get(array.dtype) or _WORDS.get(array.dtype.name)
    if word is None:
        kind = "no tensor" if array.dtype == object else dtype_name(array.dtype)
        message = f"output {name!r} is {kind}, for which the protocol has no datatype: ask for other outputs only"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    return word


def shape_of(info: TensorInfo) -> list[int]:
    """The dims of an input or output, with -1 for each that varies; [-1] where even their number does."""
    return [-1] if info.dims is None else [dim if isinstance(dim, int) else -1 for dim in info.dims]


def as_info(name: str, datatype: str, shape: Sequence[int], *, is_optional: bool = False) -> TensorInfo:
    """An input or output as a server of the protocol tells it. A type that isn't known here may be any, and then of any
    dims."""
    if datatype == BYTES:
        dtype: DType | None = np.dtype(object)
    else:
        dtype = _DTYPES.get(datatype)
    dims = None if dtype is None else tuple("?" if dim < 0 else dim for dim in shape)
    return TensorInfo(name, dtype, dims, STRINGS if datatype == BYTES else datatype, is_optional)


def checked_shape(what: str, shape: Sequence[Any], dtype: DType) -> Dims:
    """The dims of a tensor. Raises `NNError` with `invalid-argument` for what can't be such."""
    if len(shape) > MAX_RANK:
        raise invalid(f"{what}: a shape of {len(shape)} dims; at most {MAX_RANK} are allowed")
    for dim in shape:
        if type(dim) is not int or dim < 0:
            raise invalid(f"{what}: each dim of the shape is a whole number from 0 on, not {shown(dim)}")
    if prod(dim or 1 for dim in shape) * dtype.itemsize > sys.maxsize:
        raise invalid(f"{what}: the shape {dims_text(tuple(shape))} is too large")
    if dtype.hasobject and prod(shape) > MAX_STRINGS:
        raise invalid(f"{what}: {prod(shape)} strings; at most {MAX_STRINGS} are allowed")
    return tuple(shape)


def decoded(what: str, datatype: str, shape: Sequence[Any], content: bytes | memoryview) -> Array:
    """A tensor from its bytes; numbers stay where they are if they are aligned there. Raises `NNError` with
    `invalid-argument` for bytes that aren't such a tensor."""
    dtype = dtype_of(what, datatype)
    dims = checked_shape(what, shape, dtype)
    if dtype.hasobject:
        return _strings(what, dims, memoryview(content))
    size = prod(dims) * dtype.itemsize
    if len(content) != size:
        raise invalid(f"{what}: {datatype}{dims_text(dims)} has {size} bytes, got {len(content)}")
    if dtype == np.bool_ and size and np.frombuffer(content, np.uint8).max() > 1:
        raise invalid(f"{what}: each byte of a BOOL is 0 or 1")
    array: Array = np.frombuffer(content, dtype).reshape(dims)
    return array if array.flags.aligned else array.copy()


def _strings(what: str, dims: Dims, view: memoryview) -> Array:
    content, size, count = bytes(view), len(view), prod(dims)
    place, length_at = 0, _LENGTH.unpack_from
    strings: list[bytes] = []
    while place < size and len(strings) < count:
        start = place + _LENGTH.size
        if start > size:
            raise invalid(f"{what}: string {len(strings)} has no length of {_LENGTH.size} bytes before it")
        place = start + length_at(content, place)[0]
        if place > size:
            message = f"string {len(strings)} is said to have {place - start} bytes, of {size - start} that follow"
            raise invalid(f"{what}: {message}")
        strings.append(content[start:place])
    if place < size:
        raise invalid(f"{what}: {size - place} bytes follow the {count} strings of {BYTES}{dims_text(dims)}")
    return strings_array(what, strings, dims)


def strings_array(what: str, strings: Sequence[bytes], dims: Dims) -> Array:
    """An array of strings. Raises `NNError` with `invalid-argument` unless there are as many as the dims require."""
    if len(strings) != prod(dims):
        raise invalid(f"{what}: {BYTES}{dims_text(dims)} has {prod(dims)} strings, got {len(strings)}")
    return as_objects(strings, dims)


def encoded(array: Array) -> memoryview:
    """A tensor as bytes; a view where that is possible."""
    if array.dtype == object:
        parts = [part for string in as_bytes(array) for part in (_LENGTH.pack(len(string)), string)]
        return memoryview(b"".join(parts))
    return byte_view(array)


def name_for_message(kind: str, name: str) -> str:
    """A tensor for messages, such as `input 'x'`."""
    return f"{kind} {shortened(name)!r}"
