"""Tensors in JSON: flat or nested lists of numbers, of true and false, or of texts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import shown
from wasi_nn.graph.byte_strings import as_bytes
from wasi_nn.graph.datatypes import BYTES
from wasi_nn.oip.datatypes import checked_shape, dtype_of, strings_array
from wasi_nn.serving.computing.long_calls import PIECE, in_pieces
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
        flat: list[Any] = []
        for _, piece in in_pieces(items):
            flat.extend(itertools.chain.from_iterable(piece))
        items = flat
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
    array: Array = np.empty(len(items), dtype)
    for place, piece in in_pieces(items):
        if not kinds.issuperset(map(type, piece)):
            wrong = next(item for item in piece if type(item) not in kinds)
            raise invalid(f"{what}: each element of {datatype} is {wanted}, not {shown(wrong)}")
        if dtype.kind in "iu":
            bounds = np.iinfo(dtype)
            for extreme in (min(piece), max(piece)):
                if not bounds.min <= extreme <= bounds.max:
                    raise invalid(f"{what}: {datatype} can't hold {shown(extreme)}")
        part = array[place : place + len(piece)]
        try:
            with np.errstate(over="ignore"):
                part[:] = piece
        except OverflowError:
            raise invalid(f"{what}: {datatype} can't hold one of the numbers") from None
        if dtype.kind == "f" and not np.isfinite(part).all():
            wrong = piece[int(np.flatnonzero(~np.isfinite(part))[0])]
            raise invalid(f"{what}: {datatype} can't hold {shown(wrong)}")
    return array


def to_json(name: str, datatype: str, array: Array) -> str:
    """The elements of an output as the text of a flat list. Raises `ServingError` for values that JSON can't have."""
    if datatype in _BINARY_ONLY:
        raise _needs_binary(name, f"is {datatype}, which has no form in JSON")
    if datatype == BYTES:
        try:
            return _list_of([string.decode() for string in as_bytes(array)])
        except UnicodeDecodeError:
            raise _needs_binary(name, "has a string that isn't UTF-8") from None
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _needs_binary(name, "has NaN or infinity, which JSON lacks")
    flat = array.ravel()
    return _list_of(flat.tolist()) if len(flat) <= PIECE else _joined(piece.tolist() for _, piece in in_pieces(flat))


def _list_of(items: list[Any]) -> str:
    return _joined(piece for _, piece in in_pieces(items)) if len(items) > PIECE else as_text(items)


as_text = json.JSONEncoder(separators=(",", ":")).encode
"""A value as JSON, without spaces."""


def _joined(pieces: Iterable[list[Any]]) -> str:
    return f"[{','.join(as_text(piece)[1:-1] for piece in pieces)}]"


def _needs_binary(name: str, why: str) -> ServingError:
    message = f"output {name!r} {why}: ask for it as binary data, by the parameter 'binary_data'"
    return ServingError(Reason.UNSUPPORTED, message)
