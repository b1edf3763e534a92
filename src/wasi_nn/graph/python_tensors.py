"""Turns the tensors of Python callers into arrays of the declared element type.

Arrays aren't cast. Numbers of Python, also in lists, have no element type of their own, and take the declared one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import as_json, shown, wrong_argument
from wasi_nn.errors import ErrorCode, NNError, nearest
from wasi_nn.graph.guest_types import holds_texts, is_text
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import TensorType, dtype_name

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from wasi_nn.types import Array, DType

_CASTS = {"i": "iuf", "u": "iuf", "f": "f"}  # from a kind of Python's numbers to kinds of dtypes

_MOST_KEYS_SHOWN = 20


def as_declared(info: TensorInfo, tensor: ArrayLike) -> Array:
    """A tensor as a row-major array in the machine's byte order. Strings become arrays of objects, as runtimes take
    them; an opaque input becomes its bytes, and a mapping for it JSON. Raises `NNError` with `invalid-argument` for
    a value that is no tensor."""
    given: Any = tensor
    if info.opaque and isinstance(given, str | Mapping):
        _require_known_keys(info, given)
        given = bytes(as_json(f"input {info.name!r}", given))
    if isinstance(given, bytes | bytearray) and (info.opaque or info.dtype == np.uint8):
        return np.frombuffer(given, np.uint8)
    _require_no_mask(info, given)
    try:
        array: Array = np.asarray(_from_torch(given), order="C")
    except Exception:  # lists of unequal lengths, or the object's own conversion
        raise _wrong_tensor(info, given) from None
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    if info.dtype == object:
        array = array.astype(object) if array.dtype.kind in "UST" else array
        if array.dtype == object and is_text(info) and not holds_texts(array):
            raise _wrong_tensor(info, given)
        return array
    if array.dtype.kind in "OUSmM" and info.dtype is not None:
        raise _wrong_tensor(info, given)
    if info.dtype is not None and array.dtype != info.dtype and not info.opaque and _is_python_number(given):
        return _cast(info, array, info.dtype)
    return array


def cast_exactly(what: str, array: Array, dtype: DType) -> Array:
    """An array in another type. Raises `NNError` with `invalid-argument` if an element would change its value."""
    result: Array = array.astype(dtype)
    differs = np.atleast_1d((result.astype(array.dtype) != array) | ((result < 0) != (array < 0)))
    if differs.any():
        value = np.atleast_1d(array)[differs][0]
        raise NNError(
            ErrorCode.INVALID_ARGUMENT,
            f"{what} has the value {value} ({dtype_name(array.dtype)}), which {dtype_name(dtype)} can't hold",
        )
    return result


def _is_python_number(tensor: Any) -> bool:
    """Whether a tensor is a number, or a list of numbers at any depth, and no array nor a list of arrays."""
    while isinstance(tensor, list | tuple | range) and tensor:
        tensor = tensor[0]
    return isinstance(tensor, list | tuple | range | int | float | complex | np.generic)


def _cast(info: TensorInfo, array: Array, dtype: DType) -> Array:
    """Numbers of Python in the declared element type, if it has them all."""
    is_float = dtype.kind == "f" or TensorType.of(dtype) is TensorType.BF16
    if array.size and ("f" if is_float else dtype.kind) not in _CASTS.get(array.dtype.kind, ""):
        return array  # checking it against the input raises the error
    if not is_float:
        return cast_exactly(f"input {info.name!r}", array, dtype)
    with np.errstate(over="ignore"):
        result: Array = array.astype(dtype)
    too_large = np.isfinite(array) & ~np.isfinite(result)
    if too_large.any():
        value = np.atleast_1d(array)[np.atleast_1d(too_large)][0]
        raise NNError(
            ErrorCode.INVALID_ARGUMENT, f"input {info.name!r} has the value {value}, which {info.type_name} can't hold"
        )
    return result


def _from_torch(tensor: Any) -> Any:
    """A tensor of PyTorch as an array, also one with a gradient, on another device, or of bfloat16; all else as it
    is."""
    if type(tensor).__module__.partition(".")[0] != "torch" or not hasattr(tensor, "detach"):
        return tensor
    torch: Any = sys.modules["torch"]
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return tensor.contiguous().view(torch.int16).numpy().view(TensorType.BF16.dtype)
    return tensor.numpy()


def _require_known_keys(info: TensorInfo, given: str | Mapping[Any, Any]) -> None:
    """Refuse a mapping with a key that would be ignored. JSON as text may be somebody else's, and is taken as it is."""
    if info.keys is None or isinstance(given, str):
        return
    for key in given:
        if key not in info.keys:
            meant = nearest(str(key), map(str, info.keys))
            if not meant and len(info.keys) <= _MOST_KEYS_SHOWN:
                meant = f"; it has {', '.join(map(str, info.keys))}"
            where = "options of the graph itself are given where it is loaded"
            raise NNError(ErrorCode.INVALID_ARGUMENT, f"input {info.name!r} has no key {shown(key)}{meant} ({where})")


def _require_no_mask(info: TensorInfo, given: Any) -> None:
    """Refuse numpy's masked arrays, also in lists, whose mask `asarray` would drop."""
    masked_arrays = sys.modules.get("numpy.ma")  # without this module, there are none
    if masked_arrays is None:
        return
    if isinstance(given, list | tuple):
        for item in given:
            if isinstance(item, masked_arrays.MaskedArray | list | tuple):
                _require_no_mask(info, item)
    elif isinstance(given, masked_arrays.MaskedArray) and masked_arrays.is_masked(given):
        count = np.count_nonzero(masked_arrays.getmaskarray(given))
        message = (
            f"input {info.name!r} is a masked array, with {count} of {given.size} elements masked, and models take no "
            "mask: replace these elements (array.filled(0)), or give them too (array.data)"
        )
        raise NNError(ErrorCode.INVALID_ARGUMENT, message)


def _wrong_tensor(info: TensorInfo, given: object) -> NNError:
    dims = "[...]" if info.dims is None else info.dims_text
    wanted = f"an array of {info.type_name}{dims}, or {'texts' if is_text(info) else 'numbers'} in lists"
    wanted = "bytes, a str or a mapping (json.dumps makes a str of a list)" if info.opaque else wanted
    return wrong_argument(f"input {info.name!r}", wanted, given)
