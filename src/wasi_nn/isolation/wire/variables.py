"""Sets of variables in messages: the host checks those of a worker, and the worker reads those of the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.outputs import Outputs
from wasi_nn.isolation.wire.descriptions import InvalidWorkerMessage, dims_of, dtype_of
from wasi_nn.isolation.wire.protocol import Message

if TYPE_CHECKING:
    from wasi_nn.types import Array, Dims, DType

_MAX_NAME = 65536  # characters
_MAX_BYTES = 2**62


def nbytes_of(answer: Message) -> int:
    """The bytes that a set takes, as its worker says. Raises `InvalidWorkerMessage`."""
    nbytes = answer.get("nbytes")
    if type(nbytes) is not int or not 0 <= nbytes <= _MAX_BYTES:
        raise InvalidWorkerMessage(f"a set of variables of {nbytes!r:.40} bytes")
    return nbytes


def values_of(outputs: Sequence[Array]) -> dict[str, Array]:
    """The variables in outputs of a worker that are named. Raises `InvalidWorkerMessage` for two of one name, a name
    that no text has, and a variable that isn't numbers."""
    values: dict[str, Array] = {}
    infos = outputs.infos if isinstance(outputs, Outputs) else None
    for info, array in zip(infos or (), outputs, strict=True):
        if array.dtype.hasobject or info.name in values or len(info.name) > _MAX_NAME or not _is_text(info.name):
            raise InvalidWorkerMessage(f"a variable {info.name!r:.80} of {array.dtype}, or two of that name")
        values[info.name] = array
    return values


def templates_of(described: Any) -> dict[str, Array]:
    """Arrays with the types and dimensions of a worker's variables, which take no memory. Raises
    `InvalidWorkerMessage` as `values_of` does, and for dimensions that no array has."""
    try:
        pairs = [(str(name), _template(dtype_of(dtype), dims_of(dims))) for name, dtype, dims in described]
    except (TypeError, ValueError) as error:
        raise InvalidWorkerMessage(str(error)) from error
    return values_of(Outputs.named(pairs))


def _template(dtype: DType, dims: Dims) -> Array:
    if dtype.hasobject:
        raise InvalidWorkerMessage("a variable of objects")
    return np.broadcast_to(np.zeros((), dtype), dims)


def described_templates(values: Mapping[str, Array]) -> list[Any]:
    """The names, types and dimensions of variables as a message."""
    return [[name, value.dtype.name, list(value.shape)] for name, value in values.items()]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_numbers(values: Mapping[str, Array]) -> None:
    """Raise `NNError` with `unsupported-operation` for a variable that no message has."""
    for name, array in values.items():
        try:
            fits = not dtype_of(array.dtype.name).hasobject and _is_text(name)
        except InvalidWorkerMessage:
            fits = False
        if not fits:
            message = f"no variable of an isolated graph can be {array.dtype}, as {name!r} is, or have such a name"
            raise NNError(ErrorCode.UNSUPPORTED_OPERATION, message)


def given_values(described: Sequence[Any], memory: memoryview) -> Iterator[tuple[str, Array]]:
    """The variables that the host has put into shared memory, each with its name."""
    for name, dtype, dims, start in described:
        kind = dtype_of(dtype)
        count = prod(dims)
        array: Array = np.frombuffer(memory, kind, count, start) if count else np.empty(0, kind)
        yield name, array.reshape(dims)
