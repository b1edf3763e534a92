"""The arguments and results of calls in a trace: nothing of them is trusted. Each function raises `BadTrace`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.tracing.trace_file import BadTrace
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    from wasi_nn.types import Dims, DType

TYPES = {kind.value: kind.dtype for kind in TensorType} | {
    name: np.dtype(name) for name in ("bool", "int8", "int16", "uint16", "uint32", "uint64")
}
_MAX_TEXT = 65536  # characters of a name: the ABIs take no longer ones
_MAX_SHOWN = 200  # characters of a text in a message
_MAX_U32 = 2**32 - 1


def short(text: str) -> str:
    """A text for a message, with its end left out if it is long."""
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def read_object(value: object, name: str) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise BadTrace(f"{name!r} must be an object")
    return value


def read_objects(arguments: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects."""
    items = arguments.get(name)
    if not (isinstance(items, list) and all(isinstance(item, dict) for item in items)):
        raise BadTrace(f"{name!r} must be a list of objects")
    return items


def read_integer(arguments: Mapping[str, Any], name: str) -> int:
    """A number of 32 bits, such as a handle."""
    value = arguments.get(name)
    if not (type(value) is int and -_MAX_U32 <= value <= _MAX_U32):
        raise BadTrace(f"{name!r} must be a number of 32 bits")
    return value


def read_text(arguments: Mapping[str, Any], name: str, longest: int | None = _MAX_TEXT) -> str:
    """A text of at most `longest` characters."""
    value = arguments.get(name)
    if not isinstance(value, str):
        raise BadTrace(f"{name!r} must be a text")
    if longest is not None and len(value) > longest:
        raise BadTrace(f"{name!r} has {len(value)} characters: at most {longest} are allowed")
    return value


def read_index_or_name(arguments: Mapping[str, Any], name: str) -> int | str:
    """A number or a text."""
    return read_text(arguments, name) if isinstance(arguments.get(name), str) else read_integer(arguments, name)


def read_word(arguments: Mapping[str, Any], name: str, kind: Any) -> Any:
    """One of the words of an enumeration."""
    try:
        return kind(read_text(arguments, name))
    except ValueError:
        words = ", ".join(member.value for member in kind)
        raise BadTrace(f"{name!r} can't be {short(arguments[name])!r}; there are {words}") from None


def read_dtype(arguments: Mapping[str, Any]) -> DType:
    """The element type of a tensor of numbers."""
    dtype = TYPES.get(read_text(arguments, "type"))
    if dtype is None:
        raise BadTrace(f"tensors of the type {short(arguments['type'])!r} can't be replayed")
    return dtype


def read_dims(arguments: Mapping[str, Any]) -> Dims:
    """The dimensions of a tensor."""
    dims = arguments.get("dims")
    if not (isinstance(dims, list) and all(type(dim) is int and 0 <= dim <= _MAX_U32 for dim in dims)):
        raise BadTrace("'dims' must be a list of numbers of 32 bits")
    if len(dims) > MAX_RANK:
        raise BadTrace(f"'dims' has {len(dims)} numbers: at most {MAX_RANK} are allowed")
    return tuple(dims)
