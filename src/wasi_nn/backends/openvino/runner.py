"""The runner of OpenVINO graphs: an infer request on the caller's input arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wasi_nn.errors import ErrorCode, NNError
from wasi_nn.graph.runner import Runner, can_write_into, reused
from wasi_nn.graph.tensor_info import TensorInfo
from wasi_nn.types import TensorType

if TYPE_CHECKING:
    import openvino as ov

    from wasi_nn.types import Array


class RequestRunner(Runner):
    """Runs an infer request on the caller's input arrays.

    OpenVINO writes outputs of fixed dimensions into arrays of this runner. Other outputs are copied, because the
    request may free them. An output that is an input is copied too: OpenVINO doesn't write it into an output array.
    """

    def __init__(
        self,
        compiled: ov.CompiledModel,
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
        passed_through: Mapping[int, int],
        stoppable: bool,
    ) -> None:
        unknown = next((info for info in (*inputs, *outputs) if info.dtype == object), None)
        if unknown is not None:
            raise NNError(
                ErrorCode.UNSUPPORTED_OPERATION,
                f"tensor {unknown.name!r} is {unknown.native}; wasi-nn has no such tensors",
            )
        self._request = compiled.create_infer_request()
        self._inputs = inputs
        self._outputs = outputs
        self._passed_through = passed_through
        self._bound: list[Array | None] = [None] * len(inputs)
        self._fixed_arrays: dict[int, Array] = {}
        self._last: Sequence[Array] | None = None
        self._stoppable = stoppable

    @property
    def features(self) -> frozenset[str]:
        return super().features - (set() if self._stoppable else {"interrupt"})

    def interrupt(self) -> None:
        if self._stoppable:
            self._request.cancel()

    def __call__(self, inputs: Sequence[Array], reuse: Sequence[Array] | None) -> Sequence[Array]:
        # OpenVINO takes only arrays that it could write to.
        arrays = [array if array.flags.writeable else array.copy() for array in inputs]
        for index, array in enumerate(arrays):
            if array is not self._bound[index]:
                self._request.set_input_tensor(index, _shared(array, self._inputs[index]))
                self._bound[index] = array
        if reuse is None or reuse is not self._last:
            self._fixed_arrays = {
                index: _reusable(reuse[index], dims, dtype) if reuse else np.empty(dims, dtype)
                for index, dims, dtype in _fixed_outputs(self._outputs)
                if index not in self._passed_through
            }
            for index, array in self._fixed_arrays.items():
                self._request.set_output_tensor(index, _shared(array, self._outputs[index]))
        # Not `infer`: it can't be cancelled if it runs on this thread alone.
        self._request.start_async()
        self._request.wait()
        outputs = reused([self._output(index, arrays) for index in range(len(self._outputs))], reuse)
        if reuse is None:
            self._bound, self._fixed_arrays, self._last = [None] * len(inputs), {}, None
        else:
            self._last = outputs
        return outputs

    def _output(self, index: int, inputs: Sequence[Array]) -> Array:
        if index in self._fixed_arrays:
            return self._fixed_arrays[index]
        if index in self._passed_through:
            return inputs[self._passed_through[index]].copy()
        data: Array = self._request.get_output_tensor(index).data
        array: Array = data.view(self._outputs[index].dtype)  # type: ignore[arg-type]  # each has one
        return array.copy()


def _fixed_outputs(outputs: Sequence[TensorInfo]) -> list[tuple[int, tuple[int, ...], Any]]:
    """The outputs of fixed dimensions: the index, dimensions and dtype of each."""
    return [
        (index, tuple(map(int, info.dims or ())), info.dtype)
        for index, info in enumerate(outputs)
        if info.has_fixed_dims
    ]


def _reusable(array: Array, dims: tuple[int, ...], dtype: Any) -> Array:
    """The array, if OpenVINO can write an output of these dimensions and dtype into it; else a new array."""
    return array if array.shape == dims and can_write_into(array, dtype) else np.empty(dims, dtype)


def _shared(array: Array, info: TensorInfo) -> ov.Tensor:
    """A tensor of OpenVINO over the memory of an array."""
    import openvino as ov

    if info.type is TensorType.BF16:
        return ov.Tensor(array.view(np.uint16), ov.Shape(array.shape), ov.Type.bf16)
    return ov.Tensor(array, shared_memory=True)
