"""Tensors of byte strings, as the bytes in which guests give and get them.

The end of each string, counted from the beginning of the first one, as a little-endian u32, in row-major order; then
the bytes of all strings. In a session, such a tensor is an array of Python's `bytes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from struct import unpack_from
from sys import getsizeof
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line

if TYPE_CHECKING:
    from wasi_nn.types import Array, Dims

MAX_STRINGS = 1 << 20
"""The most strings in a tensor: each takes about 60 bytes of the host's memory, beside its own."""

_MAX_BYTES = 2**32 - 1
_END = np.dtype("<u4")
_FEW = 16  # strings


def held_bytes(array: Array) -> int:
    """The memory in bytes that a tensor takes, with its strings if it has strings."""
    if array.dtype != object:
        return array.nbytes
    return array.nbytes + sum(map(getsizeof, array.reshape(-1).tolist()))


def as_bytes(array: Array) -> list[bytes]:
    """The strings of an array, in row-major order: `bytes` as they are, and `str` in UTF-8."""
    items = array.reshape(-1).tolist()
    return [item.encode("utf-8", "surrogateescape") if isinstance(item, str) else bytes(item) for item in items]


def as_objects(strings: Sequence[str | bytes], dims: Dims) -> Array:
    """An array of strings, from its elements in row-major order."""
    array: Array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(dims)


def encoded(array: Array) -> Array:
    """An array of strings (`bytes`, or `str`, which become UTF-8) as a guest's bytes: u8[size]. Raises `NNError`:
    `too-large` for more strings than `MAX_STRINGS` or more than 4 GiB of them."""
    if array.size > MAX_STRINGS:
        raise NNError(ErrorCode.TOO_LARGE, f"a tensor has {array.size} strings: at most {MAX_STRINGS} are allowed")
    strings = as_bytes(array)
    ends = np.cumsum([len(string) for string in strings], dtype=np.uint64)
    if len(ends) and ends[-1] > _MAX_BYTES:
        raise NNError(ErrorCode.TOO_LARGE, f"the strings of a tensor have {ends[-1]} bytes: at most {_MAX_BYTES} fit")
    return np.frombuffer(b"".join((ends.astype(_END).tobytes(), *strings)), np.uint8)


def decoded(what: str, content: memoryview, dims: Dims) -> Array:
    """A guest's bytes as an array of `bytes` with these dimensions. `what` is the tensor's name for messages.

    Raises `NNError`: `too-large` for more strings than `MAX_STRINGS`, `invalid-argument` for bytes that aren't such
    strings.
    """
    count = prod(dims)
    if count > MAX_STRINGS:
        raise NNError(ErrorCode.TOO_LARGE, f"{what} has {count} strings: at most {MAX_STRINGS} are allowed")
    start = count * _END.itemsize
    if len(content) < start:
        message = f"{what}: the ends of {count} strings take {start} bytes, got {len(content)} bytes in all"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    if 0 < count <= _FEW:
        return _few_decoded(what, bytes(content), count, dims)
    ends = np.frombuffer(content[:start], _END).astype(np.int64)
    places = np.concatenate(([0], ends))
    if (np.diff(places) < 0).any() or places[-1] != len(content) - start:
        raise _wrong_ends(what, len(content) - start)
    strings = bytes(content[start:])
    pairs = zip(places[:-1].tolist(), places[1:].tolist(), strict=True)
    try:
        return as_objects([strings[begin:end] for begin, end in pairs], dims)
    except ValueError as error:  # no strings, yet numpy rejects dimensions whose product is too large
        raise NNError(ErrorCode.INVALID_ARGUMENT, f"{what}: {one_line(error)}") from error


def _few_decoded(what: str, content: bytes, count: int, dims: Dims) -> Array:
    """`decoded` for few strings, without numpy's costs."""
    begin = start = count * _END.itemsize
    strings = []
    for end in unpack_from(f"<{count}I", content):
        strings.append(content[begin : start + end])
        if start + end < begin:
            raise _wrong_ends(what, len(content) - start)
        begin = start + end
    if begin != len(content):
        raise _wrong_ends(what, len(content) - start)
    return as_objects(strings, dims)


def _wrong_ends(what: str, size: int) -> NNError:
    message = f"{what}: the ends of its strings must rise to the size of all, {size} bytes"
    return NNError(ErrorCode.INVALID_ARGUMENT, message)
