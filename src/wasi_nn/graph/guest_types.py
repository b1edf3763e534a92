"""The types in which guests see tensors of types that wasi-nn lacks, where the host converts them.

Each type holds all values of the model's type:

    int8, int16, uint16              i32
    uint32, uint64                   i64
    bool                             u8, 0 or 1
    string                           u8, with one dimension more: the bytes of each in UTF-8, filled up with zeros
    sequence of maps from int64      f32 [maps, keys], if all maps have the same keys: the values of each, in the
    or string to float               ascending order of the keys
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.settings import how_to_set
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    from wasi_nn.types import Array

NUMBERS = {
    "int8": TensorType.I32,
    "int16": TensorType.I32,
    "uint16": TensorType.I32,
    "uint32": TensorType.I64,
    "uint64": TensorType.I64,
    "bool": TensorType.U8,
}
"""The type for each numpy dtype that wasi-nn lacks."""

STRINGS = "string"
"""The word for strings, where a runtime has none of its own."""

_TEXTS = (STRINGS, "tensor(string)")
_MAPS = ("seq(map(int64,tensor(float)))", "seq(map(string,tensor(float)))")


def is_text(info: TensorInfo) -> bool:
    """Whether a tensor has strings."""
    return info.dtype == object and info.native in _TEXTS


def is_maps(info: TensorInfo) -> bool:
    """Whether a model gives no tensor, but a sequence of maps from labels to numbers, as classifiers do."""
    return info.dtype == object and info.native in _MAPS


def guest_info(info: TensorInfo) -> TensorInfo:
    """The tensor info that a guest sees after conversion; `info` itself where no conversion exists, or none is
    needed."""
    if is_text(info):
        dims = None if info.dims is None else (*info.dims, "?")
        return replace(info, dtype=TensorType.U8.dtype, dims=dims)
    if is_maps(info):
        keys = "?" if info.keys is None else len(info.keys)
        return replace(info, dtype=TensorType.F32.dtype, dims=("?", keys))
    kind = None if info.dtype is None else NUMBERS.get(info.dtype.name)
    return info if kind is None else replace(info, dtype=kind.dtype)


def holds_texts(array: Array) -> bool:
    """Whether all elements of an array of objects are strings or bytes."""
    return all(isinstance(item, str | bytes) for item in array.reshape(-1).tolist())


def no_such_tensors(kind: str, *, is_convertible: bool) -> str:
    """The end of an error message about an element type that wasi-nn lacks; it names the option that converts such
    tensors, if one does, and the extension for strings."""
    how = how_to_set("LoadRules(convert_types=True)", "--convert-types", "convert-types = true")
    conversion = f"can convert them ({how})" if is_convertible else "has no conversion for them"
    extension = "; byte-strings of wasi-nn:ext has them" if kind == STRINGS else ""
    return f"wasi-nn has no tensors of {kind}; the host {conversion}{extension}"
