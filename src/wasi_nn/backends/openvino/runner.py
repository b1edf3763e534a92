"""The runner of OpenVINO graphs: an infer request on the caller's input arrays."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from operator import is_not
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.backends.openvino.strings import array_of, string_tensor
from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.guest_types import is_text
from wasi_nn.graph.runner import Runner, can_write_into, reused
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    import openvino as ov

    from wasi_nn.types import Array


_SHORT = 0.01  # seconds
_MOST_COPIED = 65536  # bytes: to copy so much takes less time than to bind arrays for outputs


class RequestRunner(Runner):
    """Runs an infer request on the caller's input arrays.

    OpenVINO writes outputs of fixed dimensions into arrays of this runner. Other outputs are copied, because the
    request may free them. An output that is an input is copied too: OpenVINO doesn't write it into an output array.
    Small outputs of runs that keep nothing are copied from arrays that stay bound.

    `on_callers_thread` tells that a compute may run on the calling thread (`infer`), without the cost of a change of
    threads. It can't be cancelled there. So a compute runs there only if the last one was short: dimensions of a model
    that can be stopped never change, so its next compute is about as short.
    """

    def __init__(
        self,
        compiled: ov.CompiledModel,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        passed_through: Mapping[int, int],
        *,
        stoppable: bool,
        on_callers_thread: bool,
    ) -> None:
        tensors = (*inputs, *outputs)
        unknown = next((info for info in tensors if info.dtype == object and not is_text(info)), None)
        if unknown is not None:
            raise NNError(
                ErrorCode.UNSUPPORTED_OPERATION,
                f"tensor {unknown.name!r} is {unknown.native}; wasi-nn has no such tensors",
            )
        self._request = compiled.create_infer_request()
        self._outputs = outputs
        self._share_inputs, self._share_outputs = ([_sharing(info) for info in infos] for infos in (inputs, outputs))
        self._passed_through = passed_through
        self._fixed = [fixed for fixed in _fixed_outputs(outputs) if fixed[0] not in passed_through]
        self._is_small = sum(prod(dims) * dtype.itemsize for _, dims, dtype in self._fixed) <= _MOST_COPIED
        self._bound: list[Array | None] = [None] * len(inputs)
        self._fixed_arrays: dict[int, Array] = {}
        self._all_fixed = len(self._fixed) == len(outputs)
        self._has_own_arrays = False  # whether nobody else has the fixed arrays
        self._last: Sequence[Array] | None = None
        self._stoppable = stoppable
        self._on_callers_thread = on_callers_thread
        self._is_short = False

    @property
    def features(self) -> frozenset[str]:
        return super().features - (set() if self._stoppable else {"interrupt"})

    def interrupt(self) -> None:
        if self._stoppable:
            self._request.cancel()

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        again = reuse is not None and reuse is self._last
        if not again or any(map(is_not, inputs, self._bound)):
            self._bind(inputs, reuse, again)
        self._compute()
        if again and self._all_fixed:
            return reuse  # type: ignore[return-value]  # not None, since `again`
        outputs = reused([self._output(index, inputs) for index in range(len(self._outputs))], reuse)
        if reuse is None:
            self._bound = [None] * len(self._bound)
            if not self._has_own_arrays:
                self._fixed_arrays = {}
        else:
            self._last = outputs
        return outputs

    def _bind(self, inputs: Sequence[Array], reuse: Sequence[Array] | None, again: bool) -> None:
        """Bind the request to the inputs and, unless they are bound, to the arrays for outputs of fixed dimensions."""
        for index, array in enumerate(inputs):
            if array is not self._bound[index]:
                # OpenVINO takes only arrays that it could write to.
                writable = array if array.flags.writeable else array.copy()
                self._request.set_input_tensor(index, self._share_inputs[index](writable))
                self._bound[index] = array if writable is array else None
        if again or (reuse is None and self._has_own_arrays):
            return
        self._last, self._has_own_arrays = None, False  # until all is bound, and a compute has succeeded
        self._fixed_arrays = {
            index: _reusable(reuse[index], dims, dtype) if reuse else np.empty(dims, dtype)
            for index, dims, dtype in self._fixed
        }
        for index, array in self._fixed_arrays.items():
            self._request.set_output_tensor(index, self._share_outputs[index](array))
        self._has_own_arrays = reuse is None and self._is_small

    def _compute(self) -> None:
        began = time.perf_counter()
        if self._is_short:
            self._request.infer(share_outputs=True)
        else:
            self._request.start_async()
            self._request.wait()
        self._is_short = self._on_callers_thread and time.perf_counter() - began < _SHORT

    def _output(self, index: int, inputs: Sequence[Array]) -> Array:
        if index in self._fixed_arrays:
            array = self._fixed_arrays[index]
            return array.copy() if self._has_own_arrays else array
        if index in self._passed_through:
            return inputs[self._passed_through[index]].copy()
        if is_text(self._outputs[index]):
            return array_of(self._request.get_output_tensor(index))
        data: Array = self._request.get_output_tensor(index).data
        array = data.view(self._outputs[index].dtype)  # type: ignore[arg-type]  # each has one
        return array.copy()


def _fixed_outputs(outputs: Sequence[TensorInfo]) -> list[tuple[int, tuple[int, ...], Any]]:
    """The outputs of numbers with fixed dimensions: the index, dimensions and dtype of each."""
    return [
        (index, tuple(map(int, info.dims or ())), info.dtype)
        for index, info in enumerate(outputs)
        if info.has_fixed_dims and not is_text(info)
    ]


def _reusable(array: Array, dims: tuple[int, ...], dtype: Any) -> Array:
    """The array, if OpenVINO can write an output of these dimensions and dtype into it; else a new array."""
    return array if array.shape == dims and can_write_into(array, dtype) else np.empty(dims, dtype)


def _sharing(info: TensorInfo) -> Callable[[Array], ov.Tensor]:
    """A function that makes a tensor of OpenVINO over the memory of an array for an input or output; of strings, one
    with copies of them."""
    import openvino as ov

    if is_text(info):
        return string_tensor
    if info.type is TensorType.BF16:
        return lambda array: ov.Tensor(array.view(np.uint16), ov.Shape(array.shape), ov.Type.bf16)
    return partial(ov.Tensor, shared_memory=True)
