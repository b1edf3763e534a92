"""A few numbers for a tensor's elements, which tell a wrong input from a right one on a timeline."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from wasi_nn.types import Array, DType

_HASH_DIGITS = 16
_MOST_BYTES = 2**28  # a summary takes about a second for a GiB
_WHOLE = "biu"  # kinds of dtypes
_NUMBERS = f"{_WHOLE}fV"  # ml_dtypes' bfloat16 is of the kind V


def summary(dtype: DType, content: memoryview, digest: str | None = None) -> dict[str, Any]:
    """The `min`, `max` and `mean` of the finite elements, how many aren't finite (`nonfinite`) if any isn't, and the
    first digits of the content's SHA-256 (`hash`), which is `digest` if that is known. Nothing for a very large tensor.

    Elements in another order give another hash, with the same other numbers: so a guest shows that passes an image with
    its channels last to a network that has them first.
    """
    if content.nbytes > _MOST_BYTES:
        return {}
    described: dict[str, Any] = {"hash": (digest or hashlib.sha256(content).hexdigest())[:_HASH_DIGITS]}
    if dtype.kind not in _NUMBERS or content.nbytes % dtype.itemsize or not content.nbytes:
        return described
    with np.errstate(all="ignore"):
        return _range(np.frombuffer(content, dtype)) | described


def _range(elements: Array) -> dict[str, Any]:
    if elements.dtype.kind in _WHOLE:
        return {"min": int(elements.min()), "max": int(elements.max()), "mean": _rounded(_mean(elements))}
    low, high = float(elements.min()), float(elements.max())
    if np.isfinite(low) and np.isfinite(high):
        return {"min": _rounded(low), "max": _rounded(high)} | _named_mean(elements)
    finite = elements[np.isfinite(elements)]
    described: dict[str, Any] = {"nonfinite": elements.size - finite.size}
    if finite.size:
        described |= {"min": _rounded(float(finite.min())), "max": _rounded(float(finite.max()))}
        described |= _named_mean(finite)
    return described


def _named_mean(elements: Array) -> dict[str, Any]:
    mean = _mean(elements)
    return {"mean": _rounded(mean)} if np.isfinite(mean) else {}  # the sum of the largest numbers is too large


def _mean(elements: Array) -> float:
    return float(elements.mean(dtype=np.float64))


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
