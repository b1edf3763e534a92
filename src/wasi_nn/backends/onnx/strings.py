"""Byte strings as ONNX Runtime's Python API takes them.

It takes `str`, and passes UTF-8 on with zero bytes and all. Other bytes it takes only in numpy's arrays of strings of
one length, and those end at their first zero byte. It gives `str`, and no bytes that aren't UTF-8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.byte_strings import as_bytes, as_objects

if TYPE_CHECKING:
    from wasi_nn.types import Array

_MOST_PADDED = 64 << 20  # bytes of an array of strings of one length


def as_fed(name: str, array: Array) -> Array:
    """An input's strings as ONNX Runtime takes them. Raises `NNError` with `invalid-argument` for strings that it can't
    take."""
    try:
        return as_objects([_text(item) for item in array.reshape(-1).tolist()], array.shape)
    except UnicodeError:
        strings = as_bytes(array)
    if any(b"\0" in string for string in strings):
        message = f"input {name!r} has a string that isn't UTF-8, and one with a zero byte: onnxruntime can't take both"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    size = 1 + max(map(len, strings))  # with a zero byte: without one, the runtime would read on behind the string
    if size * len(strings) > _MOST_PADDED:
        message = (
            f"input {name!r} has a string that isn't UTF-8: onnxruntime takes such strings only if all together, each "
            f"as long as the longest, have at most {_MOST_PADDED} bytes"
        )
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    padded: Array = np.array(strings, f"S{size}")
    return padded.reshape(array.shape)


def _text(item: str | bytes) -> str:
    """A string as a `str` that has a form in UTF-8. Raises `UnicodeError` if there is none."""
    if isinstance(item, str):
        if not item.isascii():
            item.encode()
        return item
    return bytes(item).decode()


def not_text(error: UnicodeDecodeError) -> NNError:
    """The error for outputs with a string that isn't UTF-8."""
    message = f"an output has a string that isn't UTF-8, which onnxruntime can't give here: {error.reason}"
    return NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
