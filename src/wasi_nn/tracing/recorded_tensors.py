"""The tensors of a recorded call: their descriptions, their contents where the trace has data. Nothing is trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import NNError, one_line, shortened
from wasi_nn.graph.byte_strings import decoded
from wasi_nn.graph.fitting import MAX_RANK
from wasi_nn.tracing.call_recorder import STRINGS
from wasi_nn.tracing.recorded_arguments import read_dims, read_dtype
from wasi_nn.tracing.trace_file import BadTrace, RecordedCall, TraceReader
from wasi_nn.types import dims_text, dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import Array

NUMBERS = ("min", "max", "mean")
"""The numbers of a summary that are compared."""
_MOST_TENSORS = 1000  # of one call
_MAX_HASH = 64


@dataclass(frozen=True)
class RecordedTensor:
    """A tensor of a call. `is_output` says whether the guest got it, `name` is its index or name; `type` and `dims` are
    empty and None where the trace doesn't say. `described` is the trace's own description."""

    is_output: bool
    name: str
    type: str
    dims: tuple[int, ...] | None
    bytes: int | None
    numbers: Mapping[str, float]
    hash: str
    described: Mapping[str, Any]

    @property
    def shape(self) -> str:
        """Type and dims, such as `f32[1, 3]`."""
        return f"{self.type or '?'}{'[?]' if self.dims is None else dims_text(self.dims)}"

    @property
    def role(self) -> str:
        return "output" if self.is_output else "input"

    def as_json(self) -> dict[str, Any]:
        """All but the place of the content."""
        facts = {"role": self.role, "name": self.name, "type": self.type, "dims": self.dims, "bytes": self.bytes}
        return {key: value for key, value in (facts | dict(self.numbers) | {"hash": self.hash}).items() if value != ""}


def tensors_of(call: RecordedCall) -> list[RecordedTensor]:
    """The tensors of a call, inputs first. What is malformed in their descriptions is left out."""
    result = call.arguments.get("result")
    inputs = _tensors(call.arguments, "input", "inputs", is_output=False)
    outputs = _tensors(result, "output", "outputs", call.arguments, is_output=True) if isinstance(result, dict) else ()
    return [*inputs, *outputs][:_MOST_TENSORS]


def _tensors(
    described: Mapping[str, Any], one: str, several: str, named_in: Mapping[str, Any] | None = None, *, is_output: bool
) -> Iterator[RecordedTensor]:
    if "dims" in described:
        yield _tensor(described, (named_in or described).get(one), is_output)
    items = described.get(several)
    for item in items[:_MOST_TENSORS] if isinstance(items, list) else ():
        if isinstance(item, dict):
            yield _tensor(item, item.get("name"), is_output)


def _tensor(described: Mapping[str, Any], name: object, is_output: bool) -> RecordedTensor:
    kind, dims, size = described.get("type"), described.get("dims"), described.get("bytes")
    is_dims = isinstance(dims, list) and len(dims) <= MAX_RANK and all(map(_is_count, dims))
    numbers = {key: described[key] for key in (*NUMBERS, "nonfinite") if _is_number(described.get(key))}
    digest = described.get("hash")
    return RecordedTensor(
        is_output,
        shortened(name) if isinstance(name, str) else str(name) if type(name) is int and abs(name) < 2**64 else "",
        shortened(kind) if isinstance(kind, str) else "",
        tuple(dims) if is_dims and isinstance(dims, list) else None,
        size if _is_count(size) and isinstance(size, int) else None,
        numbers,
        digest[:_MAX_HASH] if isinstance(digest, str) else "",
        described,
    )


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**64


def _is_number(value: object) -> bool:
    return (type(value) is int and abs(value) < 2**64) or (type(value) is float and isfinite(value))


def content_of(reader: TraceReader, described: object) -> memoryview:
    """The stored content of a tensor, a model or another argument. Raises `BadTrace` if there is none."""
    if not isinstance(described, dict) or "data" not in described:
        raise BadTrace("there is no data for a tensor, a model, a configuration, a state or a description")
    return reader.content(described["data"])


def array_of(reader: TraceReader, described: Mapping[str, Any]) -> Array:
    """The elements of a tensor, without a copy; strings are `bytes`. Raises `BadTrace`."""
    if described.get("type") == STRINGS:
        return _strings(reader, described)
    dtype, dims, content = read_dtype(described), read_dims(described), content_of(reader, described)
    if prod(dims) * dtype.itemsize != len(content):
        raise BadTrace(f"{dtype_name(dtype)}{dims_text(dims)} isn't {len(content)} bytes")
    try:
        array: Array = np.frombuffer(content, dtype).reshape(dims)
    except ValueError as error:  # no elements, yet numpy rejects dimensions whose product is too large
        raise BadTrace(one_line(error)) from None
    return array


def _strings(reader: TraceReader, described: Mapping[str, Any]) -> Array:
    dims, content = read_dims(described), content_of(reader, described)
    try:
        return decoded("a tensor", content, dims)
    except NNError as error:
        raise BadTrace(error.message) from None
