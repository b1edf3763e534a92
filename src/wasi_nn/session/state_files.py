"""Variables of a graph as the bytes of a safetensors file, and back.

A file is bytes of a guest, and never a file of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line, shortened
from wasi_nn.types import dtype_named

if TYPE_CHECKING:
    from wasi_nn.types import Array

_TYPES = {
    **{f"{kind[0].upper()}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BF16": "bfloat16",
    "BOOL": "bool",
    "C64": "complex64",
}
_NO_NAME = "__metadata__"  # the key of a header that no tensor has
_LENGTH = 8  # bytes of the header's own length
_MAX_HEADER = 4 * 2**20  # bytes: each tensor in it takes ten times as many in this process


def written(variables: Mapping[str, Array]) -> bytes:
    """A safetensors file with these variables. Raises `NNError` with `unsupported-operation` for a name or a type that
    no such file has."""
    from safetensors import SafetensorError
    from safetensors.numpy import save

    if _NO_NAME in variables:
        message = f"no state can be given of a variable that is named {_NO_NAME!r}: safetensors has no such tensor"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)
    try:
        return save({name: np.ascontiguousarray(array).reshape(array.shape) for name, array in variables.items()})
    except (SafetensorError, KeyError, UnicodeEncodeError) as error:
        message = f"the variables can't be written as safetensors: {one_line(error)}"
        raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message) from error


def values_in(content: memoryview) -> dict[str, Array]:
    """The values in a safetensors file, by name. Raises `NNError` with `invalid-argument` if the bytes aren't such a
    file, or have a type or a bool that no variable has."""
    import safetensors

    parse: Any = safetensors.deserialize
    header = int.from_bytes(content[:_LENGTH], "little")
    if _MAX_HEADER < header <= len(content):
        message = f"the header of the state has {header} bytes: at most {_MAX_HEADER} are taken"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    values: dict[str, Array] = {}
    try:
        for name, part in parse(bytes(content)):
            kind = part["dtype"]
            if kind not in _TYPES:
                message = f"{shortened(name)!r} in the state is of type {kind}, which no variable has"
                raise NNError(ErrorCode.INVALID_ARGUMENT, message)
            data = np.frombuffer(part["data"], np.uint8)
            if kind == "BOOL" and data.max(initial=0) > 1:  # runtimes count on it, and use the bytes as numbers
                message = f"{shortened(name)!r} in the state is of type BOOL, and has bytes other than 0 and 1"
                raise NNError(ErrorCode.INVALID_ARGUMENT, message)
            values[name] = data.view(dtype_named(_TYPES[kind])).reshape(part["shape"])
    except (safetensors.SafetensorError, ValueError, TypeError, OverflowError) as error:
        message = f"the state isn't a safetensors file: {one_line(error)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message) from error
    return values
