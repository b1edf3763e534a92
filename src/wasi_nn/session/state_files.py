"""Variables of a graph as the bytes of a safetensors file, and back.

A file is bytes of a guest, and never a file of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line, shortened
from wasi_nn.graph.variables import require_fitting
from wasi_nn.types import dtype_named

if TYPE_CHECKING:
    from wasi_nn.types import Array


def written(variables: Mapping[str, Array]) -> bytes:
    """A safetensors file with these variables."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array).reshape(array.shape) for name, array in variables.items()})


def read(content: memoryview, variables: Mapping[str, Array]) -> dict[str, Array]:
    """The values in a safetensors file for some of these variables. Raises `NNError` with `invalid-argument` if the
    bytes aren't such a file, or have a name, a type or dimensions that no variable has."""
    from safetensors import SafetensorError, deserialize

    try:
        parts = deserialize(bytes(content))  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError, TypeError) as error:
        message = f"the state isn't a safetensors file: {one_line(error)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message) from error
    values = {name: _array(name, part) for name, part in parts}
    require_fitting(variables, values)
    return values


def _array(name: str, part: Mapping[str, Any]) -> Array:
    """A read-only array of a tensor in a file."""
    kind = part["dtype"]
    if kind not in _DTYPES:
        message = f"{shortened(name)!r} in the state is of type {kind}, which no variable has"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)
    return np.frombuffer(part["data"], dtype_named(_DTYPES[kind])).reshape(part["shape"])


_DTYPES = {"BOOL": "bool", "BF16": "bfloat16", "C64": "complex64"} | {
    f"{letter}{bits}": f"{kind}{bits}"
    for letter, kind, sizes in (
        ("F", "float", (16, 32, 64)),
        ("I", "int", (8, 16, 32, 64)),
        ("U", "uint", (8, 16, 32, 64)),
    )
    for bits in sizes
}
"""numpy's names of the types that safetensors has."""
