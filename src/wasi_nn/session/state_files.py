"""Variables of a graph as the bytes of a safetensors file, and back.

A file is bytes of a guest, and never a file of the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line
from wasi_nn.graph.variables import require_fitting

if TYPE_CHECKING:
    from wasi_nn.types import Array


def written(variables: Mapping[str, Array]) -> bytes:
    """A safetensors file with these variables."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array).reshape(array.shape) for name, array in variables.items()})


def read(content: memoryview, variables: Mapping[str, Array]) -> dict[str, Array]:
    """The values in a safetensors file for some of these variables. Raises `NNError` with `invalid-argument` if the
    bytes aren't such a file, or have a name, a type or dimensions that no variable has."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        values: dict[str, Array] = load(bytes(content))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        message = f"the state isn't a safetensors file: {one_line(error)}"
        raise NNError(ErrorCode.INVALID_ARGUMENT, message) from error
    require_fitting(variables, values)
    return values
