"""Tensors in a few words, for traces of requests: never their contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import shortened
from wasi_nn.graph.guest_types import holds_texts
from wasi_nn.types import dtype_name

if TYPE_CHECKING:
    from wasi_nn.serving.request import NamedArrays
    from wasi_nn.types import Array

_MOST = 32  # tensors
_MOST_DIMS = 16
_MOST_ELEMENTS = 2**20  # of a tensor whose least and greatest elements are looked for


def summaries(arrays: NamedArrays) -> list[dict[str, Any]]:
    """For each tensor its name, type, dims and bytes; of numbers also the least, the greatest and the mean of those
    that are finite, and how many aren't."""
    return [{"name": shortened(name), **_summary(array)} for name, array in arrays[:_MOST]]


def _summary(array: Array) -> dict[str, Any]:
    dims = list(array.shape[:_MOST_DIMS])
    if array.dtype == object:
        about: dict[str, Any] = {"type": "strings" if holds_texts(array) else "objects", "dims": dims}
        return about
    summary = {"type": dtype_name(array.dtype), "dims": dims, "bytes": array.nbytes}
    if 0 < array.size <= _MOST_ELEMENTS and array.dtype.kind in "biuf":
        numbers = array.astype(np.float64, copy=False)
        finite = numbers[np.isfinite(numbers)]
        if finite.size < numbers.size:
            summary["not_finite"] = int(numbers.size - finite.size)
        if finite.size:
            scale = max(1.0, float(np.abs(finite).max()))  # a sum of great numbers could overflow
            mean = float((finite / scale).mean() * scale)
            summary |= {"min": float(finite.min()), "max": float(finite.max()), "mean": mean}
    return summary
