"""Tensors in JSON: flat or nested lists of numbers, of true and false, or of texts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import shown
from wasi_nn.graph.byte_strings import as_bytes
from wasi_nn.graph.datatypes import BYTES
from wasi_nn.oip.datatypes import checked_shape, dtype_of, strings_array
from wasi_nn.serving.failures import Reason, ServingError, invalid
from wasi_nn.types import dims_text

if TYPE_CHECKING:
    from wasi_nn.types import Array, DType

_BINARY_ONLY = ("FP16", "BF16")  # JSON has no form for them in the protocol


def from_json(what: str, datatype: Any, shape: Sequence[Any], data: Any) -> Array:
    """A tensor of a request. `what` names it in messages. Raises `ServingError`, and `NNError` with
    `invalid-argument`, for data that isn't such a tensor."""
    dtype = dtype_of(what, datatype)
    dims = checked_shape(what, shape, dtype)
    if datatype in _BINARY_ONLY:
        raise invalid(f"{what}: {datatype} has no form in JSON: send it as binary data")
    items = _flat(what, data)
    if len(items) != prod(dims):
        raise invalid(f"{what}: {datatype}{dims_text(dims)} has {prod(dims)} elements, got {len(items)}")
    if datatype == BYTES:
        return strings_array(what, [_utf8(what, item) for item in items], dims)
    return _numbers(what, datatype, dtype, items).reshape(dims)


def _flat(what: str, data: Any) -> list[Any]:
    """The elements of a list that may have lists for each dimension."""
    if not isinstance(data, list):
        raise invalid(f"{what}: 'data' is a list, not {shown(data)}")
    items: list[Any] = data
    while items and type(items[0]) is list:
        if any(type(item) is not list for item in items):
            raise invalid(f"{what}: 'data' has elements beside lists")
        items = list(itertools.chain.from_iterable(items))
    return items


def _utf8(what: str, item: Any) -> bytes:
    if type(item) is not str:
        raise invalid(f"{what}: each element of {BYTES} is a text, not {shown(item)}")
    try:
        return item.encode()
    except UnicodeEncodeError:
        raise invalid(f"{what}: {shown(item)} has half of a surrogate pair, which is no character") from None


_KINDS: dict[str, tuple[frozenset[type], str]] = {
    "b": (frozenset({bool}), "true or false"),
    "i": (frozenset({int}), "a whole number"),
    "u": (frozenset({int}), "a whole number"),
    "f": (frozenset({int, float}), "a number"),
}
"""The types of Python that the elements of a dtype's kind may have, and a word for them."""


def _numbers(what: str, datatype: str, dtype: DType, items: list[Any]) -> Array:
    kinds, wanted = _KINDS[dtype.kind]
    if not kinds.issuperset(map(type, items)):
        wrong = next(item for item in items if type(item) not in kinds)
        raise invalid(f"{what}: each element of {datatype} is {wanted}, not {shown(wrong)}")
    if dtype.kind in "iu" and items:
        bounds = np.iinfo(dtype)
        for extreme in (min(items), max(items)):
            if not bounds.min <= extreme <= bounds.max:
                raise invalid(f"{what}: {datatype} can't hold {shown(extreme)}")
    try:
        with np.errstate(over="ignore"):
            array: Array = np.array(items, dtype)
    except OverflowError:
        raise invalid(f"{what}: {datatype} can't hold one of the numbers") from None
    if dtype.kind == "f" and not np.isfinite(array).all():
        wrong = items[int(np.flatnonzero(~np.isfinite(array))[0])]
        raise invalid(f"{what}: {datatype} can't hold {shown(wrong)}")
    return array


def to_json(name: str, datatype: str, array: Array) -> list[Any]:
    """The elements of an output as a flat list. Raises `ServingError` for values that JSON can't have."""
    if datatype in _BINARY_ONLY:
        raise _needs_binary(name, f"is {datatype}, which has no form in JSON")
    if datatype == BYTES:
        try:
            return [string.decode() for string in as_bytes(array)]
        except UnicodeDecodeError:
            raise _needs_binary(name, "has a string that isn't UTF-8") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _needs_binary(name, "has NaN or infinity, which JSON lacks")
    items: list[Any] = array.ravel().tolist()
    return items


def _needs_binary(name: str, why: str) -> ServingError:
    message = f"output {name!r} {why}: ask for it as binary data, by the parameter 'binary_data'"
    return ServingError(Reason.UNSUPPORTED, message)
