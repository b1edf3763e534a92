"""The inputs of an execution context: one slot for each, which keeps its tensor until the next one."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.arguments import wrong_argument
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.byte_strings import held_bytes
from wasi_nn.graph.fitting import byte_view, checked, find, fitting_dims
from wasi_nn.graph.runner import ABSENT, Runner
from wasi_nn.types import Dims, dims_text, dtype_name, dtype_named

if TYPE_CHECKING:
    from wasi_nn.graph.tensor_info import TensorInfo
    from wasi_nn.limits.usage import HeldBytes
    from wasi_nn.types import Array, DType

_BYTE = np.dtype(np.uint8)
_NOTHING: tuple[DType, Dims] = (np.dtype(object), (-1,))  # no tensor is equal to it, so the next tensor is checked


class InputSlots:
    """The arrays for a graph's inputs. A tensor of the same element type and dimensions as the last one goes into the
    same array, unchecked and without an allocation."""

    def __init__(self, infos: Sequence[TensorInfo], runner: Runner) -> None:
        self._infos = infos
        self._runner = runner
        self._runner_has_buffers = "input_buffer" in runner.features
        self.arrays: list[Array | None] = [ABSENT if info.optional else None for info in infos]
        """The array of each input; None for one that isn't set, `ABSENT` for an optional one."""
        self._accepted: list[tuple[DType, Dims] | None] = [_NOTHING if info.optional else None for info in infos]
        self._views: list[memoryview | None] = [None] * len(infos)
        self.held: HeldBytes | None = None
        """Counts the bytes of the arrays against a limit."""

    def view_for(self, index: int, dtype: DType, dims: Dims, nbytes: int) -> memoryview:
        """The bytes of input `index`, for the caller to write a tensor of `nbytes` into. Raises `NNError` as
        `ExecutionContext.write_input` does."""
        if 0 <= index < len(self._accepted) and self._accepted[index] == (dtype, dims):
            view = self._views[index]
            if view is not None and len(view) == nbytes:
                return view
        return self._new_view(index, dtype, dims, nbytes)

    def _new_view(self, index: int, dtype: DType, dims: Dims, nbytes: int) -> memoryview:
        index = find(self._infos, index, "input")
        info = self._infos[index]
        dtype, dims = _as_dtype(dtype), _as_dims(dims)
        accepted = dtype, dims
        if info.opaque:
            dtype, dims = _BYTE, (nbytes,)
        actual = fitting_dims(info, dtype, dims)
        expected = prod(dims) * dtype.itemsize
        if nbytes != expected:
            raise NNError(
                ErrorCode.INVALID_ARGUMENT,
                f"input {info.name!r}: {dtype_name(dtype)}{dims_text(dims)} is {expected} bytes, got {nbytes}",
            )
        if self.held is not None:
            self.held.hold(index, nbytes)
        buffer = self._runner.input_buffer(index, actual) if self._runner_has_buffers else None
        array: Array = np.empty(actual, dtype) if buffer is None else buffer
        view = byte_view(array)
        self.arrays[index], self._accepted[index], self._views[index] = array, accepted, view
        return view

    def set_objects(self, index: int, array: Array) -> None:
        """Set an input to a copy of an array of Python objects, which has no bytes to write."""
        fitting = checked(self._infos[index], array)
        if self.held is not None:
            self.held.hold(index, held_bytes(fitting))
        self.arrays[index] = fitting.copy()
        self._accepted[index] = None

    @property
    def unset_names(self) -> list[str]:
        """The names of the inputs that `compute` needs and that aren't set."""
        return [info.name for info, array in zip(self._infos, self.arrays, strict=True) if array is None]

    def require_all(self) -> list[Array]:
        """The arrays. Raises `NNError` with `invalid-argument` if an input isn't set."""
        if None in self._accepted and self.unset_names:
            names = ", ".join(map(repr, self.unset_names))
            raise NNError(
                ErrorCode.INVALID_ARGUMENT, f"compute needs a value for each input: call set_input for {names}"
            )
        return self.arrays  # type: ignore[return-value]


def _as_dtype(dtype: Any) -> DType:
    try:
        if dtype is not None:  # which numpy takes for float64
            return dtype_named(dtype) if isinstance(dtype, str) else np.dtype(dtype)
    except TypeError:
        pass
    raise wrong_argument("dtype", "a numpy dtype, such as numpy.dtype('float32')", dtype)


def _as_dims(dims: Any) -> Dims:
    if isinstance(dims, tuple | list) and all(type(dim) is int and dim >= 0 for dim in dims):
        return tuple(dims)
    raise wrong_argument("dims", "a tuple of whole numbers from 0 on, such as (1, 3)", dims)
