"""Writes a tensor of a recorded call as a file of numpy's, for a trace with data."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from wasi_nn.errors import ErrorCode, NNError, one_line, printable
from wasi_nn.tracing.recorded_tensors import RecordedTensor, array_of, tensors_of
from wasi_nn.tracing.trace_file import BadTrace, RecordedCall, TraceReader
from wasi_nn.types import dtype_name

if TYPE_CHECKING:
    from wasi_nn.types import Array

_MOST_TEXT = 1 << 30  # bytes of an array of strings, all of which take as much as the longest


def recorded_tensor(trace: str | os.PathLike[str], call: int, name: str = "") -> Array:
    """A tensor of a call, by the call's number, as `replay` and `wasi-nn trace` count. The trace must have data.

    name  the tensor, where the call has several: its name, or `input.NAME` or `output.NAME` where an input and an
          output have the same

    bf16 becomes f32, which has each of its values; strings become numpy's `str`, or `bytes` if one isn't UTF-8.

    Raises `NNError`: `not-found` for a file, a call or a tensor that isn't there, `unsupported-operation` for a trace
    without data, `too-large` for strings that numpy would need too much memory for, and as `TraceReader` does.
    """
    with TraceReader(trace) as reader:
        found = next((each for number, each in enumerate(reader.calls(), 1) if number == call), None)
        if found is None:
            raise NNError(ErrorCode.NOT_FOUND, f"the trace has no call {call}")
        tensor = _chosen(found, call, name)
        try:
            return _plain(np.array(array_of(reader, tensor.described)))
        except BadTrace as error:
            raise BadTrace(printable(f"{reader.where}: {error.message}")) from None


def _chosen(call: RecordedCall, number: int, name: str) -> RecordedTensor:
    tensors = tensors_of(call)
    fitting = [it for it in tensors if name in ("", it.name, f"{it.role}.{it.name}")]
    if len(fitting) == 1:
        return fitting[0]
    shown = printable(f"call {number}, {call.name[:80]},")
    if not tensors:
        raise NNError(ErrorCode.NOT_FOUND, f"{shown} has no tensors")
    names = ", ".join(printable(f"{it.role}.{it.name}") for it in tensors[:20])
    which = f"has no tensor {printable(name[:80])!r}" if not fitting else "has several"
    raise NNError(
        ErrorCode.NOT_FOUND, f"{shown} {which}: {names}; name one, such as {number}:{printable(tensors[0].name)}"
    )


def _plain(array: Array) -> Array:
    if dtype_name(array.dtype) == "bf16":
        return array.astype(np.float32)
    if array.dtype != object:
        return array
    items = [bytes(item) for item in array.reshape(-1)]
    longest = max(map(len, items), default=0)
    if longest * len(items) * 4 > _MOST_TEXT:
        raise NNError(ErrorCode.TOO_LARGE, f"{len(items)} strings of up to {longest} bytes are too large for one array")
    try:
        return np.array([item.decode() for item in items], np.str_).reshape(array.shape)
    except UnicodeDecodeError:
        return np.array(items, np.bytes_).reshape(array.shape)


def write_npy(path: str | os.PathLike[str], array: Array) -> None:
    """Write an array as a file of numpy's. Raises `NNError` with `runtime-error` if that can't be done."""
    try:
        with open(path, "wb") as file:
            np.save(file, array, allow_pickle=False)
    except OSError as error:
        raise NNError(ErrorCode.RUNTIME_ERROR, printable(f"{path} can't be written: {one_line(error)}")) from error
