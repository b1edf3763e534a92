"""Tensors in a few words, for traces of requests: never their contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wasi_nn.errors import shortened
from wasi_nn.graph.fitting import byte_view
from wasi_nn.graph.guest_types import holds_texts
from wasi_nn.tracing.tensor_summary import summary
from wasi_nn.types import dtype_name

if TYPE_CHECKING:
    from wasi_nn.serving.request import NamedArrays
    from wasi_nn.types import Array

_MOST = 32  # tensors
_MOST_DIMS = 16
_MOST_BYTES = 2**24  # of a tensor whose elements are looked at: this takes time from other requests


def summaries(arrays: NamedArrays) -> list[dict[str, Any]]:
    """For each tensor its name, type and dims, and what `tensor_summary` says of its elements."""
    return [{"name": shortened(name), **_summary(array)} for name, array in arrays[:_MOST]]


def _summary(array: Array) -> dict[str, Any]:
    dims = list(array.shape[:_MOST_DIMS])
    if array.dtype == object:
        return {"type": "strings" if holds_texts(array) else "objects", "dims": dims}
    about = {"type": dtype_name(array.dtype), "dims": dims, "bytes": array.nbytes}
    return about | (summary(array.dtype, byte_view(array)) if array.nbytes <= _MOST_BYTES else {})
